import torch

from isthmus.data.digits import Digits


def test_digits_are_parted_into_training_and_test_set_without_overlap():
    data = Digits(val_fraction=0.0).load(0)
    assert (len(data.train), len(data.test)) == (1437, 360)
    both = torch.cat([data.train.indices, data.test.indices]).sort().values
    assert torch.equal(both, torch.arange(1797))


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits, data = load_digits(), Digits().load(0)
    for split in (data.train, data.val, data.test):
        images = torch.from_numpy(digits.images)[split.indices].unsqueeze(1)
        assert split.inputs.dtype == torch.uint8 and torch.equal(split.inputs.double(), images)
        assert torch.equal(split.labels, torch.from_numpy(digits.target)[split.indices])
    assert data.input_shape == (1, 8, 8) and data.num_classes == 10


def test_every_digit_is_in_the_test_set():
    assert Digits().load(0).test.labels.bincount(minlength=10).min() > 20


def test_normalization_makes_the_training_set_standard():
    data = Digits(val_fraction=0.0).load(0)
    values = data.train.inputs.double() / data.normalization.scale
    assert abs(values.mean() - data.normalization.mean[0]) < 1e-4
    assert abs(values.std() - data.normalization.std[0]) < 1e-4


def test_the_root_of_digits_changes_nothing():
    assert torch.equal(
        Digits(root="/nowhere").load(0).train.inputs, Digits(root=None).load(0).train.inputs
    )


def test_without_a_test_split_the_training_set_of_digits_stays_what_it_is():
    data, without = Digits().load(0), Digits(test=False).load(0)
    assert without.test is None and list(without.splits) == ["train", "val"]
    assert torch.equal(without.train.indices, data.train.indices)
    assert torch.equal(without.val.indices, data.val.indices)
