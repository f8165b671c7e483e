import copy
import io

import pytest
import torch
from torch import nn

from isthmus.training import optimizers

SHAPES = [(3, 2, 3, 3), (5,), (), (1, 7)]


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]
    return [nn.Parameter(value) for value in values]


def train(optimizer, tensors, num_steps=7, seed=1):
    """Steps down a quadratic whose centre moves; every gradient is a function of the weights."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(num_steps):
        for tensor in tensors:
            noise = torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            tensor.grad = torch.empty_like(tensor).copy_(tensor.detach() - noise)
        optimizer.step()


def assert_same_training(ours, torchs, **tolerance):
    first, second = parameters(), parameters()
    train(ours(first), first)
    train(torchs(second), second)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_is_torchs(momentum, nesterov):
    assert_same_training(
        lambda p: optimizers.sgd(p, 0.1, momentum, 1e-2, nesterov),
        lambda p: torch.optim.SGD(p, 0.1, momentum, 0, 1e-2, nesterov),
    )


def test_sgd_steps_against_the_gradient_by_the_learning_rate():
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    weight.grad = torch.tensor([10.0, 20.0])
    optimizers.sgd([weight], lr=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.0, -4.0]))


def test_adam_is_torchs():
    assert_same_training(
        lambda p: optimizers.adam(p, 0.01, 0.8, 0.95, 1e-6, 1e-2),
        lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.95), 1e-6, 1e-2),
    )


def test_adamw_is_torchs():
    assert_same_training(
        lambda p: optimizers.adamw(p, 0.01, 0.8, 0.95, 1e-6, 1e-2),
        lambda p: torch.optim.AdamW(p, 0.01, (0.8, 0.95), 1e-6, 1e-2),
    )


def test_lookahead_with_alpha_1_is_sgd():
    assert_same_training(
        lambda p: optimizers.lookahead(p, 0.1, 0.9, 1e-2, period=2, alpha=1.0),
        lambda p: torch.optim.SGD(p, 0.1, 0.9, 0, 1e-2),
    )


@pytest.mark.parametrize(
    "make",
    [optimizers.sgd, optimizers.adam, optimizers.adamw, optimizers.lookahead],
    ids=lambda make: make.__name__,
)
def test_fused_kernels_are_taken(make):
    group = make(parameters(), lr=0.1).param_groups[0]
    assert group["fused"] is True


def test_foreach_is_taken_where_there_is_no_fused_kernel():
    parameter = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    group = optimizers.sgd([parameter], lr=0.1).param_groups[0]
    assert group["foreach"] is True and not group["fused"]


def test_groups_keep_their_own_learning_rates():
    first, second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    groups = [{"params": iter([first]), "lr": 1.0}, {"params": second}]
    optimizer = optimizers.sgd(groups, lr=0.1)
    first.grad = second.grad = torch.ones(2)
    optimizer.step()
    torch.testing.assert_close(first.detach(), torch.tensor([-1.0, -1.0]))
    torch.testing.assert_close(second.detach(), torch.tensor([-0.1, -0.1]))
    assert set(groups[0]) == {"params", "lr"}, "the caller's groups are untouched"


def test_a_generator_of_parameters_is_read_once():
    layer = nn.Linear(2, 1)
    assert len(optimizers.adam(layer.parameters(), lr=0.1).param_groups[0]["params"]) == 2


@pytest.mark.parametrize("make", [optimizers.adam, optimizers.lookahead, optimizers.sgd])
def test_resumed_is_uninterrupted_bit_for_bit(make):
    options = {} if make is optimizers.adam else {"momentum": 0.9}
    whole = parameters()
    optimizer = make(whole, lr=0.1, **options)
    train(optimizer, whole, 4, seed=1)
    train(optimizer, whole, 4, seed=2)

    half = parameters()
    optimizer = make(half, lr=0.1, **options)
    train(optimizer, half, 4, seed=1)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    again = [nn.Parameter(tensor.detach().clone()) for tensor in half]
    optimizer = make(again, lr=0.1, **options)
    optimizer.load_state_dict(torch.load(file, weights_only=True))
    train(optimizer, again, 4, seed=2)
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))


@pytest.mark.parametrize("make", [optimizers.adam, optimizers.lookahead, optimizers.sgd])
def test_state_of_a_contiguous_network_goes_on_in_a_channels_last_one(make):
    options = {} if make is optimizers.adam else {"momentum": 0.9}
    contiguous = parameters()
    optimizer = make(contiguous, lr=0.1, **options)
    train(optimizer, contiguous, 4, seed=1)
    channels_last = [
        nn.Parameter(
            tensor.detach().clone(
                memory_format=torch.channels_last if tensor.dim() == 4 else torch.preserve_format
            )
        )
        for tensor in contiguous
    ]
    other = make(channels_last, lr=0.1, **options)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(optimizer, contiguous, 4, seed=2)
    train(other, channels_last, 4, seed=2)
    for one, other in zip(contiguous, channels_last, strict=True):
        torch.testing.assert_close(one, other, check_stride=False)


@pytest.mark.parametrize(
    "make, options, message",
    [
        (optimizers.sgd, {"lr": -1}, r"^lr: must be positive, got -1$"),
        (optimizers.sgd, {"lr": float("nan")}, r"^lr: must be positive, got nan$"),
        (optimizers.sgd, {"lr": 1, "momentum": 1}, r"^momentum: must be in \[0, 1\), got 1$"),
        (optimizers.sgd, {"lr": 1, "weight_decay": -1}, r"^weight_decay: must not be negative, "),
        (optimizers.sgd, {"lr": 1, "nesterov": True}, r"^nesterov: needs a positive momentum, "),
        (optimizers.adam, {"lr": 0}, r"^lr: must be positive, got 0$"),
        (optimizers.adam, {"lr": 1, "beta1": 1.0}, r"^beta1: must be in \[0, 1\), got 1.0$"),
        (optimizers.adamw, {"lr": 1, "beta2": -0.1}, r"^beta2: must be in \[0, 1\), got -0.1$"),
        (optimizers.adamw, {"lr": 1, "eps": 0.0}, r"^eps: must be positive, got 0.0$"),
        (optimizers.adamw, {"lr": 1, "weight_decay": -1}, r"^weight_decay: must not be negative, "),
        (optimizers.lookahead, {"lr": 1, "momentum": 2}, r"^momentum: must be in \[0, 1\), got 2$"),
        (optimizers.lookahead, {"lr": 1, "period": 0}, r"^period: must be at least 1, got 0$"),
        (optimizers.lookahead, {"lr": 1, "alpha": 1.1}, r"^alpha: must be in \[0, 1\], got 1.1$"),
    ],
)
def test_a_wrong_value_is_refused_by_name(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(parameters(), **options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fused_kernels_are_taken_on_a_gpu():
    parameter = nn.Parameter(torch.ones(2, device="cuda"))
    assert optimizers.adamw([parameter], lr=0.1).param_groups[0]["fused"] is True
