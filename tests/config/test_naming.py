import dataclasses
import hashlib
from typing import Any

import pytest

from isthmus.averaging.options import Eval
from isthmus.branching import options as branching_options
from isthmus.config import naming
from isthmus.config import schema as config_schema
from isthmus.connectivity import options as connectivity_options
from isthmus.training import options as training_options
from isthmus.training.options import Train
from tests.values import defaults

SCRIPT = connectivity_options.Interpolate
BRANCHES = connectivity_options.InterpolateBranches
LINE, PLANE = connectivity_options.InterpolateLine, connectivity_options.InterpolatePlane


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ({}, BRANCHES),
        ({"k1": "???", "k2": "???", "start": None, "end": None, "plane": None}, BRANCHES),
        ({"k1": 0, "k2": 1}, BRANCHES),
        ({"start": "a", "end": "b"}, LINE),
        ({"end": "b"}, LINE),
        ({"plane": ["a", "b", "c"]}, PLANE),
        ({"plane": []}, PLANE),
        ({"k1": 1, "k2": 3, "start": "a", "end": "b"}, LINE),  # k1 and k2 of an experiment
        ({"k1": 1, "start": "a", "plane": ["a", "b", "c"]}, PLANE),
    ],
)
def test_what_is_done_follows_from_the_options_that_have_a_value(values, chosen):
    assert naming.choose_mode(SCRIPT, values) == chosen


@pytest.mark.parametrize("cls", [training_options.Train, branching_options.Spawn, Eval])
def test_a_script_that_does_one_thing_does_that(cls):
    assert naming.choose_mode(cls, {"start": "a"}) == cls
    assert naming.missing_mode({}, cls) == []
    assert naming.options_of_other_mode(cls, cls, ["start", "checkpoint"]) == []


@pytest.mark.parametrize(
    ("schema", "typed", "start"),
    [
        (LINE, ["k1"], "k1: not with start and end, which takes dataset, runtime, "),
        (LINE, ["model"], "model: not with start and end, which takes "),
        (LINE, ["hparams.epochs", "hparams.steps"], "hparams: not with start and end, which takes"),
        (PLANE, ["alphas"], "alphas: not with plane, which takes "),
        (BRANCHES, ["margin"], "margin: not with k1 and k2, which takes "),
    ],
)
def test_an_option_of_something_else_is_refused_once_with_those_that_there_are(
    schema, typed, start
):
    (error,) = naming.options_of_other_mode(schema, SCRIPT, typed)
    assert error.startswith(start)
    assert "contents" not in error


@pytest.mark.parametrize(
    ("schema", "typed"),
    [
        (LINE, ["start", "end", "alphas", "bn", "dataset.root", "runtime.device", "output_dir"]),
        (PLANE, ["plane", "project", "margin", "points"]),
        (BRANCHES, ["k1", "k2", "model", "hparams.epochs", "child_seeds", "pretrain.weights"]),
        (LINE, ["experiment", "hydra.launcher.n_jobs", "nowhere"]),  # for others to refuse
    ],
)
def test_options_of_what_is_done_are_no_strangers(schema, typed):
    assert naming.options_of_other_mode(schema, SCRIPT, typed) == []


def test_a_script_that_was_not_told_what_to_do_says_what_there_is():
    (error,) = naming.missing_mode({"k1": "???", "k2": "???", "start": None}, SCRIPT)
    assert error == (
        "k1=... and k2=..., or start=... and end=..., or plane=... says what to do; --help says "
        "what each means"
    )
    for told in ({"k1": 0}, {"end": "b"}, {"plane": []}):
        assert naming.missing_mode(told, SCRIPT) == []


PARTS = """
class Net:
    def __init__(self, input_shape, num_classes, width: int = 64, bias: bool = True): ...
def sgd(parameters, lr: float, momentum: float = 0.0): ...
def constant(iterations, iterations_per_epoch, warmup: Step = "0ep"): ...
class Ema:
    def __init__(self, decay: float | list[float] = 0.999): ...
class Digits:
    def __init__(self, root: str | None = None, cache_dir: str = "c", cutout: int = 0): ...
"""


@pytest.fixture(autouse=True)
def parts(sources):
    sources({"parts.py": PARTS})


def train(**changes: Any) -> dict[str, Any]:
    """A configuration of `train.py`, with changes: `hparams={"epochs": 1}`, `averaged=None`."""
    values = defaults(Train)
    values |= {
        "dataset": {"_target_": "isthmus.parts.Digits", "root": "data"},
        "model": {"_target_": "isthmus.parts.Net", "_partial_": True},
        "optimizer": {"_target_": "isthmus.parts.sgd", "_partial_": True, "lr": 0.1},
        "scheduler": {"_target_": "isthmus.parts.constant"},
        "averaged": {"_target_": "isthmus.parts.Ema"},
    }
    for name, change in changes.items():
        merges = isinstance(change, dict) and isinstance(values[name], dict)
        values[name] = values[name] | change if merges else change
    return values


def evaluation(**changes: Any) -> dict[str, Any]:
    values = defaults(Eval, checkpoint="a.safetensors")
    return values | {"dataset": {"root": "data"}} | changes


def name(**changes: Any) -> str:
    return naming.run_name(train(**changes), Train)


PINNED = [
    ({}, "e355ade397"),
    ({"averaged": None}, "a266f8bfba"),
    ({"optimizer": {"lr": 0.5, "momentum": 0.9}}, "bfefd94074"),
    ({"model": {"width": [300, 100], "init": "orthogonal", "bias": False}}, "15ac0b7c72"),
    ({"hparams": {"steps": "600it", "batch_size": 64}, "precision": "bf16"}, "0cc2312352"),
    (
        {"seeds": {"data_order": 7}, "save_predictions": False, "dataset": {"cutout": 16}},
        "75be0a303e",
    ),
]


@pytest.mark.parametrize(("changes", "pinned"), PINNED)
def test_names_stay_what_they_were(changes, pinned):
    # Another name would lose every finished run.
    assert name(**changes) == pinned


def test_the_name_of_an_evaluation_stays_what_it_was():
    assert naming.run_name(evaluation(), Eval) == "7fefeae099"
    assert naming.run_name(evaluation(splits=["test"], bn="reset"), Eval) == "4722e0e615"


def test_a_name_is_the_hash_of_what_is_not_default():
    text = (
        '{"averaged": {"_target_": "Ema"}, '
        '"dataset": {"_target_": "Digits"}, '
        '"hparams": {"epochs": 2}, "model": {"_target_": "Net", "width": [3, 4]}, '
        '"optimizer": {"_target_": "sgd", "lr": 0.1}, '
        '"scheduler": {"_target_": "constant"}}'
    )
    digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
    assert name(hparams={"epochs": 2}, model={"width": [3, 4]}) == digest


def test_different_pinned_configurations_have_different_names():
    assert len({pinned for _, pinned in PINNED}) == len(PINNED)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"width": 64, "bias": True}},
        {"model": {"init": "kaiming_normal", "freeze": [], "freeze_exceptions": []}},
        {"optimizer": {"momentum": 0}},
        {"scheduler": {"warmup": "0ep"}},
        {"averaged": {"decay": 0.999}},
        {"parametrization": None},
        {"parametrization": {}},
        {"parametrization": {"std": 1.0}},  # of none
        {"hparams": {"epochs": 180, "patience": None}},
        {"seeds": {"dropout": None}},
        {"precision": "fp32"},
    ],
)
def test_a_value_equal_to_its_default_is_left_out(changes):
    assert name(**changes) == name()


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime": {"device": "cuda:1", "compile": True, "num_workers": 0}},
        {"global_seed": 7},
        {"snapshots": ["1ep"]},
        {"snapshots": "every"},
        {"output_dir": "elsewhere"},
        {"dataset": {"root": "/data"}},
        {"dataset": {"cache_dir": "/scratch"}},
    ],
)
def test_what_does_not_change_the_result_does_not_rename(changes):
    assert name(**changes) == name()


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"width": 65}},
        {"model": {"width": [64]}},
        {"model": {"init": "orthogonal"}},
        {"model": {"freeze": ["output"]}},
        {"optimizer": {"lr": 0.2}},
        {"scheduler": {"warmup": "5ep"}},
        {"averaged": {"decay": [0.999]}},
        {"averaged": None},
        {"dataset": {"cutout": 1}},
        {"hparams": {"epochs": 181}},
        {"hparams": {"steps": "1it"}},
        {"hparams": {"patience": 1}},
        {"seeds": {"dropout": 0}},
        {"precision": "bf16"},
        {"save_predictions": False},
        {"optimizer": {"unknown": 1}},
    ],
)
def test_every_other_value_renames(changes):
    assert name(**changes) != name()


def test_a_new_argument_with_a_default_renames_no_run(sources):
    before = name(model={"width": 3})
    sources({"parts.py": PARTS.replace("bias: bool = True", "bias: bool = True, depth: int = 2")})
    assert name(model={"width": 3}) == before
    assert name(model={"width": 3, "depth": 2}) == before
    assert name(model={"width": 3, "depth": 3}) != before


def test_another_default_in_the_code_renames_runs_that_took_it_from_a_file(sources):
    before = name(model={"width": 64})
    sources({"parts.py": PARTS.replace("= 64", "= 32")})
    assert name(model={"width": 64}) != before


def test_equal_numbers_are_one_run():
    assert name(optimizer={"lr": 1}) == name(optimizer={"lr": 1.0})
    assert name(averaged={"decay": [1, 0.5]}) == name(averaged={"decay": [1.0, 0.5]})
    assert name(optimizer={"lr": -0.0}) == name(optimizer={"lr": 0})
    assert name(optimizer={"lr": 1}) != name(optimizer={"lr": "1"})


def test_the_order_of_values_does_not_rename():
    values = train(model={"width": 3, "bias": False})
    turned = {key: values[key] for key in reversed(values)}
    turned["model"] = {key: values["model"][key] for key in reversed(values["model"])}
    assert naming.run_name(turned, Train) == naming.run_name(values, training_options.Train)


@pytest.mark.parametrize("off", [None, {}, {"decay": 0.9}])
def test_parts_that_are_off_are_one_run(off):
    assert naming.run_name(train() | {"averaged": off}, Train) == name(averaged=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patient(config_schema.Section):
    patience: int | None = 3


def test_null_in_place_of_a_default_is_not_the_default():
    assert naming.identity({"patience": None}, Patient) == {"patience": None}
    assert naming.identity({"patience": 3}, Patient) == {}


def test_values_for_the_saved_data_set_rename_an_evaluation():
    plain = naming.run_name(evaluation(), Eval)
    assert naming.run_name(evaluation(dataset=None), Eval) == plain
    assert naming.run_name(evaluation(dataset={"root": "/elsewhere"}), Eval) == plain
    assert naming.run_name(evaluation(dataset={"root": "data", "val_seed": 8}), Eval) != plain
    for unused in ({"cutout": 8}, {"augment": True}):  # images are evaluated as they are
        assert naming.run_name(evaluation(dataset={"root": "data"} | unused), Eval) == plain


def test_what_the_check_will_refuse_has_a_name_all_the_same():
    values = train(
        model={"_target_": None}, optimizer={"_target_": "isthmus.nothing.sgd"}, hparams=5
    )
    del values["precision"]
    assert len(naming.run_name(values, Train)) == 10


def test_a_target_outside_src_is_named_with_every_value_given():
    optimizer = {"_target_": "torch.optim.RMSprop", "lr": 0.01, "momentum": 0}
    identity = naming.identity(train() | {"optimizer": optimizer}, Train)
    assert identity["optimizer"] == optimizer


def spawned(**changes: Any) -> str:
    """The name of a run of `spawn.py`."""
    return naming.run_name(spawn_values(**changes), branching_options.Spawn)


def spawn_values(**changes: Any) -> dict[str, Any]:
    """The configuration of `spawn.py`."""
    values = defaults(branching_options.Spawn, child_seeds=[1, 2], spawn_steps=["0ep"]) | train()
    for key, change in changes.items():
        merges = isinstance(change, dict) and isinstance(values[key], dict)
        values[key] = values[key] | change if merges else change
    return values


@pytest.mark.parametrize("changes", [changes for changes, _ in PINNED])
def test_a_spawn_is_named_by_the_training_of_its_parent_and_the_version_of_its_results(changes):
    named = naming.identity(spawn_values(**changes), branching_options.Spawn)
    assert named == naming.identity(train(**changes), Train) | {"results": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {"spawn_steps": "log"},
        {"spawn_step": "1ep"},
        {"only": 3},
        {"child_seeds": [7]},
        {"child_steps": ["1ep"]},
        {"child_length": "2ep"},
        {"averages": ["back_all"]},
        {"num_children": [2]},
        {"models": ["plain"]},
        {"bn": "keep"},
        {"splits": ["val"]},
        {"save_averages": True},
        {"split_merge": {"num_legs": 3, "strategy": "decrease_lr"}},
        {"runtime": {"device": "cuda", "num_jobs": 4}},
        {"global_seed": 5},
        {"snapshots": "every"},
    ],
    ids=str,
)
def test_requests_do_not_rename_a_spawn(changes):
    assert spawned(**changes) == spawned()


def test_every_value_of_spawn_is_a_request_or_is_known_to_rename():
    fields = config_schema.fields(branching_options.Spawn)
    own = fields.keys() - config_schema.fields(Train).keys()
    assert {name for name in own if fields[name].metadata["in_name"]} == {"vary", "pretrain"}


@pytest.mark.parametrize(
    "changes",
    [
        {"vary": ["data_order"]},
        {"vary": []},
        {"pretrain": {"hparams": {"epochs": 1}}},
        {"pretrain": {"optimizer": {"lr": 0.5}}},
        {"pretrain": {"dataset": {"cutout": 3}}},
        {"pretrain": {"dataset": {"_target_": "isthmus.parts.Digits"}}},
        {"pretrain": {"scheduler": {"_target_": "isthmus.parts.constant", "warmup": "1ep"}}},
        {"pretrain": {"weights": "a.safetensors", "fingerprint": "0123456789"}},
    ],
    ids=str,
)
def test_what_children_vary_in_and_what_the_parent_begins_from_rename_a_spawn(changes):
    assert spawned(**changes) != spawned()


def test_different_pretrainings_have_different_names():
    own = [{"hparams": {"epochs": 1}}, {"hparams": {"epochs": 2}}, {"optimizer": {"lr": 1.0}}]
    assert len({spawned(pretrain=changes) for changes in own}) == len(own)


def test_given_weights_name_a_spawn_by_what_they_are_not_by_where_they_lie():
    def of(path, fingerprint):
        return spawned(pretrain={"weights": path, "fingerprint": fingerprint})

    assert of("a.safetensors", "0123456789") == of("/moved/b.safetensors", "0123456789")
    assert of("a.safetensors", "0123456789") != of("a.safetensors", "9876543210")


@pytest.mark.parametrize("off", [None, {}])
def test_no_pretraining_is_one_run_however_it_is_written(off):
    parts = dict.fromkeys(("dataset", "optimizer", "scheduler", "hparams"), off)
    assert spawned(pretrain=parts) == spawned()


def test_the_place_of_the_data_of_a_pretraining_does_not_rename():
    target = {"_target_": "isthmus.parts.Digits", "cutout": 3}
    elsewhere = {"root": "/elsewhere", "cache_dir": "/scratch"}
    expected = spawned(pretrain={"dataset": target})
    assert spawned(pretrain={"dataset": target | elsewhere}) == expected
    expected = spawned(pretrain={"dataset": {"cutout": 3}})
    assert spawned(pretrain={"dataset": {"cutout": 3} | elsewhere}) == expected


def interpolated(mode: type = BRANCHES, **changes: Any) -> str:
    """The name of a run of `interpolate.py`."""
    if mode is BRANCHES:
        own = defaults(BRANCHES, k1=1, k2=5) | train()
    else:
        own = defaults(mode, contents=["01", "23", "45"], dataset={"root": "data"})
    for key, change in changes.items():
        merges = isinstance(change, dict) and isinstance(own[key], dict)
        own[key] = own[key] | change if merges else change
    return naming.run_name(own, mode)


@pytest.mark.parametrize("changes", [changes for changes, _ in PINNED])
def test_branches_are_named_as_their_store_of_legs(changes):
    assert interpolated(**changes) == spawned(**changes) != name(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"vary": ["dropout"]},
        {"pretrain": {"hparams": {"epochs": 1}}},
        {"pretrain": {"weights": "a.safetensors", "fingerprint": "0123456789"}},
    ],
    ids=str,
)
def test_what_renames_a_spawn_renames_the_lines_between_its_branches(changes):
    assert interpolated(**changes) == spawned(**changes) != interpolated()


def test_the_store_of_legs_has_the_same_name_whatever_is_asked_of_its_lines():
    own = defaults(connectivity_options.InterpolateBranches, k1=[0], k2=[3], bn="keep") | train()
    assert naming.run_name(own, branching_options.Spawn) == spawned()


@pytest.mark.parametrize(
    "changes",
    [
        {"k1": [0, "500it"]},
        {"k2": 3},
        {"child_seeds": [7, 8]},
        {"alphas": [0, 1]},
        {"refine": 5},
        {"align": "weights"},
        {"bn": "repair"},
        {"splits": ["val"]},
        {"runtime": {"device": "cuda", "num_jobs": 4}},
        {"global_seed": 5},
        {"snapshots": "every"},
        {"output_dir": "elsewhere"},
    ],
    ids=str,
)
def test_requests_do_not_rename_lines_between_branches(changes):
    assert interpolated(**changes) == interpolated()


@pytest.mark.parametrize(
    "changes",
    [
        {"start": "/moved/a.safetensors", "end": "b.safetensors"},
        {"alphas": 3},
        {"refine": 5},
        {"align": "activations"},
        {"bn": "average"},
        {"splits": ["val"]},
        {"runtime": {"device": "cuda", "num_jobs": 4}},
        {"output_dir": "elsewhere"},
        {"dataset": {"root": "/data"}},
    ],
    ids=str,
)
def test_requests_and_paths_do_not_rename_the_line_between_saved_networks(changes):
    assert interpolated(LINE, **changes) == interpolated(LINE)


@pytest.mark.parametrize(
    "changes",
    [{"plane": ["a", "b", "/moved/c"]}, {"project": ["d"]}, {"points": 5}, {"splits": ["test"]}],
    ids=str,
)
def test_requests_and_paths_do_not_rename_a_plane(changes):
    assert interpolated(PLANE, **changes) == interpolated(PLANE)


@pytest.mark.parametrize(
    "changes",
    [{"margin": 0.5}, {"align": "weights"}, {"bn": "keep"}],
    ids=str,
)
def test_another_extent_or_other_points_of_a_plane_rename_it(changes):
    assert interpolated(PLANE, **changes) != interpolated(PLANE)


@pytest.mark.parametrize("mode", [LINE, PLANE])
@pytest.mark.parametrize(
    "changes",
    [
        {"contents": ["01", "23", "46"]},
        {"contents": ["23", "01", "45"]},
        {"precision": "fp32"},
        {"dataset": {"val_seed": 8}},
    ],
    ids=str,
)
def test_what_saved_networks_are_and_how_they_are_evaluated_renames(mode, changes):
    assert interpolated(mode, **changes) != interpolated(mode)


def test_a_parametrization_has_a_name_of_its_own_by_its_exponents():
    parts = [{"_target_": "isthmus.parts.Ema", "decay": [0.5, c]} for c in (0.1, 0.2)]
    assert len({name(), *(name(parametrization=part) for part in parts)}) == 3


def test_values_of_the_script_alone_are_named_where_they_are_not_their_defaults():
    own = defaults(training_options.TrainScript)
    own = {key: own[key] for key in ("save_weights", "diagnostics", "pretrain")}
    plain = naming.identity(train() | own, training_options.TrainScript)
    assert plain == naming.identity(train(), Train) | {"results": 1}
    asked = own | {"diagnostics": own["diagnostics"] | {"steps": "log"}}
    names = {
        naming.run_name(train() | each, training_options.TrainScript)
        for each in (own, asked, own | {"save_weights": False})
    }
    assert len(names) == 3


def test_an_option_that_another_one_overrules_does_not_rename():
    with_steps = name(hparams={"steps": "600it"})
    assert name(hparams={"steps": "600it", "epochs": 5}) == with_steps
    own = {"hparams": {"steps": "2it"}}
    assert spawned(pretrain={"hparams": {"steps": "2it", "epochs": 5}}) == spawned(pretrain=own)
