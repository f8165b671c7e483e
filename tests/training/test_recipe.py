import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from isthmus.averaging.ema import EMA
from isthmus.models.resnet import ResNet
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.training import recipe
from isthmus.training.evaluator import Evaluator
from isthmus.training.optimizers import sgd
from isthmus.training.recipe import resolve_device, should_compile
from isthmus.training.session import Session
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


CPU = torch.device("cpu")
STEP = """
import torch
conv = torch.nn.Conv2d({channels}, 8, 1, stride=2).to(memory_format=torch.{layout})
images = torch.randn(8, {channels}, 8, 8).to(memory_format=torch.{layout})
for _ in range(20):
    conv(images).sum().backward()
"""


@pytest.mark.parametrize(
    ("layer", "is_last"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(7, 64, 1, stride=2), False),
        (nn.Conv2d(1, 8, 1, stride=(1, 3)), False),
        (nn.Conv2d(8, 16, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(3, 64, 7, stride=2), True),
        (nn.Conv2d(4, 8, 3, stride=2), True),
        (nn.Conv2d(4, 8, 1, stride=2, groups=2), True),
        (nn.Linear(4, 8), True),
    ],
)
def test_a_strided_1x1_convolution_of_few_channels_is_contiguous_on_a_cpu(layer, is_last):
    model = nn.Sequential(nn.Identity(), nn.Sequential(layer))
    assert recipe.runtime_for(toys.RUNTIME, model, CPU).channels_last == is_last
    assert recipe.runtime_for(toys.RUNTIME, model, torch.device("cuda")).channels_last
    asked = replace(toys.RUNTIME, channels_last=False)
    assert not recipe.runtime_for(asked, model, CPU).channels_last


@pytest.mark.parametrize(
    ("make", "is_last"),
    [
        (lambda *shape: ResNet(*shape, depth=18, stem="cifar", width=4), False),
        (lambda *shape: ResNet(*shape, depth=18, stem="cifar", width=8), True),
        (lambda *shape: ResNetCifar(*shape, depth=8, width=4, shortcut="projection"), False),
        (lambda *shape: ResNetCifar(*shape, depth=8, width=4, shortcut="pad"), True),
        (toys.Small, True),
    ],
)
def test_weights_and_images_of_a_session_have_one_layout(make, is_last):
    session = Session(toys.recipe(model=make), toys.data(), toys.SEEDS, toys.RUNTIME)
    other = Evaluator(session.model, session.data, CPU, toys.RUNTIME)
    (images, _), (evaluated, _), (again, _) = (
        next(iter(batches))
        for batches in (
            session.batches.epoch(0),
            session.evaluator.batches("val"),
            other.batches("val"),
        )
    )
    weights = [p for p in session.model.parameters() if p.dim() == 4 and p.shape[2] > 1]
    for tensor in (images, evaluated, again, *weights):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == is_last
        assert tensor.is_contiguous() != is_last


def ends(channels, layout):
    """How a process ends that trains a strided 1x1 convolution."""
    code = STEP.format(channels=channels, layout=layout)
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode


def test_the_layout_that_is_chosen_does_not_end_a_process():
    assert ends(4, "contiguous_format") == 0
    assert ends(8, "channels_last") == 0


CONFIG = {
    "dataset": {"_target_": "Digits", "cache_dir": "outputs/cache"},
    "model": {"_target_": "isthmus.models.mlp.MLP", "init": "kaiming_normal"},
    "optimizer": {"_target_": "sgd", "lr": 0.1, "momentum": 0.9},
    "scheduler": {"_target_": "Constant"},
    "averaged": None,
    "hparams": {"epochs": 180, "batch_size": 128},
}


def test_a_title_says_what_was_typed_and_what_sweeps_vary_first():
    typed = ["model", "model.width", "dataset", "runtime.device", "optimizer.lr", "averaged"]
    assert recipe.title(CONFIG, ["averaged", *typed]) == "lr0.1-none-MLP-Digits"
    changed = CONFIG | {
        "model": {"_target_": "MLP", "width": [300, 100], "bias": False},
        "averaged": {"_target_": "EMA", "decay": 0.9},
        "hparams": {"epochs": 3},
    }
    typed = ["model.width", "hparams.epochs", "averaged.decay", "scheduler"]  # no room for all
    assert recipe.title(changed, typed) == "Constant-decay0.9-epochs3"
    assert recipe.title(changed, ["experiment", "global_seed"]) == "MLP-Digits"


def test_a_title_can_be_the_name_of_a_folder():
    odd = CONFIG | {"dataset": {"_target_": "Digits", "cutout": "a/b=c, d"}}
    assert recipe.title(odd, ["dataset.cutout"]) == "cutoutabcd"
    wide = CONFIG | {"model": {"_target_": "MLP", "width": list(range(500))}}
    assert len(recipe.title(wide, ["model.width"])) == recipe.LONGEST
    assert recipe.title({}, []) == "none-none"
