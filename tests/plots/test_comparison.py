import numpy as np
import pytest

from isthmus.plots import comparison, runs
from isthmus.plots.options import Compare
from isthmus.plots.runs import TrainingRuns
from tests.plots import made


def study(root, **options):
    made.trainings(root, **options)
    return TrainingRuns(
        [runs.read_training(path.parent) for path in sorted(root.glob("*/*/metrics.csv"))]
    )


def table(found, **asked):
    return comparison.compare_table(found, Compare(**{"x": "optimizer.lr"} | asked))


def accuracy(model, seed, lr, multistep=False):
    return 0.5 + 0.02 * model + 0.01 * seed - lr / 10 + 0.1 * multistep


def test_a_point_is_the_mean_over_seeds_at_one_value(tmp_path):
    found = study(tmp_path, seeds=(1, 4), lrs=(0.5, 0.1, 2.0), schedulers=("constant",))
    drawn = table(found)
    assert drawn["x"].tolist() == [0.1, 0.5, 2.0]
    for row in drawn.itertuples():
        each = [accuracy(0, seed, row.x) for seed in (1, 4)]
        assert row.value == pytest.approx(sum(each) / 2)
        assert (row.lowest, row.highest) == pytest.approx(tuple(each))
        assert (row.curve, row.model, row.seeds) == ("plain", "plain", "1 4")
    (axes,) = comparison.draw_compare(drawn).axes
    assert axes.get_xscale() == "log"  # 20 times as large
    assert axes.get_ylabel() == "test accuracy (fraction)"
    assert axes.get_lines()[0].get_xdata().tolist() == [0.1, 0.5, 2.0]


def test_a_curve_is_a_value_of_the_hue(tmp_path):
    found = study(tmp_path)
    drawn = table(found, hue="scheduler", model="ema_0.9").set_index(["curve", "x"])
    for name in ("constant", "multistep"):
        for lr in (0.1, 0.5):
            each = [accuracy(1, seed, lr, name == "multistep") for seed in (1, 2)]
            assert drawn.loc[name, lr]["value"] == pytest.approx(sum(each) / 2)
    both = table(found, hue=["model", "scheduler"])
    assert set(both["curve"]) == {
        f"{scheduler}, {model}" for scheduler in ("constant", "multistep") for model in made.MODELS
    }


def test_decays_are_those_of_the_averages_in_one_training_or_in_several(tmp_path):
    found = study(tmp_path, lrs=(0.1,), schedulers=("constant",), seeds=(1,))
    drawn = table(found, x="averaged.decay")
    assert drawn["x"].tolist() == [0.9, 0.99]
    assert drawn["value"].tolist() == pytest.approx([accuracy(1, 1, 0.1), accuracy(2, 1, 0.1)])
    (axes,) = comparison.draw_compare(drawn).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.9", "0.99"]


def test_values_that_are_no_numbers_are_marks_in_a_row(tmp_path):
    drawn = table(study(tmp_path), x="scheduler", hue="optimizer.lr")
    assert drawn["x"].tolist() == ["constant", "constant", "multistep", "multistep"]
    (axes,) = comparison.draw_compare(drawn).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["constant", "multistep"]


def test_a_metric_without_a_last_evaluation_is_taken_at_its_last_moment(tmp_path):
    found = study(tmp_path, schedulers=("constant",), seeds=(1,))
    assert table(found, metric="weight_norm")["value"].tolist() == [10.0 + made.NUM_EPOCHS] * 2
    drawn = table(found, metric="accuracy", split="val")
    assert drawn["value"].tolist() == pytest.approx([0.61 - 0.01, 0.61 - 0.05])
    assert comparison.draw_compare(drawn).axes[0].get_ylabel() == "val accuracy (fraction)"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, r"^compare: these runs differ in scheduler too: add compare.hue=\[scheduler\], or na"),
        ({"x": "lr"}, "^compare.x=lr: these runs do not say it; they differ in scheduler, optim"),
        ({"hue": "depth"}, "^compare.hue=depth: these runs do not say it; they differ in sch"),
        (
            {"hue": "scheduler", "metric": "speed"},
            "^nothing to draw: no metric speed, split test, model plain; the runs have metrics "
            "accuracy, weight_norm, weight_distance, loss; splits val, test; "
            "models plain, ema_0.9, ema_0.99$",
        ),
        ({"hue": "scheduler", "model": "swa"}, "^nothing to draw: no metric accuracy, .* swa; "),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_there_is(tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        table(study(tmp_path), **asked)


def study_final_table(root):
    return TrainingRuns(
        [runs.read_training(path.parent) for path in sorted(root.glob("*/*/metrics.csv"))]
    )


def test_cells_are_means_and_deviations_of_seeds(tmp_path):
    made.trainings(tmp_path, seeds=(1, 2, 5), lrs=(0.1,))
    drawn = comparison.final_table(study_final_table(tmp_path), "scheduler").set_index(
        ["row", "model"]
    )
    accuracies = np.array([0.5 + 0.02 + 0.01 * seed - 0.01 for seed in (1, 2, 5)])
    cell = drawn.loc["constant", "ema_0.9"]
    assert cell["value"] == pytest.approx(accuracies.mean())
    assert cell["std"] == pytest.approx(accuracies.std(ddof=1))
    assert cell["seeds"] == "1 2 5"
    assert drawn.loc["multistep", "ema_0.9"]["value"] == pytest.approx(accuracies.mean() + 0.1)


def test_learning_rates_are_rows_by_value_told_apart_by_what_else_differs(tmp_path):
    made.trainings(tmp_path, seeds=(1,), lrs=(0.1, 0.5))
    rows = dict.fromkeys(comparison.final_table(study_final_table(tmp_path), "optimizer.lr")["row"])
    assert list(rows) == [
        "optimizer.lr=0.1, constant",
        "optimizer.lr=0.1, multistep",
        "optimizer.lr=0.5, constant",
        "optimizer.lr=0.5, multistep",
    ]


def test_the_table_for_a_text_has_the_cells_of_the_figure(tmp_path):
    made.trainings(tmp_path, seeds=(1, 2), schedulers=("constant",), lrs=(0.1,))
    drawn = comparison.final_table(study_final_table(tmp_path), "scheduler")
    assert comparison.markdown(drawn) == (
        "| scheduler | plain | ema_0.9 | ema_0.99 |\n"
        "| --- | --- | --- | --- |\n"
        "| constant | 0.5050 ± 0.0071 | 0.5250 ± 0.0071 | 0.5450 ± 0.0071 |\n"
    )
    (axes, _) = comparison.draw_final_table(drawn).axes
    assert [text.get_text() for text in axes.texts] == [f"0.{n}50 ± 0.0071" for n in (50, 52, 54)]


def test_a_single_seed_has_no_deviation():
    assert comparison.final_cell(0.5, float("nan")) == "0.5000"
    assert comparison.final_cell(0.5, 0.01) == "0.5000 ± 0.0100"


def test_what_is_not_there_is_named(tmp_path):
    folder = made.training(tmp_path / "a" / "seed_1")
    with pytest.raises(ValueError, match="^nothing to draw: none of 1 runs says its loss$"):
        comparison.final_table(study_final_table(tmp_path), "loss")
    numbers = made.metrics()
    numbers[numbers["split"] != "test"].to_csv(folder / "metrics.csv", index=False)
    with pytest.raises(ValueError, match="^nothing to draw with metric final_accuracy; the table"):
        comparison.final_table(study_final_table(tmp_path), "scheduler")
