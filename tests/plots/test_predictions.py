"""Figures of who was correct, from arrays of which every number is known."""

import numpy as np
import pytest

from isthmus.plots import persistence, predictions
from isthmus.plots.options import Persistence
from isthmus.plots.persistence import Images
from isthmus.plots.runs import Predictions

# Rows are epochs 0 to 4, columns examples.
PLAIN = ["0000", "1100", "1010", "1101", "1111"]
EMA = ["0000", "1100", "1110", "1110", "1111"]
INDICES = np.array([7, 5, 3, 9])


def bits(rows):
    return np.array([[letter == "1" for letter in row] for row in rows])


def one(seed="1", setting="", plain=PLAIN, **others):
    models = {"plain": plain, "ema_0.9": EMA} if not others else {"plain": plain}
    epochs = {model: np.arange(len(rows), dtype=float) for model, rows in models.items()}
    correct = {model: bits(rows) for model, rows in models.items()}
    return Predictions(setting, seed, INDICES, epochs, correct)


def of(drawn, model, measure=None):
    rows = drawn[drawn["model"] == model]
    rows = rows if measure is None else rows[rows["measure"] == measure]
    return rows["value"].tolist()


def naive_unchanged(rows):
    pairs = zip(rows, rows[1:], strict=False)
    return [sum(a == b for a, b in zip(*pair, strict=True)) / 4 for pair in pairs]


@pytest.mark.parametrize(("model", "rows"), [("plain", PLAIN), ("ema_0.9", EMA)])
def test_stability_is_the_fraction_that_did_not_change(model, rows):
    drawn = predictions.stability_table([one()])
    assert of(drawn, model, predictions.STABILITY) == naive_unchanged(rows[1:])
    assert of(drawn, model, predictions.ACCURACY) == [row.count("1") / 4 for row in rows[2:]]
    assert drawn[drawn["model"] == model]["epoch"].tolist() == [2, 3, 4] * 2
    assert of(
        predictions.stability_table([one()], [0, 2]), model, predictions.STABILITY
    ) == naive_unchanged(rows[:3])


def test_mismatch_is_where_one_is_right_and_the_other_is_not():
    assert of(predictions.mismatch_over_time_table([one()]), "ema_0.9") == [0, 0.25, 0.5, 0]
    drawn = predictions.mismatch_table(
        [one()]
    )  # of four epochs the examples differ in 0, 1, 1 and 1
    assert of(drawn, "ema_0.9") == [0.25, 0.75, 0, 0, 0]
    assert drawn["low"].tolist() == pytest.approx([-0.125, 0.125, 0.375, 0.625, 0.875])
    assert drawn["high"].tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875, 1.125])


def test_misclassification_counts_the_wrong():
    assert of(predictions.misclassification_over_time_table([one()]), "plain") == [
        0.5,
        0.5,
        0.25,
        0,
    ]
    drawn = predictions.misclassification_table([one()])  # wrong in 0, 1, 2 and 2 of four epochs
    assert of(drawn, "plain") == [0.25, 0.25, 0.5, 0, 0]
    only = predictions.misclassification_table([one()], [3, 4])
    assert of(only, "plain") == [0.75, 0.25, 0]
    assert only["measure"].iloc[0] == "misclassified (fraction of the epochs 3 to 4)"


def test_seeds_are_averaged():
    both = [one(), one("2", plain=["0000"] * 5)]
    assert of(predictions.misclassification_over_time_table(both), "plain") == [
        0.75,
        0.75,
        0.625,
        0.5,
    ]
    assert (
        of(predictions.mismatch_table(both), "ema_0.9")[-1] == 0.25
    )  # seed 2: in all of them for two of four


def test_bins_are_equally_many_values_wide():
    chance = np.random.default_rng(1).random((60, 500)) < 0.3
    found = predictions.count_values(one(), "plain", "m", chance)
    assert len(found) <= predictions.BINS
    assert found["value"].sum() == pytest.approx(1)
    shares = chance.mean(axis=0)
    for low, high, value in found[["low", "high", "value"]].itertuples(index=False):
        assert value == pytest.approx(((shares > low) & (shares < high)).mean())


def test_histograms_of_other_lengths_are_not_averaged():
    other = one("2", plain=PLAIN[:3], only_plain=True)
    with pytest.raises(ValueError, match=r"^runs of one setting have 2, 4 epochs: draw those .*1,"):
        predictions.misclassification_table([one(), other])
    predictions.misclassification_table([one(), other], [1, 2])


def test_the_least_stable_examples_come_first_and_equal_ones_by_their_index():
    drawn = persistence.persistence_table([one()])
    first = drawn[drawn["model"] == "plain"].drop_duplicates("rank")
    changes = {7: 0, 5: 2, 3: 3, 9: 1}  # from epoch 1 on
    assert first["index"].tolist() == [3, 5, 9, 7]
    assert first["changes"].tolist() == [changes[index] for index in first["index"]]
    bars = drawn[(drawn["model"] == "ema_0.9") & (drawn["index"] == 9)]
    assert bars["correct"].tolist() == [0, 0, 0, 1] and bars["epoch"].tolist() == [1, 2, 3, 4]


# By index 7, 5, 3, 9 from epoch 1 on: changes, errors of plain, and epochs in which one is right.
@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({"sort": "stability"}, [3, 5, 9, 7]),  # 0, 2, 3, 1
        ({"sort": "misclassification"}, [3, 9, 5, 7]),  # 0, 1, 2, 2
        ({"sort": "mismatch"}, [3, 5, 9, 7]),  # 0, 1, 1, 1
        ({"sort": "stability", "num_examples": 2}, [3, 5]),
        ({"examples": [9, 7]}, [9, 7]),
    ],
)
def test_examples_are_shown_by_the_criterion_and_as_many_as_are_wanted(options, indices):
    drawn = persistence.persistence_table([one()], None, Persistence(**options))
    assert list(dict.fromkeys(drawn["index"])) == indices


def test_random_examples_are_the_same_again_and_unknown_ones_are_named():
    options = Persistence(sort="random", num_examples=3)
    chosen = [persistence.choose_examples(one(seed), None, options).tolist() for seed in "12"]
    assert chosen[0] == chosen[1] and len(set(chosen[0])) == 3
    with pytest.raises(ValueError, match=r"persistence.examples=\[3,4\]: 4 is no .* 3, 5, 7, 9$"):
        persistence.choose_examples(one(), None, Persistence(examples=[3, 4]))


def test_a_window_is_a_mean_over_the_epochs_that_end_with_each():
    each = of(predictions.misclassification_over_time_table([one()]), "plain")
    drawn = predictions.misclassification_over_time_table([one()], None, 3)
    rows = drawn[drawn["model"] == "plain"]
    assert rows["epoch"].tolist() == [3, 4]
    assert rows["value"].tolist() == pytest.approx([np.mean(each[:3]), np.mean(each[1:4])])
    for table in (predictions.stability_table, predictions.mismatch_over_time_table):
        whole, wide = table([one()]), table([one()], None, 2)
        first = whole[whole["model"] == "ema_0.9"]["value"].iloc[:2].mean()
        assert wide[wide["model"] == "ema_0.9"]["value"].iloc[0] == pytest.approx(first)
    with pytest.raises(ValueError, match="window=9: model plain has only 4 epochs"):
        predictions.misclassification_over_time_table([one()], None, 9)


def test_a_histogram_has_the_range_of_its_seeds_and_no_bin_at_its_foot_that_is_not_empty():
    plain = ["0000", "1100", "1110", "1101", "1111"]
    drawn = predictions.misclassification_table([one(), one("2", plain=plain), one("3")])
    figure = predictions.draw_histogram(drawn)
    (axes,) = figure.axes
    assert len(axes.collections) == drawn["model"].nunique()
    smallest = drawn["value"][drawn["value"] > 0].min()
    assert axes.get_ylim()[0] <= 0.5 / (4 * 3) < smallest


def test_persistence_shows_the_smallest_seed_of_each_setting():
    several = [one("10"), one("2"), one("3", "b")]
    drawn = persistence.persistence_table(several)
    assert set(zip(drawn["setting"], drawn["seed"], strict=True)) == {("", "2"), ("b", "3")}


def test_the_image_of_an_example_is_found_by_its_index():
    pixels = np.arange(4 * 4).reshape(4, 1, 2, 2) / 16
    images = Images(np.array([9, 7, 5, 3]), pixels, ["nine", "seven", "five", "three"])
    assert images.find(5)[1] == "five"
    assert images.find(5)[0].tolist() == pixels[2].transpose(1, 2, 0).tolist()
    drawn = persistence.persistence_images_table([one()], images)
    plain = drawn[drawn["model"] == "plain"]
    assert plain["label"].tolist() == ["three", "five", "nine", "seven"]
    assert plain["share"].tolist() == [0.5, 0.75, 0.5, 1.0]
    figure = persistence.draw_persistence_images(drawn, images)
    assert [axes.get_title() for axes in figure.axes] == ["three", "five", "nine", "seven"]
    assert np.array_equal(figure.axes[1].images[0].get_array(), images.find(5)[0][..., 0])


def test_epochs_that_are_not_there_are_named():
    message = "^nothing to draw: no epochs from 9 to 12 of model plain; there are 0 to 4$"
    with pytest.raises(ValueError, match=message):
        predictions.stability_table([one()], [9, 12])
    with pytest.raises(ValueError, match="^nothing to draw: stability needs two epochs or more$"):
        predictions.stability_table([one()], [2, 2])
    with pytest.raises(ValueError, match="no epochs after 0 of model plain; there are 0 to 0$"):
        predictions.stability_table([one(plain=PLAIN[:1], only_plain=True)])


def test_without_an_average_there_is_no_mismatch():
    with pytest.raises(ValueError, match="^nothing to draw: no averaged model was tracked in thes"):
        predictions.averaged_models([one(only_plain=True)])
