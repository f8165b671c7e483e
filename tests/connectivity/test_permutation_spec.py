import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from isthmus.connectivity import permutation_spec
from isthmus.connectivity.permutation_spec import (
    Units,
    draw_permutations,
    identity_permutations,
    permute,
)
from tests.connectivity import networks
from tests.models.test_every_model import FILES, read


class Toy(nn.Module):
    """A convolution, and then what a test does to it."""

    def __init__(self, forward):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.scale = nn.Parameter(torch.ones(1, 4, 4, 4))
        self.after = forward

    def forward(self, inputs):
        return self.after(self, self.conv(inputs))


class Block(nn.Module):
    def forward(self, inputs):
        return functional.softmax(inputs, dim=1)


IMAGES = torch.zeros(1, 2, 6, 6)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "(1, 4, 4, 4)"),
        (nn.Linear(4, 2), "(1, 4, 4, 4)"),
        (nn.PixelShuffle(2), "(1, 4, 4, 4)"),
        (nn.Unfold(2), "(1, 4, 4, 4)"),
    ],
)
def test_an_unknown_module_is_named(module, shape):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sequential(module))
    message = (
        "model: cannot permute units through its module '1.0': "
        f"unsupported: {module} on values of shape {shape}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        permutation_spec.find_groups(model, IMAGES)


def test_a_module_that_makes_several_tensors_is_named():
    model = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 5))
    with pytest.raises(ValueError, match="through its module '1': unsupported: LSTM"):
        permutation_spec.find_groups(model, torch.zeros(1, 3))


def test_an_unknown_function_is_named_with_its_module():
    message = (
        r"^model: cannot permute units through 'softmax' in its module '1' \(Block\): unsupported"
    )
    with pytest.raises(ValueError, match=message):
        permutation_spec.find_groups(nn.Sequential(nn.Conv2d(2, 4, 3), Block()), IMAGES)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x: torch.cat([x, x], 1), "'cat' in its own forward: unsupported operation"),
        (lambda self, x: x.movedim(1, -1), "'movedim' in its own forward: unsupported"),
        (lambda self, x: x + self.scale, "it reads 'scale', which has no units"),
        (lambda self, x: x + x.mean((2, 3)), "it adds values of shapes [(1, 4, 4, 4), (1, 4)]"),
        (lambda self, x: x.mean(1), "'mean' in its own forward: it averages over [1]"),
        (lambda self, x: x.mean((0, -1)), "it averages over (0, -1)"),
        (lambda self, x: x.mean(), "it averages over None"),
        (lambda self, x: x[:, :2], "'getitem' in its own forward: its index is (slice"),
        (lambda self, x: x[0], "its index is 0"),
        (lambda self, x: x.flatten(), "it makes (64,) of (1, 4, 4, 4)"),
        (lambda self, x: x.view(-1, 4), "it makes (16, 4) of (1, 4, 4, 4)"),
        (
            lambda self, x: functional.layer_norm(x, [4]),
            "'layer_norm' in its own forward: unsupported",
        ),
        (lambda self, x: (x, x), "model: must return one tensor, returns (conv, conv)"),
    ],
)
def test_what_is_not_known_to_keep_units_apart_is_refused(forward, message):
    with pytest.raises(ValueError, match=f"^model: .*{re.escape(message.removeprefix('model: '))}"):
        permutation_spec.find_groups(Toy(forward), IMAGES)


def test_a_normalization_of_other_axes_is_refused():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.LayerNorm(4))
    with pytest.raises(ValueError, match=r"its module '1': it normalizes over \(4,\)$"):
        permutation_spec.find_groups(model, IMAGES)


def test_inputs_without_features_are_refused():
    with pytest.raises(ValueError, match=r"through 'input' in its own forward: it makes \(1,\)$"):
        permutation_spec.find_groups(nn.ReLU(), torch.zeros(3))


def group_axes(model, inputs):
    """Tensors of each group, as "name:axis"."""
    return [
        {f"{axis.name}:{axis.dim}" for axis in group.axes}
        for group in permutation_spec.find_groups(model, inputs)
    ]


def norm(name):
    return {f"{name}.{each}:0" for each in ("weight", "bias", "running_mean", "running_var")}


def test_hidden_layers_of_an_mlp_are_groups():
    assert group_axes(*networks.made("mlp")) == [
        {f"hidden.{k}.weight:0", f"hidden.{k}.bias:0", f"{reader}.weight:1"}
        for k, reader in enumerate(["hidden.1", "hidden.2", "output"])
    ]


def test_softmax_regression_has_no_groups():
    assert permutation_spec.find_groups(nn.Sequential(nn.Linear(3, 2)), torch.zeros(1, 3)) == []


def test_convolutions_of_a_vgg_are_groups():
    convolutions = ["0.0", "1.1", "2.1", "2.4", "3.1", "3.4", "4.1", "4.4"]
    norms = ["0.1", "1.2", "2.2", "2.5", "3.2", "3.5", "4.2", "4.5"]
    names = [f"features.{name}" for name in convolutions] + ["output"]
    assert group_axes(*networks.made("vgg11")) == [
        {f"{name}.weight:0", f"{name}.bias:0", f"{reader}.weight:1", *norm(f"features.{after}")}
        for name, after, reader in zip(names, norms, names[1:], strict=False)
    ]


def test_a_channel_is_a_run_of_the_features_it_is_flattened_to():
    model, inputs = networks.made("lenet5")  # the second convolution makes 16 x 2 x 2
    by_axis = {axis.name: axis for axis in permutation_spec.find_groups(model, inputs)[1].axes}
    columns = by_axis["hidden.0.weight"]
    assert columns.dim == 1
    assert torch.equal(columns.positions, torch.arange(64).view(16, 4))
    numbers = columns.rows(model.hidden[0].weight)
    assert torch.equal(numbers[3], model.hidden[0].weight[:, 12:16].T.flatten())


def stream(block, projection=False):
    """What a block adds to its residual stream."""
    names = {f"{block}.conv2.weight:0", *norm(f"{block}.norm2")}
    return names | {f"{block}.shortcut.0.weight:0", *norm(f"{block}.shortcut.1")} * projection


def test_a_residual_stream_between_projections_is_one_group():
    def inside(block):
        conv1 = f"{block}.conv1.weight"
        return {f"{conv1}:0", *norm(f"{block}.norm1"), f"{block}.conv2.weight:1"}

    def into(block):
        return {f"{block}.conv1.weight:1", f"{block}.shortcut.0.weight:1"}

    def out_of(block):
        return {f"{block}.conv2.weight:0", *norm(f"{block}.norm2")}

    def beside(block):
        return {f"{block}.shortcut.0.weight:0", *norm(f"{block}.shortcut.1")}

    one, two, three = (f"stages.{k}.0" for k in range(3))
    stem = {"stem.0.weight:0", *norm("stem.1"), f"{one}.conv1.weight:1"}
    assert group_axes(*networks.made("resnet8_projection")) == [
        stem | out_of(one) | into(two),
        inside(one),
        inside(two),
        out_of(two) | beside(two) | into(three),
        inside(three),
        out_of(three) | beside(three) | {"output.weight:1"},
    ]


def test_channels_that_zeros_are_added_to_are_free_and_the_others_are_not():
    found = permutation_spec.find_groups(
        *networks.made("resnet8_pad")
    )  # stages of 4, 8 and 16 channels
    assert [group.size for group in found] == [4, 4, 8, 4, 16, 8]
    last = {
        group.name: axis.positions.flatten().tolist()
        for group in found
        for axis in group.axes
        if axis.name == "output.weight"
    }
    assert last == {
        "stem.0.weight": [0, 1, 2, 3],
        "stages.1.0.conv2.weight": [4, 5, 6, 7],
        "stages.2.0.conv2.weight": [8, 9, 10, 11, 12, 13, 14, 15],
    }


def test_every_bottleneck_has_two_groups_of_its_own_and_every_stage_one():
    found = permutation_spec.find_groups(*networks.made("resnet50"))
    assert len(found) == 1 + 2 * (3 + 4 + 6 + 3) + 4
    assert sorted({group.size for group in found}) == [4, 8, 16, 32, 64, 128]


def test_a_value_that_two_layers_read_is_counted_once():
    found = permutation_spec.find_groups(*networks.made("resnet8_projection"))
    assert [axis.name for axis in found[0].inputs] == [
        "stages.0.0.conv1.weight",
        "stages.1.0.conv1.weight",  # and the shortcut beside it
    ]


def test_running_statistics_are_not_trained():
    for group in permutation_spec.find_groups(*networks.made("resnet8_pad")):
        for axis in group.axes:
            assert axis.trained == ("running" not in axis.name)


class GroupsToy(nn.Module):
    """Layers of `parts` and a forward pass that a test gives it."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.pass_through = forward
        self.double()

    def forward(self, inputs):
        return self.pass_through(self.parts, inputs)


def check(model, inputs, sizes):
    """The groups have these sizes, and permuting them keeps the function."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    model.eval()
    before, state_dict = model(inputs), model.state_dict()
    found = permutation_spec.find_groups(model, inputs)
    assert [group.size for group in found] == sizes
    changed = permute(state_dict, found, draw_permutations(found, seed=1))
    if found:
        assert not all(torch.equal(changed[name], tensor) for name, tensor in state_dict.items())
    model.load_state_dict(changed)
    torch.testing.assert_close(model(inputs), before, rtol=1e-12, atol=1e-12)


VECTORS = networks.inputs(3, (5,))
GROUPS_IMAGES = networks.inputs(3, (2, 6, 6))


def test_a_layer_used_twice_permutes_what_it_reads_as_what_it_makes():
    def forward(parts, inputs):
        hidden = torch.relu(parts["first"](inputs))
        for _ in range(2):
            hidden = torch.tanh(parts["again"](hidden))
        return parts["last"](hidden)

    layers = {"first": nn.Linear(5, 6), "again": nn.Linear(6, 6), "last": nn.Linear(6, 2)}
    check(GroupsToy(forward, **layers), VECTORS, [6])


def test_a_layer_under_two_names_is_permuted_under_both():
    layer = nn.Linear(6, 6)
    model = nn.Sequential(nn.Linear(5, 6), layer, nn.ReLU(), layer, nn.Linear(6, 2)).double()
    check(model, VECTORS, [6])
    [group] = permutation_spec.find_groups(model, VECTORS)
    assert {"1.weight", "3.weight"} <= {axis.name for axis in group.axes}


def test_tied_parameters_of_two_layers_are_permuted_together():
    model = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model = model.append(nn.Linear(6, 2)).double()
    model[3].weight = model[1].weight
    check(model, VECTORS, [6])


def test_a_residual_of_linear_layers_shares_its_permutation():
    def forward(parts, inputs):
        hidden = parts["first"](inputs)
        hidden = hidden + parts["inside"](hidden).relu() + 1
        hidden = hidden + hidden.view(hidden.shape[0], -1)
        return parts["last"](hidden + hidden)

    layers = {"first": nn.Linear(5, 6), "inside": nn.Linear(6, 6), "last": nn.Linear(6, 2)}
    check(GroupsToy(forward, **layers), VECTORS, [6])


def test_what_is_added_to_inputs_or_logits_keeps_its_place():
    def forward(parts, inputs):
        return parts["last"](inputs + parts["first"](inputs))

    check(GroupsToy(forward, first=nn.Linear(5, 5), last=nn.Linear(5, 5)), VECTORS, [])


def test_a_group_normalization_ties_its_channels_together():
    for num_groups, sizes in [(1, [6]), (2, [3, 3]), (6, [6])]:
        norm = nn.GroupNorm(num_groups, 6)
        model = nn.Sequential(nn.Conv2d(2, 6, 3), norm, nn.ReLU(), nn.Conv2d(6, 3, 1), nn.Flatten())
        check(model.double(), GROUPS_IMAGES, sizes)


def test_layer_and_root_mean_square_normalizations_of_features_are_permuted():
    for norm in (nn.LayerNorm(6), nn.RMSNorm(6), nn.BatchNorm1d(6, affine=False)):
        check(nn.Sequential(nn.Linear(5, 6), norm, nn.Linear(6, 2)).double(), VECTORS, [6])


def test_a_layer_normalization_of_whole_images_is_permuted_by_channels():
    layers = (nn.Conv2d(2, 4, 3), nn.LayerNorm([4, 4, 4]), nn.Flatten(), nn.Linear(64, 2))
    check(nn.Sequential(*layers).double(), GROUPS_IMAGES, [4])


def test_zeros_before_and_after_become_free_channels():
    def forward(parts, inputs):
        wide = nn.functional.pad(parts["first"](inputs), pad=(1, 1, 0, 0, 2, 3))
        hidden = torch.sigmoid(parts["norm"](wide))[:, :, 1:, ::2]
        return parts["last"](hidden.reshape(hidden.size(0), -1))

    layers = {"first": nn.Conv2d(2, 4, 3), "norm": nn.BatchNorm2d(9), "last": nn.Linear(81, 2)}
    check(GroupsToy(forward, **layers), GROUPS_IMAGES, [4, 5])


def test_the_mean_of_a_channel_may_be_added_to_it():
    def forward(parts, inputs):
        hidden = parts["first"](inputs)
        hidden = hidden + hidden.mean((2, 3), keepdim=True)
        return parts["last"](torch.mean(hidden, (2, -1)))

    check(GroupsToy(forward, first=nn.Conv2d(2, 4, 3), last=nn.Linear(4, 2)), GROUPS_IMAGES, [4])


def test_a_branch_that_nothing_reads_is_permuted_alone():
    def forward(parts, inputs):
        parts["unread"](inputs)
        return parts["last"](parts["first"](inputs).relu())

    layers = {"first": nn.Linear(5, 6), "unread": nn.Linear(5, 3), "last": nn.Linear(6, 2)}
    check(GroupsToy(forward, **layers), VECTORS, [3, 6])


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


def test_units_of_a_block_are_interchangeable():
    units = Units()
    first, second = units.block(3), units.block(2)
    assert units.interchangeable() == [first, second]


def test_joined_blocks_are_one():
    units = Units()
    first, second = units.block(3), units.block(3)
    units.join(second, first)
    units.join(first, second)
    assert units.interchangeable() == [first]
    assert [units.representative(unit) for unit in second] == first


def test_joining_part_of_a_block_parts_it():
    units = Units()
    narrow, wide = units.block(2), units.block(5)
    units.join(wide, narrow + units.block(3))
    assert units.interchangeable() == [narrow, wide[2:]]


def test_units_joined_unequally_keep_their_places():
    units = Units()
    first, second = units.block(3), units.block(3)
    units.join(first, [second[0], second[0], second[1]])
    assert [len(each) for each in units.interchangeable()] == [1, 1, 1]


def test_fixed_units_and_those_joined_with_them_are_not_interchangeable():
    units = Units()
    first, second = units.block(2), units.block(2)
    units.fix(first)
    units.join(second, first)
    assert units.interchangeable() == []


def test_tied_units_change_places_with_each_other_only():
    units = Units()
    block = units.block(4)
    units.tie(block[:2])
    units.tie(block[2:])
    assert units.interchangeable() == [block[:2], block[2:]]
