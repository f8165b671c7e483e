import copy

import pytest
import torch
from torch import nn

from isthmus.training import batch_norm


class Net(nn.Module):
    """Two branches, dropout, and batch norm over images and over features."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, momentum=0.3), nn.ReLU())
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))

    def forward(self, inputs):
        hidden = self.stem(inputs)
        hidden = hidden + self.branch(hidden)
        return self.head(self.dropout(hidden.mean(dim=(2, 3))))


def net(seed=0, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net().to(dtype)


def images(num=23, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    values = 1 + 2 * torch.randn((num, 3, 8, 8), generator=generator, dtype=torch.float64)
    return values.to(dtype)


def one_batch(model, state_dict, inputs):
    """Torch's own statistics: one batch in training mode with momentum 1, without dropout."""
    model = copy.deepcopy(model)
    model.load_state_dict(state_dict)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = 1.0
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        model(inputs)
    return model.state_dict()


def assert_equal_state(first, second):
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor, second[name]), name


def assert_close_state(first, second, tolerance=1e-10):
    assert list(first) == list(second)
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("chunk_size", [1, 7, 22, 23, 1000])
def test_it_is_one_batch_of_torch_whatever_the_chunks(chunk_size):
    model = net()
    got = batch_norm.reset_statistics(model, model.state_dict(), images(), chunk_size)
    assert_close_state(got, one_batch(model, model.state_dict(), images()))


@pytest.mark.parametrize("chunk_size", [4, 1000])
def test_it_does_not_depend_on_the_order_of_the_examples(chunk_size):
    model = net()
    order = torch.randperm(23, generator=torch.Generator().manual_seed(2))
    first = batch_norm.reset_statistics(model, model.state_dict(), images(), chunk_size)
    second = batch_norm.reset_statistics(model, model.state_dict(), images()[order], chunk_size)
    assert_close_state(first, second)


def test_it_does_not_depend_on_the_statistics_before():
    model = net()
    stale = {
        name: torch.full_like(tensor, 9) if "running" in name or "num_batches" in name else tensor
        for name, tensor in model.state_dict().items()
    }
    first = batch_norm.reset_statistics(model, model.state_dict(), images())
    second = batch_norm.reset_statistics(model, stale, images())
    assert_equal_state(first, second)


def test_resetting_twice_changes_nothing():
    model = net()
    once = batch_norm.reset_statistics(model, model.state_dict(), images())
    assert_equal_state(batch_norm.reset_statistics(model, once, images()), once)


def test_a_network_interpolated_with_itself_gives_the_outputs_of_the_network():
    model, inputs = net(), images()
    state = model.state_dict()
    middle = {
        name: tensor.lerp(tensor, 0.5) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    outputs = []
    for weights in (state, middle):
        model.load_state_dict(batch_norm.reset_statistics(model, weights, inputs))
        outputs.append(model.eval()(inputs))
    assert torch.equal(*outputs)


def test_after_it_the_first_layer_gives_standard_values():
    model, inputs = net(), images()
    model.load_state_dict(batch_norm.reset_statistics(model, model.state_dict(), inputs))
    with torch.no_grad():
        model.stem[1].weight.fill_(1)
        model.stem[1].bias.zero_()
        values = model.eval().stem[:2](inputs).transpose(0, 1).flatten(1)  # (channels, values)
    zeros, ones = torch.zeros(6).double(), torch.ones(6).double()
    torch.testing.assert_close(values.mean(1), zeros, rtol=0, atol=1e-12)
    torch.testing.assert_close(values.var(1), ones, rtol=0, atol=1e-4)  # by eps


@pytest.mark.parametrize("chunk_size", [5, 1000])
@pytest.mark.parametrize("training", [True, False])
def test_model_state_dict_and_chance_are_untouched(chunk_size, training):
    model = net().train(training)
    model.head.eval()
    model.stem[0].weight.requires_grad_(False)
    state_dict = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    given = copy.deepcopy(state_dict)
    weights = copy.deepcopy(model.state_dict())
    modules = [(m.training, getattr(m, "momentum", None)) for m in model.modules()]
    grads = [p.requires_grad for p in model.parameters()]
    random_state = torch.get_rng_state()
    batch_norm.reset_statistics(model, state_dict, images(), chunk_size)
    assert torch.equal(random_state, torch.get_rng_state())
    assert modules == [(m.training, getattr(m, "momentum", None)) for m in model.modules()]
    assert grads == [p.requires_grad for p in model.parameters()]
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert_equal_state(model.state_dict(), weights)
    assert_equal_state(state_dict, given)


def test_counters_become_1_so_that_equal_weights_are_equal_files():
    model = net()
    model.train()(images())
    model(images())
    got = batch_norm.reset_statistics(model, model.state_dict(), images())
    assert [t.item() for name, t in got.items() if "num_batches" in name] == [1, 1, 1]


def test_weights_are_passed_on_and_only_statistics_change():
    model = net()
    state_dict = model.state_dict()
    got = batch_norm.reset_statistics(model, state_dict, images())
    for name, tensor in got.items():
        assert (tensor is state_dict[name]) == ("running" not in name and "num" not in name)
        assert not tensor.requires_grad


def test_without_batch_norm_nothing_changes():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    state_dict = model.state_dict()
    got = batch_norm.reset_statistics(model, state_dict, torch.ones(4, 3))
    assert all(got[name] is tensor for name, tensor in state_dict.items())


def test_batch_norm_is_recognised_by_its_type():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(1))

    assert batch_norm.has_batch_norm(net())
    assert batch_norm.has_batch_norm(nn.BatchNorm3d(2))
    assert not batch_norm.has_batch_norm(Mean())
    assert not batch_norm.has_batch_norm(nn.BatchNorm1d(2, track_running_stats=False))


def test_a_layer_without_affine_or_alone_is_reset():
    layer = nn.BatchNorm1d(2, affine=False)
    got = batch_norm.reset_statistics(
        layer, layer.state_dict(), torch.tensor([[0.0, 1.0], [4.0, 1.0]]), 1
    )
    torch.testing.assert_close(got["running_mean"], torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(got["running_var"], torch.tensor([8.0, 0.0]))


def test_a_layer_that_is_not_reached_stays_as_it_is():
    model = net()
    model.unused = nn.BatchNorm1d(2).double()
    model.unused.running_mean.fill_(7)
    model.unused.num_batches_tracked.fill_(5)
    got = batch_norm.reset_statistics(model, model.state_dict(), images())
    assert got["unused.running_mean"].tolist() == [7, 7]
    assert got["unused.num_batches_tracked"].item() == 5


def test_a_layer_under_two_names_is_reset_under_both():
    model = net()
    model.also = model.head[1]
    got = batch_norm.reset_statistics(model, model.state_dict(), images())
    assert torch.equal(got["also.running_mean"], got["head.1.running_mean"])
    assert got["also.num_batches_tracked"].item() == 1


def test_chunks_agree_in_float32_far_from_zero():
    model = net(dtype=torch.float32)
    inputs = 1000 + images(dtype=torch.float32)
    exact = one_batch(
        net(), {n: t.double() for n, t in model.state_dict().items()}, inputs.double()
    )
    got = batch_norm.reset_statistics(model, model.state_dict(), inputs, 5)
    for name, tensor in got.items():
        if "running" in name:
            torch.testing.assert_close(tensor.double(), exact[name], rtol=1e-3, atol=1e-3)


def test_channels_last_gives_the_same():
    model = net()
    expected = batch_norm.reset_statistics(model, model.state_dict(), images(), 6)
    last = net().to(memory_format=torch.channels_last)
    inputs = images().contiguous(memory_format=torch.channels_last)
    assert_close_state(batch_norm.reset_statistics(last, last.state_dict(), inputs, 6), expected)


@pytest.mark.parametrize("chunk_size", [6, 1000])
def test_autocast_stays_near_full_precision(chunk_size):
    model, inputs = net(dtype=torch.float32), images(dtype=torch.float32)
    state_dict = model.state_dict()
    expected = batch_norm.reset_statistics(model, state_dict, inputs)
    got = batch_norm.reset_statistics(
        model, state_dict, inputs, chunk_size, autocast=torch.bfloat16
    )
    assert_close_state(got, expected, tolerance=0.05)
    changed = "stem.1.running_mean"
    assert not torch.equal(got[changed], expected[changed]), "autocast was in force"
    assert got[changed].dtype == torch.float32


@pytest.mark.parametrize("chunk_size", [6, 1000])
def test_one_layer_used_twice_is_refused(chunk_size):
    layer = nn.BatchNorm1d(2)
    model = nn.Sequential(nn.Linear(2, 2), layer, nn.Linear(2, 2), layer)
    with pytest.raises(ValueError, match="^model: one forward pass uses .* layer '1' twice, so"):
        batch_norm.reset_statistics(model, model.state_dict(), torch.randn(7, 2), chunk_size)


def test_too_few_inputs_or_a_chunk_of_none_are_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    state_dict = model.state_dict()
    with pytest.raises(ValueError, match="^inputs: batch-norm statistics need at least one"):
        batch_norm.reset_statistics(model, state_dict, torch.empty(0, 2))
    with pytest.raises(ValueError, match="^inputs: batch norm needs two or more .*, got 1$"):
        batch_norm.reset_statistics(model, state_dict, torch.ones(1, 2))
    with pytest.raises(ValueError, match="^chunk_size: must be at least 1, got 0$"):
        batch_norm.reset_statistics(model, state_dict, torch.ones(4, 2), chunk_size=0)


def test_statistics_of_another_network_are_taken_whole_and_nothing_else():
    first, second = net(0), net(1)
    second.train()(images())
    weights, other = first.state_dict(), second.state_dict()
    got = batch_norm.with_statistics_of(first, weights, other)
    assert list(got) == list(weights)
    taken = [name for name, tensor in got.items() if tensor is other[name]]
    assert taken == batch_norm.statistics_names(first)
    assert all(got[name] is weights[name] for name in weights if name not in taken)
    assert len(taken) == 3 * 3  # layers, and what each has


def test_only_batch_norm_has_statistics():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(1))

    mixed = nn.Sequential(Mean(), nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    expected = ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert batch_norm.statistics_names(mixed) == expected
    alone = ["running_mean", "running_var", "num_batches_tracked"]
    assert batch_norm.statistics_names(nn.BatchNorm2d(3)) == alone
    weights = nn.Linear(2, 2).state_dict()
    assert batch_norm.with_statistics_of(nn.Linear(2, 2), weights, {}) == weights


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("chunk_size", [6, 1000])
def test_it_works_on_a_gpu_from_inputs_on_the_cpu(chunk_size):
    model = net().cuda()
    got = batch_norm.reset_statistics(model, model.state_dict(), images(), chunk_size)
    expected = one_batch(net(), net().state_dict(), images())
    for name, tensor in got.items():
        assert tensor.is_cuda
        torch.testing.assert_close(tensor.cpu(), expected[name], rtol=1e-9, atol=1e-9)


VALUES = 3 + torch.randn(7, 4, 5, 6, generator=torch.Generator().manual_seed(0)).double()


def test_moments_are_those_of_each_channel():
    variance, mean = torch.var_mean(VALUES, dim=(0, 2, 3), correction=0)
    measured = batch_norm.channel_stats(VALUES)
    torch.testing.assert_close(measured.mean, mean)
    torch.testing.assert_close(measured.variance, variance)
    assert measured.num_values == 7 * 5 * 6


def test_features_are_channels_without_space():
    measured = batch_norm.channel_stats(VALUES[:, :, 0, 0])
    torch.testing.assert_close(measured.mean, VALUES[:, :, 0, 0].mean(0))
    assert measured.num_values == 7


@pytest.mark.parametrize("sizes", [[7], [1, 6], [2, 2, 3], [1] * 7])
def test_moments_of_parts_are_those_of_the_whole(sizes):
    together = batch_norm.merge_stats(
        [batch_norm.channel_stats(part) for part in VALUES.split(sizes)]
    )
    for merged, whole in zip(together, batch_norm.channel_stats(VALUES), strict=True):
        torch.testing.assert_close(merged, whole)


def test_half_precision_is_measured_in_float32():
    values = VALUES.to(torch.bfloat16)
    assert torch.equal(
        batch_norm.channel_stats(values).mean, batch_norm.channel_stats(values.float()).mean
    )
