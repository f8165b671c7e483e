import pandas as pd
import pytest
from matplotlib.figure import Figure

from isthmus.plots import files, frames, options, pruning, studies

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


TICKETS_DENSITIES = [1.0, 0.8, 0.64, 0.512]


def study(seeds=(1, 2), strategy="fc19", name="prune_1", branch=None, rewind_step=0, best=True):
    """A table as `prune.py` writes it; accuracies that have no meaning."""
    rows = []
    for seed in seeds:
        for level, density in enumerate(TICKETS_DENSITIES):
            for branched in ("", branch) if branch and level else ("",):
                for model in ("plain", "ema_0.9"):
                    accuracy = 0.9 - 0.01 * level + 0.001 * seed - (0.1 if branched else 0)
                    rows.append(
                        {
                            "study": name,
                            "strategy": strategy,
                            "rewind": "weights",
                            "rewind_step": rewind_step,
                            "seed": seed,
                            "level": level,
                            "branch": branched or None,  # as pandas reads it
                            "density": density,
                            "model": model,
                            "split": "test",
                            "loss": 1 - accuracy,
                            "accuracy": accuracy,
                            "best_step": 100 * level + seed if best else None,
                        }
                    )
    return pd.DataFrame(rows)


KEPT = pd.DataFrame(
    [
        {"level": level, "layer": layer, "density": 0.8**level}
        for level in range(3)
        for layer in ("hidden.0.weight", "output.weight", "total")
    ]
)


def test_a_point_is_the_mean_and_the_range_of_all_seeds():
    drawn = pruning.tickets_table(study())
    assert list(drawn["level"]) == [0, 1, 2, 3]
    assert list(drawn["value"]) == pytest.approx([0.9015, 0.8915, 0.8815, 0.8715])
    assert list(drawn["lowest"]) == pytest.approx([0.901, 0.891, 0.881, 0.871])
    assert list(drawn["highest"]) == pytest.approx([0.902, 0.892, 0.882, 0.872])
    assert set(drawn["seeds"]) == {"1 2"} and set(drawn["curve"]) == {"fc19"}


def test_branches_have_lines_of_their_own_without_the_dense_network():
    drawn = pruning.tickets_table(study(branch="randomly_prune strategy=even"))
    assert list(dict.fromkeys(drawn["curve"])) == ["fc19", "fc19, randomly_prune strategy=even"]
    assert list(drawn["level"]) == [0, 1, 2, 3, 1, 2, 3]


def test_studies_of_other_strategies_have_lines_of_their_own():
    both = pd.concat([study(), study(strategy="random", name="prune_2")])
    assert set(pruning.tickets_table(both)["curve"]) == {"fc19", "random"}


def test_studies_of_one_strategy_are_told_apart_by_what_they_rewind_or_by_their_folder():
    both = pd.concat([study(), study(name="prune_2", rewind_step=500)])
    curves = {"fc19, rewind weights 0it", "fc19, rewind weights 500it"}
    assert set(pruning.tickets_table(both)["curve"]) == curves
    twins = pd.concat([study(), study(name="prune_2")])
    names = {f"fc19, rewind weights 0it, prune_{n}" for n in (1, 2)}
    assert set(pruning.tickets_table(twins)["curve"]) == names


def test_the_step_of_lowest_validation_loss_is_a_metric():
    assert list(pruning.tickets_table(study(), "best_step")["value"]) == [1.5, 101.5, 201.5, 301.5]
    figure = pruning.draw_tickets(pruning.tickets_table(study(), "best_step"))
    (axes,) = figure.axes
    assert axes.get_ylabel() == "step of lowest validation loss (iterations)"
    assert len(axes.get_lines()) == 1  # no line of the dense network


def test_the_figure_has_a_line_a_curve_bands_and_a_logarithmic_axis_from_dense_to_sparse():
    drawn = pruning.tickets_table(study(branch="randomly_reinitialize"))
    (axes,) = pruning.draw_tickets(drawn).axes
    first, other, dense = axes.get_lines()
    assert list(first.get_xdata()) == TICKETS_DENSITIES
    assert list(other.get_xdata()) == TICKETS_DENSITIES[1:]
    assert list(dense.get_ydata()) == pytest.approx([0.9015] * 2)
    assert len(axes.collections) == 2
    assert axes.get_xscale() == "log" and axes.xaxis_inverted()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "0.8", "0.64", "0.512"]
    assert axes.get_ylabel() == "test accuracy (fraction)"


def test_ticks_leave_room_for_their_labels():
    assert pruning.density_ticks([1, 0.8, 0.64]) == [1, 0.8, 0.64]
    assert pruning.density_ticks([1, 0.314, 0.307, 0.03]) == [1, 0.314, 0.03]
    assert pruning.density_ticks([0.5, 0.5]) == [0.5]
    many = pruning.density_ticks([0.8**level for level in range(30)])
    assert many[0] == 1 and len(many) < 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("error",), "^metric: must be accuracy, loss, best_step, got error$"),
        (("accuracy", "val"), "^nothing to draw with split val; the table has test$"),
        (("accuracy", "test", "swa"), "^nothing to draw with model swa; .* ema_0.9, plain$"),
    ],
)
def test_what_cannot_be_drawn_is_named_of_tickets(arguments, message):
    with pytest.raises(ValueError, match=message):
        pruning.tickets_table(study(), *arguments)


def test_nothing_to_draw_and_another_table_are_named():
    with pytest.raises(ValueError, match="^nothing to draw: no best_step of split test, model pl"):
        pruning.tickets_table(study(best=False), "best_step")
    with pytest.raises(ValueError, match="^the table has no column study"):
        pruning.tickets_table(KEPT)
    with pytest.raises(ValueError, match="^the table has no column level"):
        pruning.sparsity_table(study().drop(columns="level"))
    with pytest.raises(ValueError, match="^nothing to draw: the table of sparsity has no layers$"):
        pruning.sparsity_table(KEPT[KEPT["layer"] == "total"])


def test_sparsity_has_a_line_a_level_over_the_layers():
    drawn = pruning.sparsity_table(
        KEPT.sort_values(["level", "layer"], ascending=[True, False])[3:]
    )
    drawn = pd.concat([pruning.sparsity_table(KEPT[:3]), drawn])  # in another order at later levels
    assert set(drawn["layer"]) == {"hidden.0.weight", "output.weight"}
    (axes,) = pruning.draw_sparsity(drawn).axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [
        pytest.approx([0.8**level] * 2) for level in range(3)
    ]
    assert all(list(line.get_xdata()) == [0, 1] for line in axes.get_lines())
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["hidden.0.weight", "output.weight"] and axes.get_yscale() == "log"


def draw(levels, folder, others=None):
    tables = {options.LEVELS: levels, options.SPARSITY: KEPT} | (others or {})
    return studies.draw_tables("prune", tables, folder)


def test_a_study_has_a_figure_a_model_and_what_its_tables_allow(tmp_path, monkeypatch):
    saved = []

    def save(figure, table, folder, name):
        assert isinstance(figure, Figure) and len(table)
        saved.append(name)
        return [folder / name]

    monkeypatch.setattr(files, "save", save)
    found = draw(study(), tmp_path)
    assert saved == ["accuracy_plain", "accuracy_ema_0.9", "best_step", "sparsity"]
    assert found == [tmp_path / name for name in saved]
    saved.clear()
    draw(study(best=False), tmp_path)
    assert "best_step" not in saved
    saved.clear()
    both = pd.concat([barriers(), barriers(bn="keep", splits=["train"])])
    draw(study(), tmp_path, {options.INSTABILITY: both})
    assert saved[3:] == ["instability", "instability_keep", "sparsity"]
