import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from isthmus.models.resnet import ResNet
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.training import recipe
from isthmus.training.evaluator import Evaluator
from isthmus.training.session import Session
from tests import toys

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
