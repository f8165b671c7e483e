import base64
import re
from datetime import datetime
from html.parser import HTMLParser

import pandas as pd
import pytest

from isthmus.plots import folders, options, render, report, style
from isthmus.plots import runs as plots_runs
from isthmus.plots.options import Style
from isthmus.plots.report import PageSection, Picture
from isthmus.plots.restyle import FigureOverrides
from isthmus.plots.runs import TrainingRuns
from tests.plots import made as plots_made

WISHED = FigureOverrides(Style(dpi=40))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of trainings, a study of pruning and a plane."""
    root = plots_made.trainings(tmp_path_factory.mktemp("runs"), schedulers=("multistep",))
    plots_made.of_prune(root / "prune_1" / "seed_1")
    plots_made.of_plane(root / "interpolate_1")
    sources = render.sources(folders.find_folders(str(root)), "report")
    with WISHED.context():
        path = report.save_report(sources, WISHED, root / "plots" / "report_1")
    return path.read_text()


def test_every_figure_that_the_runs_allow_is_in_it(page):
    names = re.findall(r"<h3>(.*?)</h3>", page)
    wanted = {row.name for row in options.FIGURES if row.kind == "train"}
    wanted -= {"compare", "persistence_images"}  # which are not asked for
    wanted |= {"plane", "accuracy_plain", "accuracy_ema_0.9", "best_step", "sparsity"}
    assert sorted(names) == sorted(wanted | {"instability"})
    assert page.count("data:image/png;base64,") == len(names)
    assert "Not drawn" not in page


def test_the_commands_and_a_table_of_the_runs_are_in_it(page):
    assert "python train.py scheduler=multistep optimizer.lr=0.5 global_seed=2" in page
    assert "<td class=text>optimizer.lr=0.5</td>" in page
    assert page.count("<section>") == 3


def test_what_cannot_be_drawn_is_in_it_with_the_reason(tmp_path):
    folder = plots_made.training(tmp_path / "train_1" / "seed_1", models=("plain",))
    (source,) = render.sources(folders.find_folders(str(folder)), "report")
    with style.use_theme(WISHED.style):
        section = report.section(source, WISHED)
    drawn = [picture.name for picture in section.pictures]
    assert drawn[:2] == ["ema_study", "schedule_decay_table"] and "lr_table" not in drawn
    assert section.missing["mismatch"].startswith("nothing to draw: no averaged model")
    (folder / "metrics.csv").write_text("a\n1\n")
    (source,) = render.sources(folders.find_folders(str(folder)), "report")
    assert report.section(source, WISHED).missing["all"].startswith(str(folder))


def test_the_overview_has_a_row_a_training_and_its_final_accuracies(tmp_path):
    plots_made.trainings(tmp_path, seeds=(1,), lrs=(0.1,))
    runs = [
        plots_runs.read_training(path.parent) for path in sorted(tmp_path.glob("*/*/metrics.csv"))
    ]
    table = report.overview(TrainingRuns(runs))
    assert table["setting"].tolist() == ["constant", "multistep"]
    assert table["test accuracy, ema_0.9"].tolist() == pytest.approx([0.52, 0.62])
    assert "setting" not in report.overview(TrainingRuns(runs[:1]))


def test_the_page_has_the_colours_of_the_style(tmp_path):
    dark = Style(background="#14171c", foreground="white", grid="0.2", dpi=40)
    path = report.save_report([], FigureOverrides(dark), tmp_path)
    assert "background: #14171c; color: #ffffff" in path.read_text()


COLOURS = ("#ffffff", "#000000", "#dddddd")


class Read(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def made(rows=3):
    shown = pd.DataFrame({"name": ["a<b"] * rows, "value": [1 / 3] * rows, "std": [None] * rows})
    picture = Picture("loss & more", "What <it> shows.", b"png", 5.0, shown)
    missing = {"gain": "no <table>"}
    overview = pd.DataFrame({"run": ["a"], "seed": [1]})
    section = PageSection("Trainings: a", ["python train.py 'a=<b>'"], overview, [picture], missing)
    return report.page([section], COLOURS)


def test_the_page_is_whole_and_needs_nothing_else():
    read = Read(made())
    assert read.open == []
    links = [value for _, attributes in read.tags for value in attributes.values() if value]
    assert not [link for link in links if re.match(r"(https?:)?//", link)]
    assert all(link[0] in "#d" for tag in ("a", "link") for link in [read.of(tag)[0]["href"]])
    assert "url(" not in made() and "@import" not in made()


def test_figures_and_their_numbers_are_in_it():
    read = Read(made())
    (image,) = read.of("img")
    assert base64.b64decode(image["src"].partition(",")[2]) == b"png"
    assert (image["alt"], image["width"]) == ("loss & more", "480")
    download = next(link for link in read.of("a") if "download" in link)
    numbers = base64.b64decode(download["href"].partition(",")[2]).decode()
    assert numbers == "name,value,std\n" + "a<b,0.3333333333333333,\n" * 3
    assert "<td class=text>a&lt;b</td><td>0.333333</td><td></td>" in made()


def test_commands_and_reasons_stand_as_they_are():
    assert "python train.py &#39;a=&lt;b&gt;&#39;" in made()
    assert "<code>gain</code>: no &lt;table&gt;" in made()
    assert "What &lt;it&gt; shows." in made() and f"Drawn on {datetime.now():%Y-%m-}" in made()


def test_a_long_table_is_cut_and_says_so():
    text = made(report.SHOWN + 1)
    assert f"the first {report.SHOWN} of {report.SHOWN + 1} rows" in text
    assert text.count("<td class=text>a&lt;b</td>") == report.SHOWN
