import sys
import types

import numpy as np
import pytest
import torch

from isthmus.extraction import input_masks

INPUTS = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
LABELS = (INPUTS[:, 1] > 0).long()


def test_inputs_that_hardly_vary_are_left_out():
    inputs = INPUTS * torch.tensor([1.0, 0.0, 0.05, 0.2])
    assert input_masks.variance_mask(inputs).tolist() == [True, False, False, True]


def test_inputs_that_tell_classes_apart_are_found_and_kept_in_a_file(tmp_path, monkeypatch):
    class Selector:
        def __init__(self, forest, **values):
            assert forest.max_depth == 5 and values["max_iter"] == 100

        def fit(self, inputs, labels):
            means = [abs(inputs[labels == k].mean(axis=0)) for k in (0, 1)]
            self.support_ = np.minimum(*means) > 0.5

    module = types.ModuleType("boruta")
    module.BorutaPy = Selector
    monkeypatch.setitem(sys.modules, "boruta", module)
    cache, labels = tmp_path / "cache", LABELS.clone()
    labels[:50] = -1  # these have no class
    assert input_masks.boruta_mask(INPUTS, labels, cache).tolist() == [False, True, False, False]
    monkeypatch.setitem(sys.modules, "boruta", None)
    assert input_masks.boruta_mask(INPUTS, labels, cache).tolist() == [False, True, False, False]
    with pytest.raises(ValueError, match="^extraction.mask=boruta: needs the package boruta, pip"):
        input_masks.boruta_mask(INPUTS, labels, tmp_path / "other")
    for changed in ((INPUTS[:150], labels[:150]), (INPUTS + 1, labels), (INPUTS, 1 - LABELS)):
        with pytest.raises(ValueError, match="needs the package boruta"):  # not that of the others
            input_masks.boruta_mask(*changed, cache)


@pytest.mark.parametrize("labels", [None, torch.full((200,), -1)])
def test_without_classes_there_is_nothing_to_tell_apart(labels, tmp_path):
    with pytest.raises(ValueError, match="^extraction.mask=boruta: needs inputs with classes"):
        input_masks.boruta_mask(INPUTS, labels, tmp_path)


def test_the_package_finds_the_input_that_says_the_class(tmp_path):
    pytest.importorskip("boruta")
    assert input_masks.boruta_mask(INPUTS, LABELS, tmp_path)[1]


@pytest.mark.parametrize("seed", range(5))
def test_inputs_kept_by_variance_are_those_of_a_loop_over_columns(seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(60, 12, generator=generator)
    inputs = inputs * 10 ** torch.empty(12).uniform_(-2, 0, generator=generator)
    deviations = [np.std(column, ddof=1) for column in inputs.double().numpy().T]
    expected = [each >= max(deviations) / 10 for each in deviations]
    mask = input_masks.variance_mask(inputs)
    assert mask.tolist() == expected and 0 < sum(expected) < 12
    order = torch.randperm(12, generator=generator)
    moved = 30 * inputs[:, order] + torch.arange(12)  # other order, unit and origin
    assert input_masks.variance_mask(moved).equal(mask[order])
