import io
import math

import pytest
import torch
from torch.optim import lr_scheduler

from isthmus.training.plateau import Plateau

PER_EPOCH = 7
ITERATIONS = 10 * PER_EPOCH


def losses(num=60):
    """A noisy fall that flattens out."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(num, generator=generator, dtype=torch.float64).tolist()
    return [math.exp(-epoch / 5) + 0.05 * noise[epoch] for epoch in range(num)]


OPTIONS = [
    {},
    {"patience": 0},
    {"patience": 3, "cooldown": 4},
    {"patience": 2, "threshold": 0.1, "gamma": 0.5},
    {"patience": 1, "min_factor": 0.03},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_plateau_is_torchs(options):
    names = {"gamma": "factor", "min_factor": "min_lr"}
    theirs = {names.get(name, name): value for name, value in options.items()}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = lr_scheduler.ReduceLROnPlateau(optimizer, eps=0.0, **theirs)
    ours = Plateau(ITERATIONS, PER_EPOCH, **options)
    for loss in [*losses(), float("nan"), *losses()]:
        assert ours.factor(0) == pytest.approx(optimizer.param_groups[0]["lr"])
        reference.step(loss)
        ours.observe(loss)


@pytest.mark.parametrize("stop", [0, 1, 17, 40])
def test_a_resumed_plateau_is_an_uninterrupted_one(stop):
    whole, half, again = (Plateau(ITERATIONS, PER_EPOCH, patience=2, cooldown=2) for _ in range(3))
    for loss in losses()[:stop]:
        whole.observe(loss)
        half.observe(loss)
    file = io.BytesIO()
    torch.save(half.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    for loss in losses()[stop:]:
        whole.observe(loss)
        again.observe(loss)
        assert whole.factor(0) == again.factor(0)
    assert whole.state_dict() == again.state_dict()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"gamma": 1.0}, r"^gamma: must be in \(0, 1\), got 1.0$"),
        ({"patience": -1}, r"^patience: must not be negative, got -1$"),
        ({"cooldown": -1}, r"^cooldown: must not be negative, got -1$"),
        ({"threshold": 1.0}, r"^threshold: must be in \[0, 1\), got 1.0$"),
        ({"min_factor": 1.5}, r"^min_factor: must be in \[0, 1\], got 1.5$"),
    ],
)
def test_a_wrong_value_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        Plateau(ITERATIONS, PER_EPOCH, **options)
