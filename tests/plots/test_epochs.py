import pytest

from isthmus.plots import epochs, predictions, runs
from isthmus.plots.runs import TrainingRuns
from tests.plots import made


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two settings and two seeds."""
    root = made.trainings(tmp_path_factory.mktemp("runs"), lrs=(0.1,), seeds=(1, 5))
    return TrainingRuns(
        [runs.read_training(path.parent) for path in sorted(root.glob("*/*/metrics.csv"))]
    )


def test_a_point_is_the_mean_of_the_validation_accuracies_of_all_seeds(study):
    drawn = epochs.ema_study_table(study.metrics)
    for row in drawn.itertuples():
        place, shift = made.MODELS.index(row.model), 0.1 * (row.setting == "multistep") - 0.01
        each = [0.1 * row.epoch + 0.02 * place + 0.01 * seed + shift for seed in (1, 5)]
        assert row.value == pytest.approx(sum(each) / 2)
        assert (row.lowest, row.highest) == pytest.approx(tuple(each))
    assert len(drawn) == 2 * len(made.MODELS) * (made.NUM_EPOCHS + 1)


def test_a_panel_is_a_setting_a_curve_a_model_and_a_band_the_range_of_seeds(study):
    drawn = epochs.ema_study_table(study.metrics)
    figure = epochs.draw_ema_study(drawn)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["constant", "multistep"]
    for setting, axes in zip(("constant", "multistep"), figure.axes, strict=True):
        assert [line.get_label() for line in axes.get_lines()] == list(made.MODELS)
        assert len(axes.collections) == len(made.MODELS)
        here = drawn[(drawn["setting"] == setting) & (drawn["model"] == "ema_0.99")]
        assert axes.get_lines()[2].get_ydata().tolist() == here["value"].tolist()
    assert figure.legends[0].get_title().get_text() == "mean and range of 2 seeds"
    low, high = figure.axes[0].get_ylim()
    late = drawn[drawn["epoch"] >= 1.5]
    assert drawn["value"].min() < low < late["lowest"].min() < drawn["highest"].max() < high


def test_a_single_seed_has_no_band(study):
    one = epochs.weight_difference_table(study.metrics[study.metrics["seed"] == "5"])
    figure = epochs.draw_epochs(one)
    assert not figure.axes[0].collections
    assert figure.legends[0].get_title().get_text() == "one seed"
    assert set(one["model"]) == {"ema_0.9", "ema_0.99"}  # which alone are averages
    last = one[(one["epoch"] == made.NUM_EPOCHS) & (one["model"] == "ema_0.99")]
    assert last["value"].tolist() == [2.0 * made.NUM_EPOCHS] * 2


def test_a_row_is_a_measure(study):
    figure = epochs.draw_epochs(predictions.stability_table(study.predictions))
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == [predictions.STABILITY, "", predictions.ACCURACY, ""]


def test_what_was_not_measured_is_named_with_what_was(study):
    numbers = study.metrics
    without = numbers.assign(split=numbers["split"].replace("val", "train"))
    with pytest.raises(ValueError, match="^nothing to draw with split val; the table has train$"):
        epochs.ema_study_table(without)
    with pytest.raises(ValueError, match="^nothing to draw with metric weight_distance; the tab"):
        epochs.weight_difference_table(numbers[numbers["model"] == "plain"])
