import numpy as np
import pandas as pd
import pytest

from isthmus.plots import runs, widths
from tests.plots.wide_tables import job, metrics, ranks


def test_slopes_are_those_of_powers():
    drawn = widths.coordinates_table(metrics())
    found = widths.slope_summary(drawn)
    assert len(found) == 2 * 2 * 3  # parametrizations, depths; outputs, and two changes
    first = found[found["metric"] == "output"]
    assert first["slope"].tolist() == pytest.approx([-0.5] * 4)
    assert first["theory"].tolist() == [-0.5] * 4
    later = found[found["metric"] == "output_change"]
    assert later["slope"].tolist() == pytest.approx([0.0] * 8, abs=1e-9)
    assert later[later["step"] == 1]["theory"].tolist() == [0.0] * 4
    assert later[later["step"] == 2]["theory"].isna().all()  # of which theory says nothing


def test_slopes_are_fitted_to_all_seeds():
    table = metrics(names=("mup",), depths=(2,))
    noise = np.exp(np.random.default_rng(0).normal(size=len(table)))
    table["value"] *= np.where(table["metric"] == "output", noise, 1)
    drawn = widths.coordinates_table(table)
    points = drawn[drawn["metric"] == "output"]
    expected = np.polyfit(np.log(points["width"]), np.log(points["value"]), 1)[0]
    assert points["slope"].iloc[0] == pytest.approx(expected)


def test_the_figure_has_a_panel_for_each_depth_and_step_with_slopes_in_its_legends():
    figure = widths.draw_coordinates(widths.coordinates_table(metrics()))
    assert len(figure.axes) == 2 * 3
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["2 hidden layers, 0it", "3 hidden layers, 0it"]
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words == ["mup -0.50 (-0.5)", "ntk -0.50 (-0.5)"]
    assert figure.axes[0].get_ylabel() == "mean |f|"
    assert figure.axes[2].get_ylabel() == "mean |f - f0|"


def test_one_width_has_no_slope():
    with pytest.raises(ValueError, match="slopes need outputs of networks of several widths"):
        widths.coordinates_table(metrics(widths=(16,)))


TABLE = pd.DataFrame(
    [
        {"parametrization": name, "seed": seed, "x": x, "target": x**2, "value": seed * x}
        for name in ("ntk", "mup")
        for seed in (2, 1)
        for x in (-1.0, 0.0, 1.0)
    ]
)


def test_there_is_a_panel_for_each_parametrization_with_a_line_for_each_seed():
    figure = widths.draw_function_fits(widths.function_fits_table(TABLE))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mup", "ntk"]
    target, first, second = figure.axes[0].get_lines()
    assert list(target.get_ydata()) == [1, 0, 1]
    assert list(first.get_ydata()) == [-1, 0, 1] and list(second.get_ydata()) == [-2, 0, 2]
    other = figure.axes[1].get_lines()[1]
    assert first.get_color() == other.get_color() and first.get_label() == other.get_label()


def test_another_table_is_refused():
    with pytest.raises(ValueError, match="the table has no column seed"):
        widths.function_fits_table(TABLE.drop(columns="seed"))


def test_a_point_is_the_mean_of_seeds():
    drawn = widths.layer_ranks_table(ranks(), "frobenius")
    assert len(drawn) == 3 * 2 * 2 * 3  # kinds, parametrizations, steps, layers
    one = drawn[(drawn["kind"] == "weight") & (drawn["layer"] == "hidden.1")]
    assert one["value"].tolist() == [2.5] * 4
    assert widths.layer_ranks_table(ranks())["value"].min() == 11.5


def test_the_figure_has_a_panel_for_each_kind_and_layers_in_order():
    figure = widths.draw_layer_ranks(widths.layer_ranks_table(ranks()))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["weight", "change", "activation"]
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["hidden.0", "hidden.1", "output"]
    labels = {line.get_label() for line in figure.axes[0].get_lines()}
    assert labels == {"mup step 0", "mup step 10", "ipllr step 0", "ipllr step 10"}
    assert figure.axes[0].get_ylabel() == "squared-trace rank"


def test_what_was_not_measured_has_no_panel():
    assert (
        len(widths.draw_layer_ranks(widths.layer_ranks_table(ranks(kinds=("weight",)))).axes) == 1
    )


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="rank: must be trace, frobenius, got nuclear"):
        widths.layer_ranks_table(ranks(), "nuclear")
    with pytest.raises(ValueError, match="no diagnostics.ranks were measured"):
        widths.layer_ranks_table(ranks().assign(metric="output"))


LRS = [0.1, 0.2, 0.4, 0.8]


def results(seeds=(1, 2)):
    """The best rate is .2 at every width under mup, and falls under standard; .8 diverges there."""
    rows = []
    for name in ("standard", "mup"):
        for width in (64, 256):
            best = 1 if name == "mup" else {64: 2, 256: 0}[width]
            for place, lr in enumerate(LRS):
                for seed in seeds:
                    gone = name == "standard" and lr == 0.8 and seed == 1
                    rows.append(
                        {
                            "parametrization": name,
                            "width": width,
                            "lr": lr,
                            "seed": seed,
                            "status": "diverged" if gone else "done",
                            "train_loss": None if gone else 1 + (place - best) ** 2 + 0.1 * seed,
                        }
                    )
    return pd.DataFrame(rows)


def test_the_best_rate_of_each_width_is_marked():
    drawn = widths.lr_transfer_table(results())
    best = drawn[drawn["is_best"]].set_index(["parametrization", "width"])["lr"].to_dict()
    assert best == {
        ("mup", 64): 0.2,
        ("mup", 256): 0.2,
        ("standard", 64): 0.4,
        ("standard", 256): 0.1,
    }
    assert widths.shifts(drawn).to_dict() == pytest.approx({"mup": 0, "standard": 2})


def test_a_point_is_the_mean_of_its_seeds_and_empty_if_one_diverged():
    drawn = widths.lr_transfer_table(results()).set_index(["parametrization", "width", "lr"])
    assert drawn.loc[("mup", 64, 0.2), "value"] == pytest.approx(1.15)
    gone = drawn.loc[("standard", 64, 0.8)]
    assert pd.isna(gone["value"]) and gone["num_diverged"] == 1 and gone["num_seeds"] == 2


def test_what_failed_is_left_out():
    table = results()
    table.loc[table["lr"] == 0.1, "status"] = "failed"
    assert 0.1 not in set(widths.lr_transfer_table(table)["lr"])


def test_the_figure_has_a_star_at_the_best_and_a_cross_where_a_training_diverged():
    figure = widths.draw_lr_transfer(widths.lr_transfer_table(results()))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mup", "standard"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["width 64", "width 256"]
    mup, standard = figure.axes
    stars = [line for line in mup.get_lines() if line.get_marker() == "*"]
    assert [list(star.get_xdata()) for star in stars] == [[0.2], [0.2]]
    crosses = [line for line in standard.get_lines() if line.get_marker() == "x"]
    assert [list(cross.get_xdata()) for cross in crosses] == [[0.8], [0.8]]


def test_nothing_is_drawn_if_all_have_diverged():
    with pytest.raises(ValueError, match="nothing to draw: no train_loss of any training"):
        widths.lr_transfer_table(results().assign(status="diverged", train_loss=None))


def test_a_point_is_the_mean_and_the_range_of_seeds():
    drawn = widths.wide_curves_table(metrics(widths=(16,), depths=(2,)).assign(activation="relu"))
    start = drawn[(drawn["metric"] == "output") & (drawn["step"] == 0)].iloc[0]
    assert start["value"] == pytest.approx(0.375)  # of 1/4 and 2/4
    assert (start["lowest"], start["highest"], start["num_seeds"]) == (0.25, 0.5, 2)


def test_the_figure_has_a_column_for_each_activation():
    table = metrics(widths=(16,), depths=(2,))
    both = [table.assign(activation=name) for name in ("relu", "tanh")]
    figure = widths.draw_wide_curves(widths.wide_curves_table(pd.concat(both)))
    assert len(figure.axes) == 4
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["relu", "tanh"]
    assert figure.axes[0].get_ylabel() == "train loss (nats)"
    assert {line.get_label() for line in figure.axes[3].get_lines()} == {"mup", "ntk"}


def test_activations_need_not_be_told_apart():
    assert len(widths.draw_wide_curves(widths.wide_curves_table(metrics(widths=(16,)))).axes) == 2


def test_a_table_without_diagnostics_is_refused():
    table = metrics().assign(metric="accuracy")
    with pytest.raises(ValueError, match="no diagnostics.steps were measured"):
        widths.wide_curves_table(table)


SUFFIXES = ("csv", "pdf", "png")


def jobs_of(folder, table, **more):
    """A job for each network of a table."""
    keys = [key for key in ("parametrization", "depth", "width", "seed") if key in table]
    options = {"depth": "model.depth", "width": "model.width", "seed": "global_seed"}
    jobs = []
    for num, (values, part) in enumerate(table.groupby(keys)):
        pairs = zip(keys, values, strict=True)
        overrides = [f"{options.get(key, key)}={value}" for key, value in pairs]
        jobs.append(job(folder, num, overrides, part.drop(columns=keys), 1.0 + num, **more))
    return jobs


def written(folder, *names):
    return all((folder / f"{name}.{suffix}").exists() for name in names for suffix in SUFFIXES)


def test_a_coordinate_check_ends_in_a_table_and_its_figure(tmp_path, caplog):
    caplog.set_level("INFO")
    widths.write_coordinate_check(jobs_of(tmp_path, metrics()), tmp_path / "sweep")
    assert written(tmp_path / "sweep", "coordinate_check")
    assert "slope" in caplog.text and "coordinate_check.png" in caplog.text


def test_lr_transfer_ends_in_a_table_and_its_figure(tmp_path, caplog):
    caplog.set_level("INFO")
    jobs = [
        job(
            tmp_path,
            num,
            [f"parametrization={name}", f"model.width={width}", f"optimizer.lr={lr}"],
            loss=None if lr == 4.0 and name == "standard" else abs(lr - 1) + 1,
        )
        for num, (name, width, lr) in enumerate(
            (name, width, lr)
            for name in ("mup", "standard")
            for width in (8, 16)
            for lr in (0.5, 1.0, 4.0)
        )
    ]
    widths.write_lr_transfer(jobs, tmp_path / "sweep")
    assert written(tmp_path / "sweep", "lr_transfer")
    assert "diverged" in caplog.text
    assert "mup: the best learning rates differ by a factor of 1" in caplog.text


def test_fits_end_in_a_table_and_their_figure(tmp_path):
    table = pd.DataFrame(
        [
            {"parametrization": "mup", "seed": s, "x": x, "target": x, "value": 0.0}
            for s in (1, 2)
            for x in (0.0, 1.0)
        ]
    )
    widths.write_function_fits(jobs_of(tmp_path, table, name="function.csv"), tmp_path / "sweep")
    assert written(tmp_path / "sweep", "function_fits")


def test_trainings_end_in_accuracies_and_figures_of_what_was_measured(tmp_path, caplog):
    caplog.set_level("INFO")
    table = pd.concat([metrics(widths=(16,), depths=(2,)), ranks()], ignore_index=True)
    jobs = jobs_of(tmp_path, table[["parametrization", "seed", "step", "metric", "value"]])
    jobs.append(job(tmp_path, 99, ["parametrization=mup", "global_seed=9"]))
    widths.write_wide_curves(jobs, tmp_path / "sweep")
    assert written(tmp_path / "sweep", "wide_curves", "ranks_trace", "ranks_frobenius")
    assert len(pd.read_csv(tmp_path / "sweep" / "results.csv")) == len(jobs)
    (text,) = [message for message in caplog.messages if "test_accuracy" in message]
    row = next(line.split() for line in text.splitlines() if line.split()[0] == "mup")
    assert row[-2:] == ["3", "1"] and row[1] == "0.5"  # seeds, diverged; of the others


def test_trainings_that_have_all_diverged_are_told_of_without_a_figure(tmp_path):
    jobs = [job(tmp_path, n, ["parametrization=ipllr", f"global_seed={n}"]) for n in (1, 2)]
    (tmp_path / "sweep").mkdir()
    widths.write_wide_curves(jobs, tmp_path / "sweep")
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["results.csv"]
    (row,) = widths.mean_accuracies(runs.job_results(jobs)).to_dict("records")
    assert row == {"parametrization": "ipllr", "seeds": 2, "diverged": 2}
