import pytest
import torch
from torch import nn

from isthmus.averaging.ema import EMA
from isthmus.training.optimizers import sgd
from isthmus.training.recipe import resolve_device, should_compile
from tests import toys

CONVOLUTION, LINEAR = nn.Sequential(nn.Conv2d(1, 1, 1)), nn.Sequential(nn.Linear(1, 1))


def test_the_length_is_epochs_unless_steps_are_given():
    assert toys.recipe(epochs=2).length(352) == 704
    assert toys.recipe(epochs=2, steps="1ep10it").length(352) == 362


@pytest.mark.parametrize(
    ("request_", "model", "iterations", "expected"),
    [
        ("auto", CONVOLUTION, 1001, True),
        ("auto", CONVOLUTION, 1000, False),
        ("auto", LINEAR, 10**6, False),
        (True, LINEAR, 1, True),
        (False, CONVOLUTION, 10**6, False),
    ],
)
def test_compiling_is_left_out_where_it_does_not_pay(request_, model, iterations, expected):
    assert should_compile(request_, model, iterations) is expected


def test_auto_takes_a_gpu_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(ValueError, match=f"runtime.device={name}: this machine has none"):
        resolve_device(name)


def test_parts_that_need_no_data_are_checked_without_it():
    toys.recipe().check()
    toys.recipe(averages=None).check()
    with pytest.raises(ValueError, match="lr: must be positive, got -1"):
        toys.recipe(optimizer=lambda parameters: sgd(parameters, lr=-1)).check()
    with pytest.raises(ValueError, match=r"decay: must be in \[0, 1\), got 1.5"):
        toys.recipe(averages=lambda: EMA(1.5)).check()


def test_a_parametrization_is_checked_without_data_and_needs_an_optimizer_that_it_knows():
    def broken():
        raise ValueError("std: must be positive, got 0")

    with pytest.raises(ValueError, match="std: must be positive"):
        toys.recipe(parametrization=broken).check()
    with pytest.raises(ValueError, match="for SGD and Adam, and optimizer is Rprop"):
        toys.recipe(parametrization=lambda: None, optimizer=torch.optim.Rprop).check()
