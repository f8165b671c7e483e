import copy
import io

import pytest
import torch
from torch import nn

from isthmus.averaging.ema import EMA


class Net(nn.Module):
    """Large and small tensors, frozen and tied ones, statistics, a counter and an odd size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.wide = nn.Linear(5, 1001)
        self.out = nn.Linear(1001, 3)
        self.out.bias.requires_grad_(False)
        self.tied = self.conv
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, inputs):
        hidden = self.norm(self.conv(inputs)).mean(dim=(2, 3))
        return self.out(self.wide(hidden) * self.scale)


def net(dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().to(dtype)


def step(model, optimizer, iteration):
    generator = torch.Generator().manual_seed(iteration)
    inputs = torch.randn((4, 3, 6, 6), generator=generator).to(model.wide.weight.dtype)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()


def train(model, average, first=1, last=6, lr=0.05):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    for iteration in range(first, last + 1):
        step(model, optimizer, iteration)
        average.update(iteration)


def started(average, model):
    average.start(model, iterations=100, iterations_per_epoch=10)
    return average


def naive(decay, num=6):
    """The definition in float64, of every tensor."""
    model = net()
    average = {n: t.double() for n, t in copy.deepcopy(model.state_dict()).items()}

    class Loop:
        def update(self, iteration):
            for name, tensor in model.state_dict().items():
                average[name] = decay * average[name] + (1 - decay) * tensor.double()

    train(model, Loop(), last=num)
    return model, average


def assert_same(first, second):
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.9995])
def test_it_is_the_naive_loop_over_every_tensor(decay):
    model = net()
    average = started(EMA(decay), model)
    train(model, average)
    _, expected = naive(decay)
    [(name, got)] = average.state_dicts().items()
    assert name == f"ema_{decay}"
    assert list(got) == list(model.state_dict())
    for key, tensor in got.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[key], rtol=1e-5, atol=1e-6)
    assert got["norm.num_batches_tracked"].item() == 6


def test_a_bank_is_each_decay_alone_bit_for_bit():
    decays = [0.9, 0.99, 0.5, 0.9997]
    model = net()
    bank = started(EMA(decays), model)
    train(model, bank)
    for decay in decays:
        model = net()
        alone = started(EMA(decay), model)
        train(model, alone)
        assert_same(bank.state_dicts()[f"ema_{decay}"], alone.state_dicts()[f"ema_{decay}"])


def test_decay_0_is_the_last_weights_and_1_step_from_equal_weights_changes_nothing():
    model = net()
    average = started(EMA([0.0, 0.999]), model)
    average.update(1)
    assert_same(average.state_dicts()["ema_0.999"], model.state_dict())
    train(model, average)
    assert_same(average.state_dicts()["ema_0.0"], model.state_dict())


def test_it_begins_from_the_weights_at_start_not_at_construction():
    average, model = EMA(0.9), net()
    with torch.no_grad():
        model.wide.weight.fill_(5)
    started(average, model)
    assert (average.state_dicts()["ema_0.9"]["wide.weight"] == 5).all()


def test_it_follows_weights_that_are_loaded_in_place():
    model = net()
    average = started(EMA(0.0), model)
    other = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    model.load_state_dict(other)
    average.update(1)
    assert_same(average.state_dicts()["ema_0.0"], other)


@pytest.mark.parametrize(
    "replace",
    [
        lambda model: model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True),
        lambda model: model.double(),
        lambda model: model.to(memory_format=torch.channels_last),
    ],
    ids=["assign", "double", "channels_last"],
)
def test_weights_that_were_replaced_are_refused(replace):
    model = net()
    average = started(EMA(0.9), model)
    replace(model)
    with pytest.raises(RuntimeError, match=r"was moved or replaced after start\(\)"):
        average.state_dicts()
    average.start(model, 100, 10)
    assert_same(average.state_dicts()["ema_0.9"], model.state_dict())


def test_what_is_returned_is_out_of_reach_of_further_training():
    model = net()
    average = started(EMA(0.5), model)
    train(model, average)
    got, saved = average.state_dicts()["ema_0.5"], average.state_dict()
    before, saved_before = copy.deepcopy(got), copy.deepcopy(saved["ema_0.5"])
    train(model, average, 7, 9)
    assert_same(got, before)
    assert_same(saved["ema_0.5"], saved_before)
    assert not any(tensor.requires_grad for tensor in got.values())


def test_training_is_not_changed_by_it():
    plain, _ = naive(0.9)
    model = net()
    train(model, started(EMA([0.9, 0.99]), model))
    assert_same(model.state_dict(), plain.state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stop", [1, 4])
def test_resumed_is_uninterrupted_bit_for_bit(dtype, stop):
    whole = net(dtype)
    expected = started(EMA([0.9, 0.99]), whole)
    train(whole, expected)

    half = net(dtype)
    average = started(EMA([0.9, 0.99]), half)
    train(half, average, 1, stop)
    file = io.BytesIO()
    torch.save({"model": half.state_dict(), "average": average.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = net(dtype)
    average = started(EMA([0.9, 0.99]), again)
    again.load_state_dict(saved["model"])
    average.load_state_dict(saved["average"])
    train(again, average, stop + 1, 6)
    for name, state_dict in expected.state_dicts().items():
        assert_same(average.state_dicts()[name], state_dict)
    for name, state_dict in expected.state_dict().items():
        assert_same(average.state_dict()[name], state_dict)


def test_a_bfloat16_model_is_averaged_in_float32():
    model = net(torch.bfloat16)
    average = started(EMA(0.999), model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    average.start(model, 100, 10)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
    for iteration in range(1, 101):
        average.update(iteration)
    expected = 2 - 0.999**100  # in bfloat16 it would stay at 1
    held = average.state_dict()["ema_0.999"]
    assert {tensor.dtype for tensor in held.values()} == {torch.float32}
    for name in ("conv.weight", "wide.weight"):  # a small and a large tensor
        torch.testing.assert_close(held[name], torch.full_like(held[name], expected))
    got = average.state_dicts()["ema_0.999"]
    assert got["wide.weight"].dtype == torch.bfloat16
    assert got["wide.weight"][0, 0] == torch.tensor(expected).bfloat16()


def test_channels_last_gives_the_same_numbers_in_that_format():
    model, last = net(), net().to(memory_format=torch.channels_last)
    averages = [started(EMA(0.5), model), started(EMA(0.5), last)]
    for one, average in zip((model, last), averages, strict=True):
        with torch.no_grad():
            one.conv.weight.copy_(torch.arange(135.0).view(5, 3, 3, 3))
        average.update(1)
    first, second = (average.state_dicts()["ema_0.5"] for average in averages)
    assert_same(first, second)
    assert second["conv.weight"].stride() == last.conv.weight.stride()


@pytest.mark.parametrize("model", [nn.Linear(1, 1), nn.Linear(100, 100, bias=False)])
def test_a_model_of_only_small_or_only_large_tensors(model):
    average = started(EMA(0.5), model)
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model.weight.add_(1)
    average.update(1)
    got = average.state_dicts()["ema_0.5"]["weight"]
    torch.testing.assert_close(got, before["weight"] + 0.5)


def test_names_come_from_the_number_however_it_is_written():
    model = nn.Linear(1, 1)
    average = started(EMA([0, 0.5, 0.99950, 1e-5]), model)
    assert list(average.state_dicts()) == ["ema_0.0", "ema_0.5", "ema_0.9995", "ema_1e-05"]


def test_bn_is_what_was_asked_for():
    assert EMA().bn == "average"
    assert EMA(bn="reset").bn == "reset"


@pytest.mark.parametrize(
    "decay, message",
    [
        (1.5, r"^decay: must be in \[0, 1\), got 1.5$"),
        (1, r"^decay: must be in \[0, 1\), got 1$"),
        ([0.9, -0.1], r"^decay: must be in \[0, 1\), got -0.1$"),
        ([], r"^decay: must hold at least one value, got \[\]$"),
        ([0.9, 0.5, 0.9], r"^decay: must not repeat a value, got \[0.9, 0.5, 0.9\]$"),
    ],
)
def test_a_wrong_decay_is_refused(decay, message):
    with pytest.raises(ValueError, match=message):
        EMA(decay)


def test_an_unknown_bn_is_refused():
    with pytest.raises(ValueError, match="^bn: must be average or reset, got keep$"):
        EMA(bn="keep")


def test_a_state_of_other_decays_is_refused():
    model = nn.Linear(1, 1)
    state = started(EMA([0.9, 0.5]), model).state_dict()
    with pytest.raises(ValueError, match="^decay: .* holds ema_0.9, ema_0.5; .* keeps ema_0.99$"):
        started(EMA(0.99), model).load_state_dict(state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_update_does_not_wait_for_a_gpu():
    model = net().cuda()
    average = started(EMA([0.9, 0.99]), model)
    torch.cuda.set_sync_debug_mode("error")
    try:
        average.update(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
