import logging

import pytest
import torch
from torch import nn

from isthmus.store import files
from isthmus.training import weight_files


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 2))


def tied():
    model = network()
    model[3] = nn.Linear(4, 4)
    model[3].weight = model[2].weight
    return model


def load(tmp_path, weights, model=None, **options):
    path = tmp_path / "a.safetensors"
    files.save_weights(path, weights, {"kind": "plain"})
    return weight_files.load(path, network() if model is None else model, **options)


def equal(first, second):
    return list(first) == list(second) and all(t.equal(second[n]) for n, t in first.items())


def test_weights_are_read_as_they_were_saved_in_the_order_of_the_model(tmp_path):
    weights = network().state_dict()
    assert equal(load(tmp_path, dict(reversed(weights.items()))), weights)


def without(*names):
    return {n: t for n, t in network().state_dict().items() if n not in names}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (without("0.weight", "3.bias"), r"has 11 tensors; 2 missing: 0.weight, 3.bias$"),
        (without() | {"4.weight": torch.ones(1)}, r"; 1 unexpected: 4.weight$"),
        (
            without() | {"0.weight": torch.ones(3, 4)},
            r"; 1 of another shape: 0.weight \[3, 4\] instead of \[4, 3\]$",
        ),
        (
            {n: t.to(torch.int8) for n, t in without().items()},
            r"; 10 of another type: 0.weight int8 instead of float32, .* instead of float32$",
        ),
        (without() | {"0.bias": torch.ones(4, dtype=torch.complex64)}, r"0.bias complex64 inst"),
        (
            {f"layer_{n}.{i}": t for i in range(3) for n, t in without().items()},
            r"; 11 missing: (\S+, ){10}\.\.\.; 33 unexpected: (\S+, ){10}\.\.\.$",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_named_at_most_ten_of_each(weights, message, tmp_path):
    with pytest.raises(ValueError, match=rf"a\.safetensors: does not fit the model.*{message}"):
        load(tmp_path, weights)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off_and_told(prefix, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    weights = network().state_dict()
    assert equal(load(tmp_path, {prefix + n: t for n, t in weights.items()}), weights)
    assert f"without their prefix {prefix}" in caplog.text


def test_a_prefix_of_some_names_only_is_not_taken_off(tmp_path):
    weights = without("3.bias") | {"module.3.bias": torch.ones(2)}
    with pytest.raises(ValueError, match=r"1 missing: 3.bias; 1 unexpected: module.3.bias$"):
        load(tmp_path, weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_types_become_those_of_the_model_and_are_told(dtype, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    weights = {n: t.to(dtype) if t.is_floating_point() else t for n, t in without().items()}
    found = load(tmp_path, weights)
    assert equal(found, {n: t.to(found[n].dtype) for n, t in weights.items()})
    assert {t.dtype for t in found.values()} == {torch.float32, torch.int64}
    kind = str(dtype).removeprefix("torch.")
    assert f"10 of 11 tensors are {kind}, taken as float32" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_unless_allowed(value, tmp_path):
    weights = without()
    weights["2.weight"][0, :2] = value
    with pytest.raises(ValueError, match=r"not finite, in 2.weight \(2 of 16\)$"):
        load(tmp_path, weights)
    found = load(tmp_path, weights, allow_nonfinite=True)
    assert found["2.weight"].isfinite().sum() == 14


def test_numbers_too_large_for_float32_are_not_finite(tmp_path):
    weights = without() | {"3.bias": torch.tensor([1e300, 0], dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"not finite, in 3.bias \(1 of 2\)$"):
        load(tmp_path, weights)


def test_tied_tensors_stay_one_under_whichever_name_they_are_in_the_file(tmp_path):
    model = tied()
    weights = model.state_dict()
    for gone in ((), ("2.weight",), ("3.weight",)):
        found = load(tmp_path, {n: t for n, t in weights.items() if n not in gone}, model)
        assert equal(found, weights) and found["2.weight"] is found["3.weight"]


def test_tied_tensors_that_differ_in_the_file_are_refused(tmp_path):
    weights = tied().state_dict() | {"3.weight": torch.ones(4, 4)}
    with pytest.raises(ValueError, match="in which 2.weight and 3.weight are one tensor"):
        load(tmp_path, weights, tied())


def test_a_mask_is_no_weights(tmp_path):
    path = tmp_path / "level_1" / "mask.safetensors"
    files.save_weights(path, {"a": torch.ones(2, dtype=torch.bool)}, {"kind": "mask"})
    for read in (files.load_weights, files.load_metadata):
        with pytest.raises(
            ValueError, match=r"mask.safetensors holds a mask, not weights; .*level_1"
        ):
            read(path)
