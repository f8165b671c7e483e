import numpy as np
import pytest
import torch

from isthmus.data.splits import DataSet, Split, StreamedSplit
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
