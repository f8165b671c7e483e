import copy

import pytest
import torch
from torch import nn

from isthmus.connectivity import permutation_spec
from isthmus.connectivity.permutation_spec import draw_permutations, identity_permutations, permute
from tests.connectivity import networks
from tests.models.test_every_model import FILES, read


@pytest.fixture(params=networks.MODELS, scope="module")
def case(request):
    model, inputs = networks.made(request.param)
    return model, inputs, permutation_spec.find_groups(model, inputs)


def logits(model, state_dict, inputs, train=False):
    """Of a fresh copy, without dropout; and its state dict afterwards."""
    model = copy.deepcopy(model).train(train)
    model.load_state_dict(state_dict)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        return model(inputs), model.state_dict()


def test_there_is_a_network_of_every_class():
    classes = {read(name)[0] for name in FILES}
    assert classes == {type(make()) for make, _ in networks.MODELS.values()}


def test_a_permuted_network_computes_the_same_function(case):
    model, inputs, found = case
    before, _ = logits(model, model.state_dict(), inputs)
    for seed in range(2):
        after, _ = logits(
            model, permute(model.state_dict(), found, draw_permutations(found, seed)), inputs
        )
        torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)


def test_a_permuted_network_normalizes_a_batch_alike(case):
    model, inputs, found = case
    permutations = draw_permutations(found, seed=3)
    before, trained = logits(model, model.state_dict(), inputs, train=True)
    start = permute(model.state_dict(), found, permutations)
    after, trained_after = logits(model, start, inputs, train=True)
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    for name, statistic in permute(trained, found, permutations).items():
        torch.testing.assert_close(trained_after[name], statistic, rtol=1e-12, atol=1e-12)


def test_every_group_changes_every_tensor_that_has_its_units(case):
    model, _, found = case
    state_dict = model.state_dict()
    for k, group in enumerate(found):
        permutations = identity_permutations(found)
        permutations[k] = torch.arange(group.size).roll(1)
        changed = permute(state_dict, found, permutations)
        unequal = {name for name in changed if not torch.equal(changed[name], state_dict[name])}
        assert unequal == {axis.name for axis in group.axes}


def test_inverse_permutations_restore_the_network(case):
    model, _, found = case
    permutations = draw_permutations(found, seed=0)
    there = permute(model.state_dict(), found, permutations)
    back = permute(there, found, [permutation.argsort() for permutation in permutations])
    assert all(torch.equal(back[name], tensor) for name, tensor in model.state_dict().items())


def test_a_permutation_says_which_unit_takes_each_place():
    model, inputs = networks.made("mlp")
    weight = model.state_dict()["hidden.0.weight"]
    found = permutation_spec.find_groups(model, inputs)
    permutations = identity_permutations(found)
    permutations[0] = torch.tensor([1, 2, 0, 3, 4, 5, 6, 7])
    rows = permute(model.state_dict(), found, permutations)["hidden.0.weight"]
    assert torch.equal(rows[:3], weight[[1, 2, 0]])


def test_drawn_permutations_depend_on_the_seed():
    found = permutation_spec.find_groups(*networks.made("cnn"))
    first, again, other = (
        draw_permutations(found, 0),
        draw_permutations(found, 0),
        draw_permutations(found, 1),
    )
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_what_does_not_fit_the_groups_is_refused():
    model, inputs = networks.made("mlp")
    found, state_dict = permutation_spec.find_groups(model, inputs), model.state_dict()
    with pytest.raises(ValueError, match="^permutations: must be one per group, got 1 for 3$"):
        permute(state_dict, found, [torch.arange(8)])
    for wrong in ([0, 0, 1, 2, 3, 4, 5], [0, 1], [1, 2, 3, 4, 5, 6, 7]):
        permutations = identity_permutations(found)
        permutations[1] = torch.tensor(wrong)
        message = r"^permutations: hidden.1.weight needs each of 0 to 6 once, got \["
        with pytest.raises(ValueError, match=message):
            permute(state_dict, found, permutations)
    del state_dict["hidden.1.bias"]
    with pytest.raises(ValueError, match="^state_dict: has no hidden.1.bias, which has hidden"):
        permute(state_dict, found, identity_permutations(found))
