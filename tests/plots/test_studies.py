import math
import subprocess
import sys

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from isthmus.plots import files as plots_files
from isthmus.plots import options, studies
from tests.plots import connected, made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Writes the numbers alone: how figures are rendered is tested with each of them."""

    def save(figure, drawn, folder, name):
        folder.mkdir(exist_ok=True)
        drawn.to_csv(folder / f"{name}.csv", index=False)
        return [folder / f"{name}.csv"]

    monkeypatch.setattr(plots_files, "save", save)


def draw(points, per_child, intervals, folder):
    tables = {options.LINES: points, options.BARRIERS: per_child, options.INTERVALS: intervals}
    return studies.draw_tables("interpolate", tables, folder)


def names(lines: pd.DataFrame, folder) -> list[str]:
    """Of the figures of tables that went through files."""
    tables = []
    for place, table in enumerate(connected.tables(lines)):
        table.to_csv(folder / f"{place}.csv", index=False)
        tables.append(pd.read_csv(folder / f"{place}.csv"))
    paths = draw(*tables, folder / "figures")
    assert len(paths) == len(set(paths)) == len(list((folder / "figures").glob("*")))
    assert not any(sign in path.name for sign in "=, " for path in paths)
    return [path.stem for path in paths]


def test_a_single_pair_is_drawn_in_detail(tmp_path):
    assert names(connected.study((0.5,), (2.0,)), tmp_path) == ["line_k1_4it_k2_2ep_none_reset"]


def test_several_treatments_of_a_pair_are_compared(tmp_path):
    aligned = connected.study((0.0,), (1.0,), align="weights", bn="repair")
    lines = pd.concat([connected.study((0.0,), (1.0,)), aligned])
    assert names(lines, tmp_path) == [
        "line_k1_0ep_k2_1ep_none_reset",
        "line_k1_0ep_k2_1ep_weights_repair",
        "compared_k1_0ep_k2_1ep",
    ]


def test_a_line_between_files_has_no_pair_in_its_name(tmp_path):
    files = [connected.line(None, None, None, align) for align in ("none", "activations")]
    assert names(pd.concat(files), tmp_path) == [
        "line_none_reset",
        "line_activations_reset",
        "compared",
    ]


def test_a_grid_is_drawn_as_panels_curves_and_maps_of_each_split(tmp_path):
    found = names(connected.study((0.0, 1.0), (1.0, 3.0)), tmp_path)
    assert found == [
        "lines_none_reset_loss",
        "lines_none_reset_error",
        "barriers_none_reset_train",
        "barriers_none_reset_test",
        "further_steps_none_reset_train",
        "further_steps_none_reset_test",
        "barrier_map_none_reset_train",
        "barrier_map_none_reset_test",
    ]


@pytest.mark.parametrize(
    ("k1", "k2", "figure"),
    [((0.0, 1.0), (1.0,), "barriers"), ((0.0,), (1.0, 3.0), "further_steps")],
)
def test_a_row_of_pairs_is_drawn_along_what_differs(tmp_path, k1, k2, figure):
    found = names(connected.study(k1, k2, splits=("test",)), tmp_path)
    assert found[2:] == [f"{figure}_none_reset_test"]


def test_each_treatment_has_its_grid(tmp_path):
    kept = connected.study((0.0, 1.0), (1.0,), bn="keep", splits=("test",))
    lines = pd.concat([connected.study((0.0, 1.0), (1.0,), splits=("test",)), kept])
    found = names(lines, tmp_path)
    assert found[-2:] == ["barriers_none_reset_test", "barriers_none_keep_test"]
    drawn = pd.read_csv(tmp_path / "figures" / "barriers_none_keep_test.csv")
    assert set(drawn["bn"]) == {"keep"}


def test_lines_on_other_grids_and_ends_as_trained_have_figures_of_their_own(tmp_path):
    study = connected.study((0.0, 1.0), (1.0,), splits=("test",))
    ends = study[study["alpha"].isin([0, 1])].assign(bn="as_trained", loss=9.0)
    _, per_child, intervals = connected.tables(study)
    grids = [{"alphas": "9", "num_alphas": 9}, {"alphas": "0 0.1 1", "num_alphas": 3}]
    grids.append({"alphas": "0 0.2 1", "num_alphas": 3})
    several = [
        pd.concat(table.assign(**grid, ends="reset", refine=math.nan) for grid in grids)
        for table in (per_child, intervals)
    ]
    paths = draw(pd.concat([study, ends]), *several, tmp_path / "figures")
    assert [path.stem for path in paths] == [
        "lines_none_reset_loss",
        "lines_none_reset_error",
        "barriers_none_reset_test",
        "barriers_none_reset_test_3_alphas",
        "barriers_none_reset_test_3_alphas_2",
    ]
    assert pd.read_csv(paths[0])["value"].max() < 9


def test_very_many_pairs_have_several_figures(tmp_path):
    lines = connected.study(range(25), (1.0,), (1,), ("test",), alphas=[0, 0.5, 1])
    found = names(lines, tmp_path)
    assert found[:4] == [
        "lines_none_reset_loss",
        "lines_none_reset_loss_2",
        "lines_none_reset_error",
        "lines_none_reset_error_2",
    ]
    second = pd.read_csv(tmp_path / "figures" / "lines_none_reset_loss_2.csv")
    assert set(second["k1"]) == {24}


def test_empty_tables_have_no_figures(tmp_path):
    lines, per_child, intervals = connected.tables(connected.line())
    empty = (lines[:0], per_child[:0], intervals[:0])
    assert draw(*empty, tmp_path / "figures") == []


def test_a_plane_has_one_figure(tmp_path):
    tables = {options.PLANE: connected.plane(), options.NETWORKS: connected.networks()}
    paths = studies.draw_tables("plane", tables, tmp_path / "figures")
    assert [path.stem for path in paths] == ["plane"]
    drawn = pd.read_csv(paths[0])
    assert len(drawn) == len(connected.plane()) + len(connected.networks())


def test_drawing_imports_no_torch_and_no_pyplot():
    code = (
        "import sys; from isthmus.plots import barriers, lines, studies; "
        "print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_study_is_drawn_once_and_again_if_a_table_changes(tmp_path, monkeypatch):
    drawn = []

    def save(figure, table, folder, name):
        drawn.append(name)
        return []

    monkeypatch.setattr(plots_files, "save", save)
    made.of_tune(tmp_path)
    for _ in range(2):
        studies.update_study(tmp_path, "tune")
    assert drawn == ["history", "importance", "slices", "parallel"]
    (tmp_path / "importance.csv").unlink()
    studies.update_study(tmp_path, "tune")
    assert drawn[4:] == ["history", "slices", "parallel"]
    (tmp_path / "trials.csv").unlink()
    studies.update_study(tmp_path, "tune")  # no longer a study: nothing to draw
    assert len(drawn) == 7


def test_a_study_has_its_figures_as_events(tmp_path, monkeypatch):
    monkeypatch.undo()
    made.of_plane(tmp_path)
    studies.update_connectivity(tmp_path)
    found = EventAccumulator(str(tmp_path / "figures"))
    found.Reload()
    (image,) = found.Images("plane")
    assert image.encoded_image_string == (tmp_path / "figures" / "plane.png").read_bytes()
