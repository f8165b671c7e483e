import base64
import re
from html.parser import HTMLParser

import pandas as pd

from isthmus.plots import report
from isthmus.plots.report import Picture, Section

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
    picture = Picture("loss & more", b"png", 5.0, shown)
    missing = {"gain": "no <table>"}
    overview = pd.DataFrame({"run": ["a"], "seed": [1]})
    section = Section("Trainings: a", ["python train.py 'a=<b>'"], overview, [picture], missing)
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
    assert "python train.py &#x27;a=&lt;b&gt;&#x27;" in made()
    assert "<code>gain</code>: no &lt;table&gt;" in made()


def test_a_long_table_is_cut_and_says_so():
    text = made(report.SHOWN + 1)
    assert f"the first {report.SHOWN} of {report.SHOWN + 1} rows" in text
    assert text.count("<td class=text>a&lt;b</td>") == report.SHOWN
