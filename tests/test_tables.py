from isthmus import tables

EVALUATION = {
    "plain": {
        "train": {"loss": 0.123456, "accuracy": 1.0},
        "val": {"loss": 12.5, "accuracy": 0.87654},
    },
    "ema_0.999": {
        "train": {"loss": 2.0, "accuracy": 0.0},
        "val": {"loss": float("nan"), "accuracy": 0.1},
    },
}
LINES = """
model      train loss  train accuracy    val loss    val accuracy
plain          0.1235          1.0000     12.5000          0.8765
ema_0.999      2.0000          0.0000         nan          0.1000
"""


def test_an_evaluation_is_a_line_a_model_in_columns_by_split():
    assert tables.evaluation(EVALUATION) == LINES.strip()


def test_the_head_fits_above_a_short_name():
    assert tables.evaluation({"swa": {"test": {"loss": 1.0, "accuracy": 0.5}}}) == (
        "model   test loss   test accuracy\nswa        1.0000          0.5000"
    )


def test_cells_are_padded_to_columns_and_a_column_of_nothing_is_left_out():
    lines = [["a", "empty", "long name"], ["1", "", "2"], ["333", "", "4"]]
    assert tables.align_columns(lines) == ["  a  long name", "  1          2", "333          4"]


def test_a_result_is_its_evaluation_its_length_and_its_folder():
    summary = {
        "iteration": 600,
        "iterations_per_epoch": 400,
        "stopped_early": False,
        "evaluation": EVALUATION,
    }
    table, _, last = tables.result(summary, "outputs/a").rpartition("\n")
    assert table == LINES.strip()
    assert last == "after 600 iterations (1.5 epochs); results in outputs/a"


def test_a_result_says_that_training_stopped_early():
    summary = {
        "iteration": 800,
        "iterations_per_epoch": 400,
        "stopped_early": True,
        "evaluation": EVALUATION,
    }
    text = tables.result(summary, "a")
    assert text.endswith("\nafter 800 iterations (2 epochs, stopped early); results in a")


def test_there_is_no_accuracy_where_labels_are_numbers():
    table = {"plain": {"train": {"loss": 0.5}, "test": {"loss": 0.25}}}
    assert (
        tables.evaluation(table) == "model  train loss   test loss\nplain      0.5000      0.2500"
    )
