import pandas as pd
import pytest

from isthmus.plots import branching, connectivity, extraction, folders, pruning, render
from isthmus.plots.render import TrainingFigureOptions
from tests.plots import made

ASKED = TrainingFigureOptions({"x": None}, None, None)


def names(figure, root, asked=ASKED):
    drawn, _ = render.drawings(
        figure, render.sources(folders.find_folders(str(root)), figure), asked
    )
    return [drawing.name for drawing in drawn]


def test_a_study_is_redrawn_as_its_script_draws_it(tmp_path):
    folder = made.of_spawn(tmp_path / "spawn_1" / "seed_1")
    tables = [pd.read_csv(folder / file) for file in ("averages.csv", "distance/distance.csv")]
    (source,) = render.sources(folders.find_folders(str(folder)), "report")
    again = {name: make() for name, make in source.figures(ASKED).items()}
    for drawing in branching.branch_drawings(*tables):
        pd.testing.assert_frame_equal(again.pop(drawing.name).shown, drawing.shown)
    assert not again


def test_every_kind_of_study_has_the_names_of_its_script(tmp_path):
    made.everything(tmp_path)
    pair = tmp_path / "interpolate_2"
    tables = [pd.read_csv(pair / f"{name}.csv") for name in ("lines", "barriers", "intervals")]
    lines = [drawing.name for drawing in connectivity.line_drawings(*tables)]
    assert names("line", pair) + names("compared", pair) == lines
    assert names("plane", tmp_path) == ["plane"]
    clusters = tmp_path / "extract_1" / "seed_1" / "clustering_1"
    by_name = {file.stem: pd.read_csv(file) for file in clusters.glob("*.csv")}
    by_name["losses"] = pd.read_csv(clusters.parent / "losses.csv")
    for drawing in extraction.extraction_drawings(by_name):
        assert names(drawing.name, tmp_path / "extract_1") == [drawing.name]
    pruned = tmp_path / "prune_1"
    table = pd.read_csv(pruned / "seed_1" / "levels.csv").assign(study="prune_1")
    assert names("accuracy", pruned) + names("best_step", pruned) == [
        drawing.name for drawing in pruning.level_drawings(table)
    ]
    assert names("instability", pruned) == ["instability"]
    assert names("sparsity", pruned) == ["sparsity"]


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
    figures = source.figures(ASKED)
    curves = set(figures["accuracy_plain"]().shown["curve"])
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

    sources = render.sources(folders.find_folders(str(folder)), "persistence")
    drawn, failed = render.drawings(
        "persistence", sources, TrainingFigureOptions({"x": None}, None, images)
    )
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
