import torch
from torch import nn

from isthmus.connectivity import permutation_spec
from isthmus.connectivity.permutation_spec import draw_permutations, permute
from tests.connectivity import networks


def read(model, inputs):
    """Tensors of each group, as "name:axis"."""
    return [
        {f"{axis.name}:{axis.dim}" for axis in group.axes}
        for group in permutation_spec.find_groups(model, inputs)
    ]


def norm(name):
    return {f"{name}.{each}:0" for each in ("weight", "bias", "running_mean", "running_var")}


def test_hidden_layers_of_an_mlp_are_groups():
    assert read(*networks.made("mlp")) == [
        {f"hidden.{k}.weight:0", f"hidden.{k}.bias:0", f"{reader}.weight:1"}
        for k, reader in enumerate(["hidden.1", "hidden.2", "output"])
    ]


def test_softmax_regression_has_no_groups():
    assert permutation_spec.find_groups(nn.Sequential(nn.Linear(3, 2)), torch.zeros(1, 3)) == []


def test_convolutions_of_a_vgg_are_groups():
    convolutions = ["0.0", "1.1", "2.1", "2.4", "3.1", "3.4", "4.1", "4.4"]
    norms = ["0.1", "1.2", "2.2", "2.5", "3.2", "3.5", "4.2", "4.5"]
    names = [f"features.{name}" for name in convolutions] + ["output"]
    assert read(*networks.made("vgg11")) == [
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
    assert read(*networks.made("resnet8_projection")) == [
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


class Toy(nn.Module):
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
IMAGES = networks.inputs(3, (2, 6, 6))


def test_a_layer_used_twice_permutes_what_it_reads_as_what_it_makes():
    def forward(parts, inputs):
        hidden = torch.relu(parts["first"](inputs))
        for _ in range(2):
            hidden = torch.tanh(parts["again"](hidden))
        return parts["last"](hidden)

    layers = {"first": nn.Linear(5, 6), "again": nn.Linear(6, 6), "last": nn.Linear(6, 2)}
    check(Toy(forward, **layers), VECTORS, [6])


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
    check(Toy(forward, **layers), VECTORS, [6])


def test_what_is_added_to_inputs_or_logits_keeps_its_place():
    def forward(parts, inputs):
        return parts["last"](inputs + parts["first"](inputs))

    check(Toy(forward, first=nn.Linear(5, 5), last=nn.Linear(5, 5)), VECTORS, [])


def test_a_group_normalization_ties_its_channels_together():
    for num_groups, sizes in [(1, [6]), (2, [3, 3]), (6, [6])]:
        norm = nn.GroupNorm(num_groups, 6)
        model = nn.Sequential(nn.Conv2d(2, 6, 3), norm, nn.ReLU(), nn.Conv2d(6, 3, 1), nn.Flatten())
        check(model.double(), IMAGES, sizes)


def test_layer_and_root_mean_square_normalizations_of_features_are_permuted():
    for norm in (nn.LayerNorm(6), nn.RMSNorm(6), nn.BatchNorm1d(6, affine=False)):
        check(nn.Sequential(nn.Linear(5, 6), norm, nn.Linear(6, 2)).double(), VECTORS, [6])


def test_a_layer_normalization_of_whole_images_is_permuted_by_channels():
    layers = (nn.Conv2d(2, 4, 3), nn.LayerNorm([4, 4, 4]), nn.Flatten(), nn.Linear(64, 2))
    check(nn.Sequential(*layers).double(), IMAGES, [4])


def test_zeros_before_and_after_become_free_channels():
    def forward(parts, inputs):
        wide = nn.functional.pad(parts["first"](inputs), pad=(1, 1, 0, 0, 2, 3))
        hidden = torch.sigmoid(parts["norm"](wide))[:, :, 1:, ::2]
        return parts["last"](hidden.reshape(hidden.size(0), -1))

    layers = {"first": nn.Conv2d(2, 4, 3), "norm": nn.BatchNorm2d(9), "last": nn.Linear(81, 2)}
    check(Toy(forward, **layers), IMAGES, [4, 5])


def test_the_mean_of_a_channel_may_be_added_to_it():
    def forward(parts, inputs):
        hidden = parts["first"](inputs)
        hidden = hidden + hidden.mean((2, 3), keepdim=True)
        return parts["last"](torch.mean(hidden, (2, -1)))

    check(Toy(forward, first=nn.Conv2d(2, 4, 3), last=nn.Linear(4, 2)), IMAGES, [4])


def test_a_branch_that_nothing_reads_is_permuted_alone():
    def forward(parts, inputs):
        parts["unread"](inputs)
        return parts["last"](parts["first"](inputs).relu())

    layers = {"first": nn.Linear(5, 6), "unread": nn.Linear(5, 3), "last": nn.Linear(6, 2)}
    check(Toy(forward, **layers), VECTORS, [3, 6])
