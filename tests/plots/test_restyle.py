import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from isthmus.plots import restyle, style
from isthmus.plots.files import Drawing
from isthmus.plots.options import Labels, Style
from isthmus.plots.panels import add_legend
from isthmus.plots.restyle import FigureOverrides

DARK = (0.08, 0.09, 0.11)


def figure():
    """A black curve with its band, a red one, and a grey reference line without a name."""
    made = Figure()
    axes = made.subplots()
    axes.plot([0, 1], [0, 1], color="black", label="a")
    axes.fill_between([0, 1], [0, 1], [1, 2], color="black", alpha=0.15, lw=0)
    axes.plot([0, 1], [1, 0], color="red", marker="o", label="b")
    axes.axhline(0.5, color="0.4", label="_")
    made.legend()
    return made


def test_contrast_is_that_of_wcag():
    assert restyle.contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert restyle.contrast((1, 1, 1), (1, 1, 1)) == 1
    assert restyle.contrast(to_rgb("#767676"), (1, 1, 1)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("name", ["black", "0.1", "#0072b2", "#440154", "navy", "white", "yellow"])
def test_a_readable_colour_is_seen_and_keeps_what_it_is(name):
    found = restyle.readable(to_rgb(name), DARK)
    assert restyle.contrast(found, DARK) >= restyle.CONTRAST
    if restyle.contrast(to_rgb(name), DARK) >= restyle.CONTRAST:
        assert found == to_rgb(name)
    if max(to_rgb(name)) - min(to_rgb(name)) > 0.1:
        assert np.argmax(found) == np.argmax(to_rgb(name))  # a blue stays one


def test_colours_are_given_in_the_order_of_the_legend_to_curves_and_bands():
    made = figure()
    restyle.choose_palette(made, ["#00ff00", "blue", "pink"])
    first, second, line = made.axes[0].get_lines()
    assert [to_rgb(one.get_color()) for one in (first, second)] == [(0, 1, 0), (0, 0, 1)]
    assert to_rgb(second.get_markerfacecolor()) == (0, 0, 1)
    assert made.axes[0].collections[0].get_facecolor()[0].tolist() == [0, 1, 0, 0.15]
    assert to_rgb(line.get_color()) == to_rgb("0.4")
    shown = [to_rgb(handle.get_color()) for handle in made.legends[0].get_lines()]
    assert shown == [(0, 1, 0), (0, 0, 1)]
    assert made.legends[0].get_texts()[0].get_color() == "black"


def test_a_colormap_colours_curves_and_maps():
    made = figure()
    mesh = made.axes[0].pcolormesh(np.arange(4.0).reshape(2, 2))
    restyle.choose_palette(made, "magma")
    assert mesh.get_cmap().name == "magma"
    ends = [matplotlib.colormaps["magma"](share)[:3] for share in (0, 0.9)]
    drawn = [to_rgb(line.get_color()) for line in made.axes[0].get_lines()[:2]]
    assert np.allclose(drawn, ends)


def test_what_is_written_on_a_map_stays_and_what_is_beside_it_does_not():
    made = Figure()
    axes = made.subplots()
    axes.pcolormesh(np.arange(4.0).reshape(2, 2))
    on, title = axes.text(1, 1, "a", color="black"), axes.set_title("b", color="black")
    (line,) = axes.plot([0, 1], [1, 1], color="black")
    restyle.fit_contrast(made, "#14171c")
    assert to_rgb(on.get_color()) == to_rgb(line.get_color()) == (0, 0, 0)
    assert to_rgb(title.get_color()) == (1, 1, 1)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["red"], "^colours: this figure has 2, got 1$"),
        ("rainbows", "^colours=rainbows: no colormap of matplotlib; it has viridis, ...$"),
        (["red", "nocolour"], "nocolour"),
    ],
)
def test_colours_that_cannot_be_given_are_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        restyle.choose_palette(figure(), wanted)


def test_a_map_has_no_list_of_colours():
    made = Figure()
    made.subplots().pcolormesh(np.arange(4.0).reshape(2, 2))
    with pytest.raises(ValueError, match="^colours: this figure has no curves; for a map, name a"):
        restyle.choose_palette(made, ["red"])


def figure_wishes(legend=True):
    """Two panels of one x axis and two y axes."""
    with style.look():
        made = Figure(figsize=(4, 3), layout="constrained")
        panels = made.subplots(2)
        for axes, label in zip(panels, ("loss (nats)", "accuracy (fraction)"), strict=True):
            axes.plot([0, 1], [0, 1], label="a")
            axes.set_ylabel(label)
        made.supxlabel("epoch")
        if legend:
            add_legend(made, panels, title="seeds")
    return made


def fulfilled(legend=True, **wished):
    wished = FigureOverrides(**wished)
    return wished.apply(figure_wishes(legend))


def test_a_style_holds_within_and_not_after():
    chosen = Style(font_size=14, background="#000000", foreground="white")
    with FigureOverrides(chosen).context(), style.look():
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
    drawn = pd.DataFrame({"x": [1.0]})
    with FigureOverrides(Style(scale=1.5)).context():
        figure = Drawing("a", drawn, lambda _: figure_wishes()).figure()
        assert figure.get_size_inches().tolist() == [6, 4.5]
        assert FigureOverrides(Style(scale=1.5)).apply(figure).get_size_inches().tolist() == [
            6,
            4.5,
        ]


def test_words_are_exchanged():
    made = fulfilled(labels=Labels(title="Title", x="Epoche", y=["a", "b"], legend="Legende"))
    assert (restyle.axis_labels(made, "x"), restyle.axis_labels(made, "y")) == (
        ["Epoche"],
        ["a", "b"],
    )
    assert made.legends[0].get_title().get_text() == "Title\nLegende"
    assert fulfilled(labels=Labels(title="T"), legend=False).get_suptitle() == "T"
    assert fulfilled(labels=Labels(title="T")).legends[0].get_title().get_text() == "T\nseeds"


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
        fulfilled(labels=Labels(**labels), legend=False)
