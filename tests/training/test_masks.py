import pytest
import torch
from torch import nn

from isthmus.models.cnn import CNN
from isthmus.models.lenet import LeNet5
from isthmus.models.lottery_conv import LotteryConv
from isthmus.models.mlp import MLP
from isthmus.models.resnet import ResNet
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.models.vgg import VGG
from isthmus.store import files
from isthmus.training import masks
from isthmus.training.masks import shuffle_mask


@pytest.mark.parametrize(
    ("num_weights", "fraction", "level", "expected"),
    [
        (268336, 0.2, 0, 0),
        (268336, 0.2, 1, 53667),  # .2 x 268,336 = 53,667.2
        (268336, 0.2, 2, 96601),  # .36 x 268,336 = 96,600.96
        (268336, 0.2, 3, 130948),  # .488 x 268,336 = 130,947.968
        (15980, 0.2, 1, 3196),
        (5, 0.5, 1, 2),  # 2.5 to the even number
        (7, 0.5, 1, 4),  # 3.5 likewise
        (10, 0.1, 1, 1),
        (50, 0.29, 1, 14),  # 14.5; in floating point a little less
        (3, 0.2, 20, 3),
        (1, 0.01, 1, 0),
    ],
)
def test_counts_are_the_closed_form(num_weights, fraction, level, expected):
    assert masks.num_pruned(num_weights, fraction, level) == expected


def test_roundings_do_not_add_up_over_levels():
    for level in range(40):
        exact = 1001 * (1 - 0.8**level)
        assert abs(masks.num_pruned(1001, 0.2, level) - exact) <= 0.5 + 1e-9


def test_more_is_pruned_with_every_level():
    found = [masks.num_pruned(97, 0.07, level) for level in range(100)]
    assert found == sorted(found) and found[0] == 0 and found[-1] == 97


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ({"a": 10, "b": 10}, 10, [5, 5]),
        ({"a": 10, "b": 10}, 9, [5, 4]),  # the first of two equal ones
        ({"a": 72, "b": 192, "c": 3}, 100, [27, 72, 1]),  # 26.97, 71.91, 1.12
        ({"a": 4}, 0, [0]),
        ({"a": 4, "b": 1}, 5, [4, 1]),
    ],
)
def test_shares_sum_to_the_total(sizes, total, expected):
    assert list(masks.share_out(sizes, total).values()) == expected
    assert sum(expected) == total


def test_a_level_with_fewer_weights_than_layers_is_named():
    groups = [({"a": 8, "b": 8}, 0.5), ({"c": 100}, 0.1)]
    masks.check_room(groups, 3, "pruning.fraction=0.5")  # 16, 8, 4, 2
    message = (
        "^pruning.fraction=0.5: level 4 would keep 1 of the 16 weights of a, b, and so empty a "
        "layer; at most 3 levels are possible$"
    )
    with pytest.raises(ValueError, match=message):
        masks.check_room(groups, 9, "pruning.fraction=0.5")


IMAGE = (3, 32, 32)


def test_weights_of_layers_and_no_others_can_be_pruned():
    found = masks.prunable_layers(ResNetCifar(IMAGE, 10, depth=8, shortcut="projection"))
    assert list(found.sizes)[:3] == [
        "stem.0.weight",
        "stages.0.0.conv1.weight",
        "stages.0.0.conv2.weight",
    ]
    assert len(found.sizes) == 1 + 6 + 2 + 1  # stem, blocks, shortcuts, output
    assert found.sizes["stem.0.weight"] == 16 * 3 * 9
    assert found.output == "output.weight" and found.residual


def test_resnet20_has_the_weights_of_the_paper():
    sizes = masks.prunable_layers(ResNetCifar(IMAGE, 10)).sizes
    assert sum(sizes.values()) == 268_336


@pytest.mark.parametrize(
    ("model", "ignored"),
    [
        (MLP((4,), 3), ["output.weight"]),
        (LeNet5((1, 28, 28), 10), ["output.weight"]),
        (VGG(IMAGE, 10, depth=11), ["output.weight"]),
        (LotteryConv(IMAGE, 10), ["output.weight"]),
        (CNN(IMAGE, 10), ["output.weight"]),
        (ResNetCifar(IMAGE, 10), []),
        (ResNet(IMAGE, 10, stem="cifar", width=4), []),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)), []),
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), ["1.weight"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_output_layer_is_ignored_by_default_but_not_in_resnets(model, ignored):
    assert masks.prunable_layers(model).ignored_layers(None) == ignored


def test_a_shared_weight_counts_once():
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = first.weight
    assert masks.prunable_layers(nn.Sequential(first, second)).sizes == {"0.weight": 9}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], []),
        (["output"], ["output.weight"]),
        (["output.weight"], ["output.weight"]),
        (["hidden.*"], ["hidden.0.weight", "hidden.1.weight"]),
        (["hidden.1", "output"], ["hidden.1.weight", "output.weight"]),
    ],
)
def test_names_and_patterns_of_layers_or_parameters_are_ignored(patterns, expected):
    assert masks.prunable_layers(MLP((4,), 3)).ignored_layers(patterns) == expected


def test_a_pattern_that_matches_nothing_is_named():
    message = "^ignore: 'fc' matches no layer; there are hidden.0.weight, hidden.1.weight, output.w"
    with pytest.raises(ValueError, match=message):
        masks.prunable_layers(MLP((4,), 3)).ignored_layers(["output", "fc"])


@pytest.mark.parametrize(
    ("model", "patterns", "message"),
    [
        (MLP((4,), 3), ["*"], "hidden.0.weight, hidden.1.weight, output.weight leaves nothing"),
        (MLP((4,), 3, width=[]), None, "output.weight leaves nothing to prune"),
        (nn.BatchNorm1d(3), None, "this network leaves nothing to prune; there are no layers"),
    ],
)
def test_nothing_left_to_prune_is_refused(model, patterns, message):
    with pytest.raises(ValueError, match=f"^ignore: {message}"):
        masks.prunable_layers(model).ignored_layers(patterns)


MASK = {
    "hidden.0.weight": torch.tensor([[1, 0], [1, 1], [0, 0]]).bool(),
    "output.weight": torch.tensor([[1, 0, 1], [0, 1, 1]]).bool(),
}


def model(num_classes=2):
    return MLP((2,), num_classes, width=[3])


def shapes(of):
    return {name: parameter.shape for name, parameter in of.named_parameters()}


def test_counts_and_density():
    assert masks.num_kept(MASK) == {"hidden.0.weight": 3, "output.weight": 4}
    assert masks.density(MASK) == 7 / 12
    assert masks.density(masks.dense_mask({"a": torch.Size([2, 3])})) == 1


def test_the_table_has_a_row_a_layer_and_the_total():
    assert masks.sparsity_table(MASK) == [
        ("hidden.0.weight", 6, 3, 0.5, 0.5),
        ("output.weight", 6, 4, 4 / 6, 2 / 6),
        ("total", 12, 7, 7 / 12, 5 / 12),
    ]
    assert len(masks.COLUMNS) == 5


def test_a_mask_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "mask.safetensors"
    masks.save_mask(path, MASK, {"level": 3})
    found = masks.load_mask(path)
    assert found.keys() == MASK.keys()
    assert all(found[name].dtype == torch.bool and found[name].equal(MASK[name]) for name in MASK)
    assert files.load_tensors(path)[1] == {"kind": "mask", "level": 3}


def test_weights_are_no_mask(tmp_path):
    path = tmp_path / "step_3.safetensors"
    files.save_weights(path, {"a": torch.ones(2)}, {"kind": "plain"})
    with pytest.raises(ValueError, match=r"step_3.safetensors holds no mask but weights \(plain\)"):
        masks.load_mask(path)


def test_a_mask_of_another_model_is_refused():
    masks.check_mask(MASK, shapes(model()))
    message = "^a mask of another model: it has hidden.0.weight, and the model has 0.weight, 0.bias"
    with pytest.raises(ValueError, match=message):
        masks.check_mask(MASK, shapes(nn.Sequential(nn.Linear(2, 3))))
    message = r"^a mask of another model: its output.weight has shape \(2, 3\), and .* \(5, 3\)$"
    with pytest.raises(ValueError, match=message):
        masks.check_mask(MASK, shapes(model(5)))


def test_an_empty_layer_is_named():
    masks.check_not_empty(MASK, "level 3")
    empty = MASK | {"output.weight": torch.zeros(2, 3, dtype=torch.bool)}
    with pytest.raises(ValueError, match="^level 3 would empty output.weight: no weight is left"):
        masks.check_not_empty(empty, "level 3")


def test_a_fresh_output_layer_keeps_every_weight():
    found = masks.adapt_to_output_layer(MASK, model(5), "output.weight")
    assert found["hidden.0.weight"].equal(MASK["hidden.0.weight"])
    assert found["output.weight"].shape == (5, 3) and found["output.weight"].all()
    same = masks.adapt_to_output_layer(MASK, model(), "output.weight")
    assert all(same[name].equal(MASK[name]) for name in MASK)
    with pytest.raises(ValueError, match="another model: its hidden.0.weight has shape"):
        masks.adapt_to_output_layer(MASK, MLP((2,), 2, width=[4]), "output.weight")


def test_a_mask_is_applied_wherever_its_names_are():
    ones = {"output.weight": torch.ones(2, 3), "output.bias": torch.ones(2)}
    state = {"num": 3, "mean": ones, "snapshots": [ones, {"output.weight": torch.ones(1)}]}
    found = masks.apply_mask(state, MASK)
    expected = MASK["output.weight"].float()
    assert found["num"] == 3
    assert found["mean"]["output.weight"].equal(expected)
    assert found["mean"]["output.bias"].equal(torch.ones(2))
    assert found["snapshots"][0]["output.weight"].equal(expected)
    assert found["snapshots"][1]["output.weight"].equal(torch.ones(1))
    assert ones["output.weight"].equal(torch.ones(2, 3))  # what was given stays


NAMES = ["a", "b"]


def mask():
    generator = torch.Generator().manual_seed(0)
    sizes = {"a": (30, 20), "b": (10, 5, 4), "output": (5, 10)}
    shares = {"a": 0.1, "b": 0.6, "output": 0.5}
    return {n: torch.rand(size, generator=generator) < shares[n] for n, size in sizes.items()}


def total(of):
    return sum(masks.num_kept({name: of[name] for name in NAMES}).values())


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even", "identity"])
def test_as_many_weights_are_kept_and_other_layers_are_left_alone(strategy):
    before, given = mask(), mask()
    found = shuffle_mask(given, strategy, NAMES, seed=1)
    assert list(found) == list(before)
    assert total(found) == total(before)
    assert found["output"].equal(before["output"])
    assert all(found[n].shape == before[n].shape and found[n].dtype == torch.bool for n in before)
    assert all(given[name].equal(before[name]) for name in before)
    same = all(found[name].equal(before[name]) for name in NAMES)
    assert same == (strategy == "identity")


def test_layerwise_keeps_the_count_of_each_layer():
    assert masks.num_kept(shuffle_mask(mask(), "layerwise", NAMES, 1)) == masks.num_kept(mask())


def test_global_moves_weights_between_layers_towards_one_density():
    kept = masks.num_kept(shuffle_mask(mask(), "global", NAMES, 1))
    share = total(mask()) / 800
    assert kept != masks.num_kept(mask())
    assert abs(kept["a"] / 600 - share) < 0.05 and abs(kept["b"] / 200 - share) < 0.1


def test_even_gives_each_layer_the_same_density():
    kept = masks.num_kept(shuffle_mask(mask(), "even", NAMES, 1))
    share = total(mask()) / 800
    assert abs(kept["a"] - share * 600) < 1 and abs(kept["b"] - share * 200) < 1


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even"])
def test_a_shuffle_depends_on_its_seed(strategy):
    first, again, other = (shuffle_mask(mask(), strategy, NAMES, seed)["a"] for seed in (1, 1, 2))
    assert first.equal(again) and not first.equal(other)


def test_another_strategy_is_refused():
    with pytest.raises(
        ValueError, match="^strategy: must be layerwise, global, even or identity, g"
    ):
        shuffle_mask(mask(), "odd", NAMES, 1)


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even"])
def test_places_of_a_ticket_are_drawn_among_its_own(strategy):
    generator = torch.Generator().manual_seed(1)
    given = mask()
    first = {
        n: part | (torch.rand(part.shape, generator=generator) < 0.5) for n, part in given.items()
    }
    found = shuffle_mask(given, strategy, NAMES, seed=1, first=first)
    assert total(found) == total(given)
    assert all(not (found[name] & ~first[name]).any() for name in NAMES)
    assert any(not found[name].equal(given[name]) for name in NAMES)


@pytest.mark.parametrize("strategy", ["layerwise", "global", "even"])
def test_a_ticket_with_all_weights_is_a_dense_network(strategy):
    dense = {name: torch.ones_like(part) for name, part in mask().items()}
    found = [shuffle_mask(mask(), strategy, NAMES, 1, first) for first in (None, dense)]
    assert all(found[0][name].equal(found[1][name]) for name in found[0])
