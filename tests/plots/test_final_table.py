import numpy as np
import pytest

from isthmus.plots import comparison, runs
from isthmus.plots.runs import TrainingRuns
from tests.plots import made


def study(root):
    return TrainingRuns(
        [runs.read_training(path.parent) for path in sorted(root.glob("*/*/metrics.csv"))]
    )


def test_cells_are_means_and_deviations_of_seeds(tmp_path):
    made.trainings(tmp_path, seeds=(1, 2, 5), lrs=(0.1,))
    drawn = comparison.final_table(study(tmp_path), "scheduler").set_index(["row", "model"])
    accuracies = np.array([0.5 + 0.02 + 0.01 * seed - 0.01 for seed in (1, 2, 5)])
    cell = drawn.loc["constant", "ema_0.9"]
    assert cell["value"] == pytest.approx(accuracies.mean())
    assert cell["std"] == pytest.approx(accuracies.std(ddof=1))
    assert cell["seeds"] == "1 2 5"
    assert drawn.loc["multistep", "ema_0.9"]["value"] == pytest.approx(accuracies.mean() + 0.1)


def test_learning_rates_are_rows_from_the_largest_on_told_apart_by_what_else_differs(tmp_path):
    made.trainings(tmp_path, seeds=(1,), lrs=(0.1, 0.5))
    rows = dict.fromkeys(comparison.final_table(study(tmp_path), "optimizer.lr")["row"])
    assert list(rows) == [
        "optimizer.lr=0.5, constant",
        "optimizer.lr=0.5, multistep",
        "optimizer.lr=0.1, constant",
        "optimizer.lr=0.1, multistep",
    ]


def test_the_table_for_a_text_has_the_cells_of_the_figure(tmp_path):
    made.trainings(tmp_path, seeds=(1, 2), schedulers=("constant",), lrs=(0.1,))
    drawn = comparison.final_table(study(tmp_path), "scheduler")
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
        comparison.final_table(study(tmp_path), "loss")
    numbers = made.metrics()
    numbers[numbers["split"] != "test"].to_csv(folder / "metrics.csv", index=False)
    with pytest.raises(ValueError, match="^nothing to draw with metric final_accuracy; the table"):
        comparison.final_table(study(tmp_path), "scheduler")
