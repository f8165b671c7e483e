import matplotlib
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from isthmus import steps
from isthmus.plots import style
from isthmus.plots.options import Style
from tests.plots import tables


def test_ticks_are_both_ends_and_round_numbers_between():
    grid = steps.log_grid(62560)
    assert style.step_ticks(grid, 391.0) == [0, 1, 10, 391, 3910, 62560]
    assert style.step_ticks(grid, None) == [0, 1, 10, 100, 1000, 10000, 62560]


def test_above_an_epoch_whole_epochs_are_round():
    every_epoch = [391 * epoch for epoch in range(11)]
    assert style.step_ticks(every_epoch, 391.0) == [0, 391, 782, 1955, 3910]


@pytest.mark.parametrize(
    ("iterations", "ticks"), [([0], [0]), ([7], [7]), ([0, 7], [0, 7]), ([5, 6, 7], [5, 7])]
)
def test_few_steps_have_few_ticks(iterations, ticks):
    assert style.step_ticks(iterations, None) == ticks


def test_a_step_is_read_as_iterations_and_as_epochs():
    assert style.step_label(390, 391.0) == "390"
    assert style.step_label(391, 391.0) == "391\n1ep"
    assert style.step_label(1000, None) == "1000"
    assert style.moment(0, 391.0) == "0it"
    assert style.moment(500, 391.0) == "500it (1.28ep)"
    assert style.moment(391_000, 391.0) == "391000it (1000ep)"
    assert style.moment(500, None) == "500it"


def test_the_axis_of_steps_shows_zero_and_grows_by_ratios():
    axes = Figure().subplots()
    axes.plot([0, 1, 10, 100], [0, 0, 0, 0])
    style.step_axis(axes, [0, 1, 10, 100], None)
    zero, one, ten, hundred = (axes.transData.transform((x, 0))[0] for x in (0, 1, 10, 100))
    assert zero < one
    assert hundred - ten == pytest.approx(ten - one)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "10", "100"]


def test_iterations_of_an_epoch_are_read_from_any_moment():
    assert style.iterations_per_epoch(tables.study()) == tables.PER_EPOCH
    assert style.iterations_per_epoch(tables.study((0,), (0, 1))) == tables.PER_EPOCH
    assert style.iterations_per_epoch(tables.study((8,), (0,))) == tables.PER_EPOCH
    assert style.iterations_per_epoch(tables.study((0,), (0,))) is None


def test_positions_are_evenly_spread_up_to_the_last():
    assert list(style.spread(3, 5)) == [0, 1, 2]
    assert list(style.spread(33, 17)) == list(range(0, 33, 2))
    assert list(style.spread(10, 4)) == [0, 3, 6, 9]
    assert list(style.spread(1, 1)) == [0]


def test_across_darkens_with_the_number_of_networks():
    lightness = [sum(style.line("across", n)["color"][:3]) for n in (1, 2, 3, 4, 5, 8)]
    assert lightness == sorted(lightness, reverse=True)
    assert len(set(lightness)) == len(lightness)


def test_averages_come_in_the_order_of_their_memory_and_differ_in_their_dashes():
    names = ["swa", "ema_0.9995", "plain", "ema_0.9", "ema_0.99", "best"]
    found = style.order_models([*names, "plain"])
    assert found == ["plain", "ema_0.9", "ema_0.99", "ema_0.9995", "best", "swa"]
    looks = style.looks(names)
    assert len({str(look.get("linestyle")) for look in looks.values()}) == len(names)
    shades = [sum(looks[name]["color"][:3]) for name in ("ema_0.9", "ema_0.99", "ema_0.9995")]
    assert shades == sorted(shades, reverse=True)


def test_the_default_theme_is_that_of_scripts_and_of_a_paper():
    with style.look():
        before = dict(matplotlib.rcParams)
    with style.use_theme(Style()), style.look():
        assert dict(matplotlib.rcParams) == before


def test_every_option_of_a_theme_is_a_setting_but_its_scale():
    sizes = {"font_size": 8.0, "line_width": 2.0, "marker_size": 3.0, "scale": 2.0, "dpi": 99}
    changed = Style(**sizes, background="#111111", foreground="#eeeeee", grid="#333333")
    with style.use_theme(changed), style.look():
        found = matplotlib.rcParams
        assert (found["font.size"], found["axes.titlesize"], found["xtick.labelsize"]) == (8, 8, 7)
        assert (found["figure.facecolor"], found["axes.facecolor"]) == ("#111111", "#111111")
        assert (found["text.color"], found["grid.color"]) == ("#eeeeee", "#333333")
        assert found["savefig.dpi"] == 99


def test_every_line_and_mark_is_scaled_as_the_default_one_is():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], linewidth=1.2, marker="o", markersize=4)
    axes.scatter([0, 1], [0, 1], s=9, linewidths=1.0)
    axes.add_collection(LineCollection([[(0, 0), (1, 1)]], linewidths=0.8))
    axes.fill_between([0, 1], [1, 2], linewidth=0)
    axes.legend(axes.get_lines(), ["a"])
    style.scale_lines(figure, Style(line_width=2.4, marker_size=5.0))
    for line in [*axes.get_lines(), *axes.get_legend().get_lines()]:
        assert (line.get_linewidth(), line.get_markersize()) == (2.4, 8)
    points, lines, band = axes.collections
    assert (points.get_sizes().tolist(), points.get_linewidth().tolist()) == ([36], [2])
    assert (lines.get_linewidth().tolist(), band.get_linewidth().tolist()) == ([1.6], [0])


def test_colours_of_ordered_items_are_seen_on_white():
    for count in (1, 2, 5, 12):
        for colour in style.sequential(count):
            assert style.contrast(colour, (1, 1, 1)) >= style.CONTRAST
    assert len(set(style.sequential(12))) == 12
