import pytest
import torch

from isthmus.extraction import queries
from isthmus.models.mlp import MLP
from isthmus.store import files


def write(path, target, model, **values):
    node = {"_target_": target, "_partial_": True, **values}
    metadata = {"config": {"model": node}, "input_shape": [1, 8, 8], "num_classes": 3}
    files.save_weights(path, model.state_dict(), metadata)
    return str(path)


@pytest.mark.parametrize("bias", [True, False])
def test_a_teacher_of_a_file_answers_as_its_model_does(bias, tmp_path):
    model = MLP((1, 8, 8), 3, [5, 4], activation="g", bias=bias)
    values = {"width": [5, 4], "activation": "g", "bias": bias}
    teacher = queries.read_teacher(
        write(tmp_path / "a.safetensors", "isthmus.models.mlp.MLP", model, **values)
    )
    inputs = torch.randn(9, 64)
    assert (teacher.num_inputs, teacher.network.widths) == (64, [5, 4, 3])
    torch.testing.assert_close(teacher.outputs(inputs, rows=4), model(inputs).detach())


def test_only_an_mlp_with_a_hidden_layer_is_a_teacher(tmp_path):
    from isthmus.models.cnn import CNN

    path = write(tmp_path / "c.safetensors", "isthmus.models.cnn.CNN", CNN((1, 8, 8), 3))
    with pytest.raises(
        ValueError, match=f"^teacher={path}: is a CNN; only an MLP can be recovered"
    ):
        queries.read_teacher(path)
    model = MLP((1, 8, 8), 3, [])
    path = write(tmp_path / "d.safetensors", "isthmus.models.mlp.MLP", model, width=[])
    with pytest.raises(ValueError, match=f"^teacher={path}: has no hidden layer"):
        queries.read_teacher(path)
    with pytest.raises(FileNotFoundError, match="that folder has c, d"):
        queries.read_teacher(str(tmp_path / "e.safetensors"))


def test_a_synthetic_teacher_is_what_its_seed_says_and_each_unit_matters():
    teacher = queries.synthetic_teacher([4, 8, 5, 2], "tanh", seed=3)
    for layer in teacher.network.layers[:-1]:
        lengths = layer.blocks[0].norm(dim=2)
        torch.testing.assert_close(lengths, torch.full_like(lengths, queries.LENGTH))
        assert layer.bias.abs().max() <= 1
    outgoing = teacher.network.layers[-1].blocks[0].abs() * 5**0.5
    assert outgoing.min() >= 0.5 and outgoing.max() <= 1
    again, other = (queries.synthetic_teacher([4, 8, 5, 2], "tanh", seed) for seed in (3, 4))
    inputs = torch.randn(7, 4)
    assert teacher.outputs(inputs).equal(again.outputs(inputs))
    assert not teacher.outputs(inputs).equal(other.outputs(inputs))
    assert teacher.metadata is None
