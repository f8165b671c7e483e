import pandas as pd
import pytest

from isthmus.plots import frames, pruning

DENSITIES = [1.0, 0.8, 0.6400001]


def barriers(
    name="prune_1",
    rewind_step=0,
    seeds=(1, 2),
    lines=("1-2", "1-3"),
    strategy="fc19",
    vary="data_order dropout",
    bn="reset",
    splits=("train", "test"),
):
    """A table as `prune.py` writes it: the error's barrier is 0.1 less a tenth of the level."""
    return pd.DataFrame(
        {
            "study": name,
            "strategy": strategy,
            "rewind": "weights",
            "rewind_step": rewind_step,
            "seed": seed,
            "level": level,
            "density": density,
            "vary": vary,
            "seeds": line,
            "bn": bn,
            "split": split,
            "metric": metric,
            "barrier": scale * (0.3 - 0.1 * level + 0.01 * seed + 0.002 * place),
            "barrier_frankle": scale * (0.4 - 0.1 * level + 0.01 * seed + 0.002 * place),
        }
        for seed in seeds
        for level, density in enumerate(DENSITIES)
        for place, line in enumerate(lines)
        for split in splits
        for metric, scale in (("loss", 10), ("error", 1))
    )


def several(**options):
    """Studies of three rewind steps."""
    steps = {"prune_1": 0, "prune_2": 100, "prune_3": 500}
    return pd.concat([barriers(name, step, **options) for name, step in steps.items()])


def of(drawn, metric="error", measure="barrier"):
    return drawn[(drawn["metric"] == metric) & (drawn["measure"] == measure)]


def curves(found):
    return list(dict.fromkeys(pruning.instability_table(found)["curve"]))


def test_lines_on_another_grid_are_left_out():
    grid = {"ends": "reset", "alphas": 25, "refine": float("nan"), "num_alphas": 25}
    other = barriers(lines=("1-2",)).assign(**grid | {"alphas": 3, "num_alphas": 3}, barrier=9.0)
    drawn = pruning.instability_table(pd.concat([other, barriers().assign(**grid)]))
    pd.testing.assert_frame_equal(drawn, pruning.instability_table(barriers()))


def test_a_point_is_the_mean_and_the_range_of_all_pairs_of_all_seeds():
    drawn = pruning.instability_table(barriers())
    points = of(drawn)
    assert set(points["curve"]) == {"fc19"} and set(drawn["along"]) == {"density"}
    assert list(points["density"]) == DENSITIES
    assert list(points["value"]) == pytest.approx([0.316, 0.216, 0.116])
    assert list(points["lowest"]) == pytest.approx([0.31, 0.21, 0.11])
    assert list(points["highest"]) == pytest.approx([0.322, 0.222, 0.122])
    assert set(points["num_pairs"]) == {4} and set(points["seeds"]) == {"1 2"}
    assert list(of(drawn, "loss", "barrier_frankle")["value"]) == pytest.approx([4.16, 3.16, 2.16])


def test_studies_of_several_rewind_steps_make_a_curve_a_density():
    drawn = pruning.instability_table(several())
    assert set(drawn["along"]) == {"rewind_step"}
    assert curves(several()) == ["dense", "0.8 of the weights", "0.64 of the weights"]
    points = of(drawn)
    dense = points[points["curve"] == "dense"]
    assert list(dense["rewind_step"]) == [0, 100, 500] and set(dense["num_pairs"]) == {4}


def test_curves_are_told_apart_by_all_that_differs():
    both = pd.concat([barriers(), barriers("prune_2", strategy="random")])
    assert curves(both) == ["fc19", "random"]
    both = pd.concat([several(), barriers("prune_4", 100, strategy="random")])
    assert curves(both)[:2] == ["dense, fc19", "dense, random"]
    both = pd.concat([barriers(), barriers(vary="dropout")])
    assert curves(both) == ["fc19, vary=[data_order,dropout]", "fc19, vary=[dropout]"]
    both = pd.concat([barriers(), barriers("prune_2").assign(rewind="lr")])
    assert curves(both) == ["fc19, rewind=weights", "fc19, rewind=lr"]


def test_studies_that_differ_in_what_no_column_says_are_not_put_together():
    both = pd.concat([barriers(), barriers("prune_2")])
    assert curves(both) == ["fc19, prune_1", "fc19, prune_2"]
    assert set(pruning.instability_table(both)["num_pairs"]) == {4}


def test_against_the_rewind_step_the_dense_network_is_black_and_the_axis_has_a_0():
    figure = pruning.draw_instability(pruning.instability_table(several()))
    panels = figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == [*frames.DEFINITIONS] * 2
    assert panels[0].get_ylabel() == "barrier of the error (fraction)"
    assert panels[2].get_ylabel() == "barrier of the loss (nats)"
    for axes in panels:
        dense, *others = axes.get_lines()[:3]
        assert dense.get_color() == pruning.INSTABILITY_DENSE["color"] and len(others) == 2
        assert list(dense.get_xdata()) == [0, 100, 500]
        assert len(axes.collections) == 3  # ranges
        assert axes.get_xscale() == "symlog"
    stable = [len(axes.get_lines()) == 4 for axes in panels]
    assert stable == [False, True, False, False]  # of the error, by the paper's own definition
    assert {axes.get_xlabel() for axes in panels[2:]} == {"rewind step (iterations)"}
    (legend,) = figure.legends
    assert legend.get_title().get_text().startswith("test, batch norm: reset; mean and range of 4")


def test_with_one_rewind_step_the_axis_goes_from_dense_to_sparse():
    figure = pruning.draw_instability(
        pruning.instability_table(barriers(rewind_step=7, seeds=[1], lines=["1-2"]))
    )
    for axes in figure.axes:
        assert axes.get_xscale() == "log" and axes.xaxis_inverted()
        assert list(axes.get_lines()[0].get_xdata()) == sorted(DENSITIES)
    assert {axes.get_xlabel() for axes in figure.axes[2:]} == {"weights remaining (fraction)"}
    title = figure.legends[0].get_title().get_text().splitlines()[0]
    assert title == "test, batch norm: reset, children part at 7it"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("val",), "^nothing to draw with split val; the table has test, train$"),
        (("test", "keep"), "^nothing to draw with bn keep; the table has reset$"),
    ],
)
def test_what_cannot_be_drawn_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        pruning.instability_table(barriers(), *arguments)


def test_another_table_is_named():
    with pytest.raises(ValueError, match="^the table has no column vary; it has study, strategy"):
        pruning.instability_table(barriers().drop(columns="vary"))
