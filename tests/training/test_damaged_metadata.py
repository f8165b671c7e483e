"""Weights whose metadata is damaged end in one error that can be mended, never in a traceback."""

import copy

import pytest

from isthmus.averaging import checkpoints
from isthmus.config.launch import ConfigError
from isthmus.models.mlp import MLP
from isthmus.store import files
from isthmus.training import evaluator
from isthmus.training.options import SavedOptions
from tests import toys

METADATA = {
    "config": {
        "model": {"_target_": "isthmus.models.mlp.MLP", "_partial_": True, "width": [3]},
        "dataset": {"_target_": "isthmus.data.digits.Digits", "val_fraction": 0.1},
        "precision": "fp32",
        "global_seed": 1,
        "seeds": {"label_noise": None},
    },
    "input_shape": [1, 8, 8],
    "num_classes": 10,
    "classes": list("0123456789"),
    "normalization": {"mean": [0.3], "std": [0.4], "scale": 16.0},
    "kind": "plain",
    "iteration": 3,
    "iterations_per_epoch": 3,
}
PLACES = [
    *(("config", name) for name in METADATA["config"]),
    *((name,) for name in METADATA),
    ("config", "model", "_target_"),
    ("config", "model", "width"),
    ("config", "dataset", "_target_"),
    ("config", "dataset", "val_fraction"),
    ("config", "seeds", "label_noise"),
    ("normalization", "mean"),
    ("normalization", "scale"),
]
GONE = object()
WRONG = [GONE, None, [], {}, "x", -1, 1.5, [None], {"_target_": "os.system"}]


def damaged(place, value):
    found = copy.deepcopy(METADATA)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner.pop(place[-1])
    if value is not GONE:
        inner[place[-1]] = value
    return found


@pytest.fixture
def evaluate(tmp_path):
    """Reads weights with some metadata, makes their network and their data, and compares them."""

    def read(metadata):
        path = tmp_path / "weights.safetensors"
        model = MLP((1, 8, 8), 10, width=[3])
        files.save_weights(path, model.state_dict(), metadata)
        weights, said = files.load_weights(path)
        made = evaluator.saved_evaluator(
            said, SavedOptions(runtime=toys.RUNTIME, output_dir=str(tmp_path))
        )
        checkpoints.check_architectures([path])
        return made, said["kind"]

    return read


def test_whole_metadata_makes_a_network(evaluate):
    made, kind = evaluate(METADATA)
    assert isinstance(made.model, MLP) and kind == "plain"


@pytest.mark.parametrize("place", PLACES, ids=".".join)
@pytest.mark.parametrize("value", WRONG, ids=lambda v: "gone" if v is GONE else repr(v))
def test_damaged_metadata_is_an_error_of_one_kind_or_makes_no_difference(evaluate, place, value):
    try:
        evaluate(damaged(place, value))
    except (ValueError, ConfigError, FileNotFoundError) as error:
        assert len(str(error).splitlines()) <= 3


@pytest.mark.parametrize("value", WRONG[1:])
@pytest.mark.parametrize("name", ["input_shape", "num_classes"])
def test_what_a_network_is_made_of_is_named_with_the_file(evaluate, name, value):
    with pytest.raises(ValueError, match=f"weights.safetensors: its metadata: {name} must be"):
        evaluate(damaged((name,), value))


@pytest.mark.parametrize("name", ["config", "input_shape", "num_classes", "kind"])
def test_what_is_missing_is_named_with_the_file(evaluate, name):
    with pytest.raises(ValueError, match=f"weights.safetensors: its metadata lacks {name}"):
        evaluate(damaged((name,), GONE))


@pytest.mark.parametrize("text", ["", "x", "[1]", "{", "null"])
def test_metadata_that_is_no_object_is_named_with_the_file(tmp_path, text):
    with pytest.raises(ValueError, match="a.safetensors: its metadata"):
        files.parse_metadata(text, tmp_path / "a.safetensors")
