import logging

import pytest
import torch

from isthmus.data.splits import (
    DataSet,
    Normalization,
    Split,
    describe_data,
    with_classes,
    with_normalization,
)


def data(*class_names, loss="cross_entropy"):
    labels = torch.arange(len(class_names)).repeat(2)
    inputs = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    split = Split(inputs, labels, torch.arange(len(labels)))
    return DataSet(split, None, split, class_names, Normalization((0.5,), (0.25,)), loss=loss)


def test_weights_say_the_classes_and_the_normalization():
    assert describe_data(data("cat", "dog")) == {
        "normalization": {"mean": [0.5], "std": [0.25], "scale": 255.0},
        "classes": ["cat", "dog"],
    }
    assert "classes" not in describe_data(data("value", loss="squared"))


@pytest.mark.parametrize("names", [("ant", "cat", "dog"), ("dog", "ant", "cat"), ("dog",)])
def test_labels_are_places_among_the_classes_of_the_training(names, caplog):
    caplog.set_level(logging.INFO)
    trained = ("ant", "cat", "dog")
    given = data(*names)
    found = with_classes(given, trained)
    assert found.class_names == trained and found.val is None
    for split in (found.train, found.test):
        assert [trained[label] for label in split.labels] == [*names, *names]
        assert split.inputs.equal(given.train.inputs)
    assert ("mapped by name" in caplog.text) == (names != trained)


def test_a_class_that_was_not_trained_on_is_refused():
    with pytest.raises(
        ValueError, match="^dataset: has ant, which is not among .*: cat, dog, fox$"
    ):
        with_classes(data("ant", "cat", "dog"), ("cat", "dog", "fox"))


def test_a_data_set_is_normalized_as_the_training_was():
    given = data("cat", "dog")
    found = with_normalization(given, [0.1], [0.2])
    assert found.normalization == Normalization((0.1,), (0.2,), 255.0)
    assert found.train is given.train
    assert with_normalization(given, [0.5], [0.25]) is given
