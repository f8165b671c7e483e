import re

import pytest

from isthmus.plots import folders, render, report, restyle, style
from isthmus.plots import runs as plots_runs
from isthmus.plots.render import TrainingFigureOptions
from isthmus.plots.restyle import FigureOverrides, FigureStyle
from isthmus.plots.runs import TrainingRuns
from tests.plots import made

WISHED = FigureOverrides(
    FigureStyle(dpi=40), None, dict.fromkeys(("title", "x", "y", "legend")), None
)
ASKED = TrainingFigureOptions({"x": None}, None, None)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of trainings, a study of pruning and a plane."""
    root = made.trainings(tmp_path_factory.mktemp("runs"), schedulers=("multistep",))
    made.of_prune(root / "prune_1" / "seed_1")
    made.of_plane(root / "interpolate_1")
    sources = render.sources(folders.find_folders(str(root)), "report")
    with WISHED.context():
        path = report.save_report(sources, ASKED, WISHED, root / "plots" / "report_1")
    return path.read_text()


def test_every_figure_that_the_runs_allow_is_in_it(page):
    names = re.findall(r"<h3>(.*?)</h3>", page)
    wanted = set(render.training_figures(TrainingRuns([]), ASKED))
    wanted |= {"plane", "accuracy_plain", "accuracy_ema_0.9", "best_step", "sparsity"}
    assert sorted(names) == sorted(wanted | {"instability"})
    assert page.count("data:image/png;base64,") == len(names)
    assert "Not drawn" not in page


def test_the_commands_and_a_table_of_the_runs_are_in_it(page):
    assert "python train.py scheduler=multistep optimizer.lr=0.5 global_seed=2" in page
    assert "<td class=text>optimizer.lr=0.5</td>" in page
    assert page.count("<section>") == 3


def test_what_cannot_be_drawn_is_in_it_with_the_reason(tmp_path):
    folder = made.training(tmp_path / "train_1" / "seed_1", models=("plain",))
    (source,) = render.sources(folders.find_folders(str(folder)), "report")
    with style.override_look(WISHED.style.settings()):
        section = report.section(source, ASKED, WISHED)
    drawn = [picture.name for picture in section.pictures]
    assert drawn[:2] == ["ema_study", "schedule_decay_table"] and "lr_table" not in drawn
    assert section.missing["mismatch"].startswith("nothing to draw: no averaged model")
    (folder / "metrics.csv").write_text("a\n1\n")
    (source,) = render.sources(folders.find_folders(str(folder)), "report")
    assert report.section(source, ASKED, WISHED).missing["all"].startswith(str(folder))


def test_the_overview_has_a_row_a_training_and_its_final_accuracies(tmp_path):
    made.trainings(tmp_path, seeds=(1,), lrs=(0.1,))
    runs = [
        plots_runs.read_training(path.parent) for path in sorted(tmp_path.glob("*/*/metrics.csv"))
    ]
    table = report.overview(TrainingRuns(runs))
    assert table["setting"].tolist() == ["constant", "multistep"]
    assert table["test accuracy, ema_0.9"].tolist() == pytest.approx([0.52, 0.62])
    assert "setting" not in report.overview(TrainingRuns(runs[:1]))


def test_the_page_has_the_colours_of_the_style(tmp_path):
    dark = restyle.FigureStyle(background="#14171c", foreground="white", grid="0.2", dpi=40)
    path = report.save_report([], ASKED, FigureOverrides(dark, None, WISHED.labels, None), tmp_path)
    assert "background: #14171c; color: #ffffff" in path.read_text()
