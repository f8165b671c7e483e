from typing import Any

import pytest

from isthmus.config import validation

PARTS = """
class Digits:
    def __init__(self, root: str | None = None, val_fraction: float = 0.1): ...
class Folder:
    def __init__(self, root: str, cache_dir: str = "c", size: int = 8): ...
class Made:
    def __init__(self, num_examples: int = 10): ...
def sgd(parameters, lr: float): ...
def adam(parameters, lr: float): ...
"""


@pytest.fixture(autouse=True)
def parts(sources):
    sources({"parts.py": PARTS})


def values(**pretrain: Any) -> dict[str, Any]:
    """A configuration of `spawn.py` with a section `pretrain`."""
    off = {"weights": None, "fingerprint": None}
    return {
        "dataset": {"_target_": "isthmus.parts.Digits", "root": "data", "val_fraction": 0.1},
        "model": {"_target_": "isthmus.parts.Net", "width": 3},
        "optimizer": {"_target_": "isthmus.parts.sgd", "lr": 0.1},
        "scheduler": {"_target_": "isthmus.parts.constant"},
        "averaged": {"_target_": "isthmus.parts.Ema"},
        "parametrization": {"_target_": "isthmus.parts.Wide"},
        "hparams": {"epochs": 3, "steps": None, "batch_size": 16},
        "seeds": {"dropout": None},
        "runtime": {"device": "cpu"},
        "precision": "bf16",
        "global_seed": 5,
        "snapshots": ["1ep"],
        "save_predictions": True,
        "output_dir": "outputs",
        "child_seeds": [1, 2],
        "pretrain": off | dict.fromkeys(validation.TRAINING_PARTS) | pretrain,
    }


@pytest.mark.parametrize("off", [None, {}])
def test_without_values_of_its_own_there_is_no_training_before(off):
    assert not validation.has_training(values())
    assert not validation.has_training(values(**dict.fromkeys(validation.TRAINING_PARTS, off)))
    assert not validation.has_training(values(weights="a.safetensors"))
    assert not validation.has_training({"pretrain": None})
    assert not validation.has_training({})


@pytest.mark.parametrize(
    "own",
    [{"hparams": {"epochs": 1}}, {"optimizer": {"lr": 1.0}}, {"dataset": {"val_fraction": 0}}],
)
def test_any_value_of_its_own_makes_a_training_before(own):
    assert validation.has_training(values(**own))


def test_it_is_the_training_but_for_the_values_of_its_own():
    given = values(hparams={"epochs": 1}, optimizer={"lr": 0.5})
    found = validation.merge_section(given)
    assert found == {
        **{key: value for key, value in given.items() if key not in ("child_seeds", "pretrain")},
        "hparams": {"epochs": 1, "steps": None, "batch_size": 16},
        "optimizer": {"_target_": "isthmus.parts.sgd", "lr": 0.5},
    }


def test_a_part_of_another_kind_takes_over_no_value():
    own = {"_target_": "isthmus.parts.adam", "lr": 0.001}
    assert validation.merge_section(values(optimizer=own))["optimizer"] == own
    scheduler = {"_target_": "isthmus.parts.cosine"}
    assert validation.merge_section(values(scheduler=scheduler))["scheduler"] == scheduler


@pytest.mark.parametrize(
    ("own", "root"),
    [
        ({"_target_": "isthmus.parts.Folder"}, "data"),
        ({"_target_": "isthmus.parts.Folder", "root": None}, "data"),
        ({"_target_": "isthmus.parts.Folder", "root": "/own"}, "/own"),
    ],
)
def test_another_data_set_is_looked_for_where_the_first_one_is(own, root):
    found = validation.merge_section(values(dataset=own))["dataset"]
    assert found == {"_target_": "isthmus.parts.Folder", "root": root}


@pytest.mark.parametrize(
    "target", ["isthmus.parts.Made", "isthmus.parts.Nothing", "isthmus.nowhere.Made"]
)
def test_a_data_set_without_a_place_is_given_none(target):
    own = {"_target_": target, "num_examples": 3}
    assert validation.merge_section(values(dataset=own))["dataset"] == own


def test_values_of_the_data_set_keep_its_place():
    found = validation.merge_section(values(dataset={"val_fraction": 0.5}))["dataset"]
    assert found == {"_target_": "isthmus.parts.Digits", "root": "data", "val_fraction": 0.5}


def test_epochs_of_its_own_take_the_place_of_the_steps_of_the_training():
    given = values(hparams={"epochs": 1}) | {"hparams": {"epochs": 3, "steps": "600it"}}
    assert validation.merge_section(given)["hparams"] == {"epochs": 1, "steps": None}
    given["pretrain"]["hparams"] = {"epochs": 1, "steps": "2it"}
    assert validation.merge_section(given)["hparams"] == {"epochs": 1, "steps": "2it"}
    given["pretrain"]["hparams"] = {"batch_size": 4}
    assert validation.merge_section(given)["hparams"]["steps"] == "600it"


def test_another_section_has_a_training_in_the_same_way():
    given = values() | {
        "retrain": dict.fromkeys(validation.TRAINING_PARTS) | {"hparams": {"epochs": 1}}
    }
    assert validation.has_training(given, "retrain") and not validation.has_training(given)
    assert validation.merge_section(given, "retrain")["hparams"]["epochs"] == 1


def test_its_length_is_that_of_its_hyperparameters():
    assert validation.pretraining_length(values()) == "0"
    assert validation.pretraining_length(values(hparams={"epochs": 2})) == "2ep"
    assert validation.pretraining_length(values(hparams={"steps": "30it"})) == "30it"
    assert validation.pretraining_length(values(optimizer={"lr": 1.0})) == "3ep"


def test_the_values_of_the_training_are_left_alone():
    given = values(hparams={"epochs": 1}, dataset={"_target_": "isthmus.parts.Folder"})
    given["hparams"]["steps"] = "600it"
    validation.merge_section(given)
    assert given["hparams"] == {"epochs": 3, "steps": "600it", "batch_size": 16}
    assert given["pretrain"]["dataset"] == {"_target_": "isthmus.parts.Folder"}


def test_a_file_or_a_training_but_not_both():
    assert validation.pretraining_errors(values()) == []
    assert validation.pretraining_errors(values(weights="a.safetensors")) == []
    assert validation.pretraining_errors(values(hparams={"epochs": 1})) == []
    both = values(weights="a.safetensors", hparams={"epochs": 1}, optimizer={"lr": 1.0})
    assert validation.pretraining_errors(both) == [
        "pretrain.weights=a.safetensors: takes the place of a training, so not "
        "pretrain.optimizer, pretrain.hparams"
    ]
