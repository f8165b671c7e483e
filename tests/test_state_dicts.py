import pytest
import torch

from src import state_dicts


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
