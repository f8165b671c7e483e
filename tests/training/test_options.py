from typing import Any

import pytest

from isthmus.config import schema
from isthmus.config.parts import Part
from isthmus.training.options import Pretrained, TrainingSection, Tune
from tests import toys
from tests.values import defaults

AVERAGED = Part("averaged", "x")


def tune(**changes: Any) -> Tune:
    held_out = Part("dataset", "x", {"val_fraction": 0.2})
    return toys.options(Tune, **({"averaged": AVERAGED, "dataset": held_out} | changes))


def evaluation(**accuracies):
    return {name: {"val": {"accuracy": value, "loss": 1.0}} for name, value in accuracies.items()}


def test_a_search_that_has_what_it_compares_by_can_run():
    assert tune().errors() == []
    assert tune(averaged=None, maximize_averaged=False).errors() == []


def test_a_search_by_an_average_needs_one():
    (error,) = tune(averaged=None).errors()
    assert error.startswith("maximize_averaged=true: ")


def test_a_search_needs_a_validation_split():
    errors = tune(averaged=None, dataset=Part("dataset", "x", {"val_fraction": 0})).errors()
    assert len(errors) == 2
    assert errors[1].startswith("dataset.val_fraction=0: ")


def test_a_trial_has_the_accuracy_of_its_averaged_model_or_of_the_plain_one():
    one = evaluation(plain=0.5, best=0.9, **{"ema_0.9": 0.7})
    assert tune().objective(one) == 0.7
    assert tune(maximize_averaged=False).objective(one) == 0.5
    several = evaluation(plain=0.5, best=0.9, **{"ema_0.9": 0.7, "ema_0.99": 0.8})
    assert tune().objective(several) == 0.8


PARTS = """
class Digits:
    def __init__(self, root: str | None = None, val_fraction: float = 0.1): ...
class Folder:
    def __init__(self, root: str, cache_dir: str = "c", size: int = 8): ...
class Made:
    def __init__(self, num_examples: int = 10): ...
class Net:
    def __init__(self, input_shape, num_classes, width: int = 64): ...
def sgd(parameters, lr: float): ...
def adam(parameters, lr: float): ...
def constant(iterations, iterations_per_epoch): ...
def cosine(iterations, iterations_per_epoch): ...
"""


@pytest.fixture(autouse=True)
def parts(sources):
    sources({"parts.py": PARTS})


def values(**pretrain: Any) -> dict[str, Any]:
    """A configuration of a training with a section `pretrain`."""
    found = defaults(
        Pretrained,
        dataset={"_target_": "isthmus.parts.Digits", "root": "data", "val_fraction": 0.1},
        model={"_target_": "isthmus.parts.Net", "width": 3},
        optimizer={"_target_": "isthmus.parts.sgd", "lr": 0.1},
        scheduler={"_target_": "isthmus.parts.constant"},
        precision="bf16",
        global_seed=5,
        snapshots=["1ep"],
    )
    found["hparams"] |= {"epochs": 3, "batch_size": 16}
    found["pretrain"] |= pretrain
    return found


def options(**pretrain: Any) -> Pretrained:
    return schema.make_options(Pretrained, values(**pretrain))


def pretraining(**pretrain: Any) -> dict[str, Any]:
    earlier = options(**pretrain).pretraining
    assert earlier is not None
    return schema.to_values(earlier)


PART_NAMES = ("dataset", "optimizer", "scheduler", "hparams")


@pytest.mark.parametrize("off", [None, {}])
def test_without_values_of_its_own_there_is_no_training_before(off):
    assert options().pretraining is None
    assert options(**dict.fromkeys(PART_NAMES, off)).pretraining is None
    assert options(weights="a.safetensors").pretraining is None


@pytest.mark.parametrize(
    "own",
    [{"hparams": {"epochs": 1}}, {"optimizer": {"lr": 1.0}}, {"dataset": {"val_fraction": 0}}],
)
def test_any_value_of_its_own_makes_a_training_before(own):
    assert options(**own).pretraining is not None


def test_it_is_the_training_but_for_the_values_of_its_own():
    found = pretraining(hparams={"epochs": 1}, optimizer={"lr": 0.5})
    expected = {key: value for key, value in values().items() if key not in ("pretrain", "typed")}
    expected["hparams"] |= {"epochs": 1, "steps": None}
    expected["optimizer"] = {"_target_": "isthmus.parts.sgd", "lr": 0.5}
    assert found == expected


def test_a_part_of_another_kind_takes_over_no_value():
    own = {"_target_": "isthmus.parts.adam", "lr": 0.001}
    assert pretraining(optimizer=own)["optimizer"] == own
    scheduler = {"_target_": "isthmus.parts.cosine"}
    assert pretraining(scheduler=scheduler)["scheduler"] == scheduler


@pytest.mark.parametrize(
    ("own", "root"),
    [
        ({"_target_": "isthmus.parts.Folder"}, "data"),
        ({"_target_": "isthmus.parts.Folder", "root": None}, "data"),
        ({"_target_": "isthmus.parts.Folder", "root": "/own"}, "/own"),
    ],
)
def test_another_data_set_is_looked_for_where_the_first_one_is(own, root):
    assert pretraining(dataset=own)["dataset"] == {"_target_": "isthmus.parts.Folder", "root": root}


@pytest.mark.parametrize(
    "target", ["isthmus.parts.Made", "isthmus.parts.Nothing", "isthmus.nowhere.Made"]
)
def test_a_data_set_without_a_place_is_given_none(target):
    own = {"_target_": target, "num_examples": 3}
    assert pretraining(dataset=own)["dataset"] == own


def test_values_of_the_data_set_keep_its_place():
    found = pretraining(dataset={"val_fraction": 0.5})["dataset"]
    assert found == {"_target_": "isthmus.parts.Digits", "root": "data", "val_fraction": 0.5}


@pytest.mark.parametrize(
    ("own", "steps"),
    [({"epochs": 1}, None), ({"epochs": 1, "steps": "2it"}, "2it"), ({"batch_size": 4}, "600it")],
)
def test_epochs_of_its_own_take_the_place_of_the_steps_of_the_training(own, steps):
    given = values(hparams=own)
    given["hparams"]["steps"] = "600it"
    earlier = schema.make_options(Pretrained, given).pretraining
    assert earlier.hparams.steps == steps


def test_any_section_has_a_training_in_the_same_way():
    section = TrainingSection(hparams={"epochs": 1})
    assert section.training(options()).hparams.epochs == 1


def test_its_length_is_that_of_its_hyperparameters():
    assert options().pretraining_length == "0"
    assert options(hparams={"epochs": 2}).pretraining_length == "2ep"
    assert options(hparams={"steps": "30it"}).pretraining_length == "30it"
    assert options(optimizer={"lr": 1.0}).pretraining_length == "3ep"


def test_a_file_or_a_training_but_not_both():
    for alone in ({}, {"weights": "a.safetensors"}, {"hparams": {"epochs": 1}}):
        assert options(**alone).pretrain.errors() == []
    both = options(weights="a.safetensors", hparams={"epochs": 1}, optimizer={"lr": 1.0})
    (error,) = both.pretrain.errors()
    assert error.startswith("weights=a.safetensors: ")
    assert error.endswith(" pretrain.optimizer, pretrain.hparams")
