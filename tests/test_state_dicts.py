import weakref

import pytest
import torch

from isthmus import state_dicts


@pytest.fixture
def first() -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[3.0, 0.0]]), "bias": torch.tensor(4.0), "mean": torch.ones(9)}


@pytest.fixture
def second() -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[3.0, 5.0]]), "bias": torch.tensor(-8.0), "mean": torch.ones(9)}


def test_norm_takes_the_named_tensors_as_one_vector(first):
    assert state_dicts.norm(first, ["weight", "bias"]).item() == 5  # 3, 0, 4
    assert state_dicts.norm(first, ["mean"]).item() == 3


def test_distance_takes_the_named_tensors_as_one_vector(first, second):
    assert state_dicts.distance(first, second, ["weight", "bias"]).item() == 13  # 0, 5, 12


def test_norm_and_distance_agree_with_one_flat_vector():
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 2, 1), "b": (), "c": (1,), "d": (17,)}
    pair = [
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for _ in range(2)
    ]
    one, other = (torch.cat([tensor.flatten() for tensor in each.values()]) for each in pair)
    torch.testing.assert_close(state_dicts.norm(pair[0], shapes), one.norm())
    torch.testing.assert_close(state_dicts.distance(*pair, shapes), torch.dist(one, other))


def test_names_can_be_read_once_only(first, second):
    names = ("weight", "bias")
    assert state_dicts.norm(first, iter(names)).item() == 5
    assert state_dicts.distance(first, second, iter(names)).item() == 13


def test_distance_is_the_same_from_both_sides_and_zero_to_itself(first, second):
    there = state_dicts.distance(first, second, ["weight", "bias"])
    assert there == state_dicts.distance(second, first, ["weight", "bias"])
    assert state_dicts.distance(first, first, ["weight", "bias"]) == 0


def test_neither_norm_nor_distance_changes_its_arguments(first, second):
    before = state_dicts.copy(first)
    state_dicts.norm(first, first)
    state_dicts.distance(first, second, first)
    torch.testing.assert_close(first, before, rtol=0, atol=0)


def test_a_copy_has_equal_values_that_training_does_not_reach():
    model = torch.nn.Linear(2, 1)
    copied = state_dicts.copy(dict(model.named_parameters()))
    expected = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert {name: tensor.tolist() for name, tensor in copied.items()} == expected
    assert not any(tensor.requires_grad for tensor in copied.values())


def test_a_stack_has_the_networks_in_the_order_given(first, second):
    stacked = state_dicts.stack([first, second, first])
    assert list(stacked) == list(first)
    assert {name: tuple(tensor.shape) for name, tensor in stacked.items()} == {
        "weight": (3, 1, 2),
        "bias": (3,),
        "mean": (3, 9),
    }
    for model, state_dict in enumerate([first, second, first]):
        for name, tensor in state_dict.items():
            assert torch.equal(stacked[name][model], tensor)


def test_a_stack_of_one_network_has_one_model(first):
    assert state_dicts.stack([first])["bias"].shape == (1,)


def test_a_stack_keeps_integers():
    assert state_dicts.stack([{"num_batches_tracked": torch.tensor(3)}])[
        "num_batches_tracked"
    ].dtype == (torch.int64)


def states(num_models, dtype=torch.float32):
    """Networks of a weight, running statistics and a counter, far from each other in size."""
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "weight": torch.randn(5, 3, generator=generator).mul(10.0 ** (i % 5)).to(dtype),
            "bn.running_var": torch.rand(3, generator=generator).to(dtype),
            "bn.num_batches_tracked": torch.tensor(i),
        }
        for i in range(num_models)
    ]


def naive(models, weights):
    """The weighted mean of all at once, in float64."""
    shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    return {
        name: torch.tensordot(shares, torch.stack([m[name].double() for m in models]), 1)
        for name in models[0]
    }


def assert_is(got, models, weights):
    expected = naive(models, weights)
    assert list(got) == list(models[0])
    for name, tensor in got.items():
        assert tensor.dtype == models[0][name].dtype
        if tensor.is_floating_point():
            # equal but where float64 lies on the border between two values of the type
            torch.testing.assert_close(tensor, expected[name].to(tensor.dtype), rtol=1e-7, atol=0)
        else:
            assert tensor.equal(models[-1][name])


@pytest.mark.parametrize("num_models", [1, 2, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_is_that_of_all_at_once_in_float64(num_models, dtype):
    models = states(num_models, dtype)
    assert_is(state_dicts.mean(iter(models), [1.0] * num_models), models, [1.0] * num_models)


def test_weights_are_divided_by_their_sum():
    models, weights = states(3), [2.0, -0.5, 3.0]
    assert_is(state_dicts.mean(models, weights), models, weights)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0], [1.0] * 3, [0.1, 0.7]])
def test_the_mean_of_a_network_with_itself_is_that_network(weights):
    (model,) = states(1)
    got = state_dicts.mean([model] * len(weights), weights)
    for name, tensor in model.items():
        assert got[name].equal(tensor)
        assert got[name].data_ptr() != tensor.data_ptr()


@pytest.mark.parametrize("num_weights", [1, 3])
def test_another_number_of_weights_is_refused(num_weights):
    with pytest.raises(ValueError, match=f"one per network, got {num_weights} for 2"):
        state_dicts.mean(states(2), [1.0] * num_weights)


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -2.0]])
def test_a_sum_of_weights_that_is_not_positive_is_refused(weights):
    with pytest.raises(ValueError, match="their sum must be positive"):
        state_dicts.mean(states(2), weights)


class Loader:
    """Makes networks, and counts those that are still somewhere in memory."""

    def __init__(self):
        self.alive = weakref.WeakSet()

    def __call__(self, position):
        assert len(self.alive) == 0, "an earlier network is still held"
        tensor = torch.full((4,), float(position))
        self.alive.add(tensor)
        return {"weight": tensor}


def test_a_mean_holds_one_network_at_a_time():
    got = state_dicts.mean(map(Loader(), range(50)), [1.0] * 50)
    assert got["weight"].tolist() == [24.5] * 4


def test_cosine_takes_the_named_tensors_as_one_vector():
    first = {"weight": torch.tensor([[3.0, 0.0]]), "bias": torch.tensor(4.0)}
    second = {"weight": torch.tensor([[0.0, 2.0]]), "bias": torch.tensor(0.0)}
    names = ["weight", "bias"]
    assert state_dicts.cosine(first, second, names).item() == 0
    diagonal = {"weight": torch.tensor([[1.0, 0.0]]), "bias": torch.tensor(0.0)}
    assert state_dicts.cosine(first, diagonal, names).item() == pytest.approx(3 / 5)
    assert state_dicts.cosine(first, diagonal, ["weight"]).item() == 1
    assert state_dicts.cosine(first, diagonal, iter(names)).item() == pytest.approx(3 / 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cosine_agrees_with_torch_in_float64_on_one_flat_vector(dtype):
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 2, 1), "b": (), "c": (1,), "d": (17,)}
    pair = [
        {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
        for _ in range(2)
    ]
    flat = [torch.cat([t.flatten() for t in each.values()]).double() for each in pair]
    found = state_dicts.cosine(*pair, shapes)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.nn.functional.cosine_similarity(*flat, dim=0))


def test_small_angles_are_told_apart():
    first = {"a": torch.ones(1000)}
    second = {"a": torch.ones(1000) + torch.eye(1, 1000)[0] * 1e-3}
    angle = 1e-3 * (1 - 1 / 1000) ** 0.5 / 1000**0.5  # of a step across the diagonal
    assert 1 - state_dicts.cosine(first, second, ["a"]).item() == pytest.approx(angle**2 / 2, 1e-2)


def test_cosine_is_from_minus_1_to_1_and_does_not_depend_on_lengths():
    generator = torch.Generator().manual_seed(0)
    for _ in range(1000):
        vector, scale = torch.randn(17, generator=generator), torch.rand(1, generator=generator)
        for sign in (1, -1):
            scaled = {"a": sign * scale * vector}
            cosine = state_dicts.cosine({"a": vector}, scaled, ["a"]).item()
            assert -1 <= cosine <= 1
            assert cosine == pytest.approx(sign)


def test_a_network_of_zeros_has_no_direction():
    zeros, ones = {"a": torch.zeros(3)}, {"a": torch.ones(3)}
    assert state_dicts.cosine(zeros, ones, ["a"]).isnan()
    assert state_dicts.cosine(zeros, zeros, ["a"]).isnan()
