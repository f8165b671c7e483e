import pandas as pd
import pytest

from isthmus.plots import folders, options, render, report, studies, trials
from isthmus.plots.files import Drawing
from isthmus.plots.options import Style
from isthmus.plots.panels import make_panel
from isthmus.plots.restyle import FigureOverrides
from isthmus.plots.runs import TrainingOptions
from tests.plots import made


def names(figure, root):
    drawn, _ = render.drawings(figure, render.sources(folders.find_folders(str(root)), figure))
    return [drawing.name for drawing in drawn]


def read(folder, kind):
    """The tables of a folder, as a script has them that draws its study."""
    found = {name: folder / name for name in options.tables_of_kind(kind)}
    return {name: pd.read_csv(path) for name, path in found.items() if path.exists()}


def test_a_study_is_redrawn_as_its_script_draws_it(tmp_path):
    folder = made.of_spawn(tmp_path / "spawn_1" / "seed_1")
    (source,) = render.sources(folders.find_folders(str(folder)), "report")
    again = {drawing.name: drawing for drawing in source.drawings("report")[0]}
    for drawing in render.kind_drawings("spawn", read(folder, "spawn")):
        pd.testing.assert_frame_equal(again.pop(drawing.name).shown, drawing.shown)
    assert not again


@pytest.mark.parametrize(
    ("kind", "folder", "figures"),
    [
        ("interpolate", "interpolate_2", ["line", "compared"]),
        ("plane", "interpolate_3", ["plane"]),
        (
            "extract",
            "extract_1/seed_1/clustering_1",
            ["losses", "dendrogram", "cluster_counts", "distances", "angles", "teacher"],
        ),
        ("tune", "tune_1/seed_1", ["history", "importance", "slices", "parallel"]),
    ],
)
def test_every_kind_of_study_has_the_names_of_its_script(kind, folder, figures, tmp_path):
    made.everything(tmp_path)
    drawn = [d.name for d in render.kind_drawings(kind, read(tmp_path / folder, kind))]
    assert [name for figure in figures for name in names(figure, tmp_path / folder)] == drawn


def test_a_study_of_pruning_has_figures_of_its_levels_pairs_and_masks(tmp_path):
    pruned = made.of_prune(tmp_path / "prune_1" / "seed_1")
    assert names("accuracy", pruned) == ["accuracy_plain", "accuracy_ema_0.9"]
    for figure in ("best_step", "instability", "sparsity"):
        assert names(figure, pruned) == [figure]


def test_a_name_draws_all_that_begin_with_it_and_a_whole_one_itself(tmp_path):
    folder = made.of_spawn(tmp_path / "spawn_1" / "seed_1")
    assert names("gain", folder) == [
        "gain_across_plain",
        *(f"gain_back{end}_plain" for end in ("", "_all", "_plus_one", "_plus_three")),
    ]
    assert names("gain_back_plain", folder) == ["gain_back_plain"]


def test_figures_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for number in (1, 2):
        made.of_spawn(tmp_path / f"spawn_{number}" / "seed_1")
    assert names("distances", tmp_path) == ["distances_spawn_1_seed_1", "distances_spawn_2_seed_1"]


def test_studies_of_pruning_are_drawn_together_but_for_their_layers(tmp_path):
    for number in (1, 2):
        made.of_prune(tmp_path / f"prune_{number}" / "seed_1")
    (source,) = render.sources(folders.find_folders(str(tmp_path)), "report")
    figures = {drawing.name: drawing for drawing in source.drawings("report")[0]}
    curves = set(figures["accuracy_plain"].shown["curve"])
    assert len(curves) == 2  # told apart by their studies
    assert {"sparsity_prune_1_seed_1", "sparsity_prune_2_seed_1"} <= set(figures)


def test_in_a_report_trainings_of_one_data_set_and_model_are_drawn_together(tmp_path):
    made.trainings(tmp_path, seeds=(1,), lrs=(0.1,))
    folder = made.training(tmp_path / "train_other" / "seed_1")
    text = (folder / ".hydra" / "hydra.yaml").read_text()
    (folder / ".hydra" / "hydra.yaml").write_text(text.replace("mlp", "cnn"))
    counts = {}
    for figure in ("report", "ema_study"):
        sources = render.sources(folders.find_folders(str(tmp_path)), figure)
        counts[figure] = sorted(len(source.paths) for source in sources)
    assert counts == {"report": [1, 2], "ema_study": [3]}


def test_a_part_that_cannot_be_drawn_is_told_and_the_others_are_drawn(tmp_path):
    folder = made.training(tmp_path / "train_1" / "seed_1")

    def images(_):
        raise FileNotFoundError("MNIST is not there")

    asked = TrainingOptions(images=images)
    sources = render.sources(folders.find_folders(str(folder)), "persistence", asked)
    drawn, failed = render.drawings("persistence", sources)
    assert [drawing.name for drawing in drawn] == ["persistence_barcode"]
    assert failed == {"persistence_images": "MNIST is not there"}


def test_what_cannot_be_drawn_at_all_is_refused_with_the_reason_or_the_names(tmp_path):
    folder = made.of_spawn(tmp_path / "spawn_1" / "seed_1")
    message = "^figure=gain_nope: these runs have accuracy_plain, gain_across_plain, .*distances$"
    with pytest.raises(ValueError, match=message):
        names("gain_nope", folder)
    training = made.training(tmp_path / "train_1" / "seed_1", models=("plain",))
    with pytest.raises(ValueError, match="^figure=mismatch: nothing to draw: no averaged model"):
        names("mismatch", training)


def test_a_damaged_table_spoils_no_figure_of_others(tmp_path):
    folder = made.of_spawn(tmp_path / "spawn_1" / "seed_1")
    (folder / "averages.csv").write_text("a\n1\n")
    (source,) = render.sources(folders.find_folders(str(folder)), "report")
    drawn, failed = source.drawings("report")
    assert [drawing.name for drawing in drawn] == ["distances"]
    assert set(failed) == {"accuracy", "gain"}
    assert all(str(folder / "averages.csv") in reason for reason in failed.values())


def test_the_function_of_every_row_is_there_and_every_name_of_its_figures_begins_as_the_row(
    tmp_path,
):
    made.everything(tmp_path)
    for folder in folders.find_folders(str(tmp_path)):
        source = render.Source(folder.kind, [folder.path])
        for row in source.rows("report"):
            for drawing in source.draw_row(row):
                assert f"{drawing.name}_".startswith(f"{row.name}_")


def test_a_new_figure_needs_its_function_and_a_row(tmp_path, monkeypatch):
    def make_seconds(table):
        yield Drawing("seconds", table[["number", "seconds"]], draw_seconds)

    def draw_seconds(drawn):
        figure, axes = make_panel(4, 3)
        axes.plot(drawn["number"], drawn["seconds"])
        return figure

    row = options.FigureRow("tune", "seconds", (options.TRIALS,), "trials.make_seconds", "Time.")
    monkeypatch.setattr(trials, "make_seconds", make_seconds, raising=False)
    monkeypatch.setattr(options, "FIGURES", (*options.FIGURES, row))
    folder = made.of_tune(tmp_path / "tune_1" / "seed_1")
    found = folders.find_folders(str(folder))
    folders.check_figure("seconds", found)  # it can be typed
    assert names("seconds", folder) == ["seconds"]
    (source,) = render.sources(found, "report")
    section = report.section(source, FigureOverrides(Style(dpi=40)))
    assert "seconds" in [picture.name for picture in section.pictures]  # it is in a report
    studies.update_study(folder, "tune")
    assert (folder / "figures" / "seconds.png").exists()  # and drawn after a study
