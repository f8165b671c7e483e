import matplotlib
import pytest
from matplotlib.figure import Figure

from isthmus.plots import restyle, style
from isthmus.plots.restyle import FigureOverrides, FigureStyle

NONE = dict.fromkeys(("title", "x", "y", "legend"))


def figure(legend=True):
    """Two panels of one x axis and two y axes."""
    with style.look():
        made = Figure(figsize=(4, 3), layout="constrained")
        panels = made.subplots(2)
        for axes, label in zip(panels, ("loss (nats)", "accuracy (fraction)"), strict=True):
            axes.plot([0, 1], [0, 1], label="a")
            axes.set_ylabel(label)
        made.supxlabel("epoch")
        if legend:
            style.legend(made, list(panels), title="seeds")
    return made


def fulfilled(labels=NONE, legend=True, **others):
    wished = FigureOverrides(others.get("style", FigureStyle()), others.get("size"), labels, None)
    return wished.apply(figure(legend))


def test_the_style_of_a_paper_is_that_of_the_scripts():
    with style.look():
        before = dict(matplotlib.rcParams)
    with style.override_look(FigureStyle().settings()), style.look():
        assert dict(matplotlib.rcParams) == before


def test_a_style_holds_within_and_not_after():
    chosen = FigureStyle(font_size=14, background="#000000", foreground="white")
    with FigureOverrides(chosen, None, NONE, None).context(), style.look():
        assert matplotlib.rcParams["font.size"] == 14
        assert Figure().get_facecolor() == (0, 0, 0, 1)
    with style.look():
        assert matplotlib.rcParams["font.size"] == 9


def test_nothing_changes_without_a_wish():
    made = fulfilled()
    assert made.get_size_inches().tolist() == [4, 3]
    assert restyle.axis_labels(made, "y") == ["loss (nats)", "accuracy (fraction)"]


def test_a_size_is_taken_as_given_and_else_the_figure_grows_with_the_style():
    assert fulfilled(size=[7, 2]).get_size_inches().tolist() == [7, 2]
    assert fulfilled(style=FigureStyle(scale=1.5)).get_size_inches().tolist() == [6, 4.5]


def test_words_are_exchanged():
    labels = {"title": "Title", "x": "Epoche", "y": ["a", "b"], "legend": "Legende"}
    made = fulfilled(labels)
    assert (restyle.axis_labels(made, "x"), restyle.axis_labels(made, "y")) == (
        ["Epoche"],
        ["a", "b"],
    )
    assert made.legends[0].get_title().get_text() == "Title\nLegende"
    assert fulfilled(NONE | {"title": "T"}, legend=False).get_suptitle() == "T"
    assert fulfilled(NONE | {"title": "T"}).legends[0].get_title().get_text() == "T\nseeds"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"y": "one"}, r"^labels.y: this figure has 2, got 1; it has 'loss \(nats\)'; 'accuracy"),
        ({"x": ["a", "b"]}, "^labels.x: this figure has 1, got 2; it has 'epoch'$"),
        ({"legend": "a"}, "^labels.legend: this figure has no legend$"),
    ],
)
def test_words_that_a_figure_does_not_have_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        fulfilled(NONE | labels, legend=False)
