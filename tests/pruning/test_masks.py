import pytest
import torch
from torch import nn

from isthmus.models.mlp import MLP
from isthmus.store import files
from isthmus.training import masks

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
