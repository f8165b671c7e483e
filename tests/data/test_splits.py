import logging

import numpy as np
import pytest
import torch

from isthmus.data.splits import (
    DataSet,
    Normalization,
    Split,
    StreamedSplit,
    describe_data,
    with_classes,
    with_normalization,
)
from tests.data import made


def test_a_split_refuses_lengths_that_differ():
    with pytest.raises(ValueError, match="2 inputs, 3 labels, 2 indices"):
        Split(torch.zeros(2, 1, 4, 4), torch.zeros(3), torch.zeros(2))


def test_a_split_counts_its_examples_and_knows_their_shape():
    split = made.split(5, channels=1, height=4, width=6)
    assert len(split) == 5 and split.input_shape == (1, 4, 6)
    assert made.features(2, 7).input_shape == (7,)


def test_taking_positions_takes_inputs_labels_and_indices():
    split, positions = made.split(5), torch.tensor([4, 0, 4])
    taken = split.take(positions)
    assert torch.equal(taken.inputs, split.inputs[[4, 0, 4]])
    assert torch.equal(taken.labels, split.labels[[4, 0, 4]])
    assert taken.indices.tolist() == [12, 0, 12]


def test_a_streamed_split_takes_files_labels_indices_and_turns():
    split = StreamedSplit(
        "/images",
        np.array([b"cat/0.png", b"dog/long name.png"]),
        torch.tensor([0, 1]),
        torch.tensor([7, 8]),
        size=16,
        quarter_turns=torch.tensor([3, 2]),
    )
    taken = split.take(torch.tensor([1]))
    assert len(taken) == 1 and taken.path(0) == "/images/dog/long name.png"
    assert taken.labels.tolist() == [1] and taken.indices.tolist() == [8]
    assert taken.quarter_turns.tolist() == [2] and taken.input_shape == (3, 16, 16)


def test_a_data_set_counts_its_classes_and_knows_its_inputs():
    data = made.data_set(made.split(4))
    assert isinstance(data, DataSet) and data.num_classes == 10 and data.input_shape == (3, 8, 8)


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
