import math
from typing import Any

import pytest

from isthmus.averaging.options import Eval
from isthmus.branching.options import Spawn
from isthmus.config import signatures, validation
from isthmus.config.parts import GROUPS
from isthmus.connectivity.options import InterpolateLine, InterpolatePlane
from isthmus.training.options import Train, TrainScript
from tests.values import defaults

PARTS = {
    "parts.py": """
class Net:
    def __init__(self, input_shape: tuple[int, ...], num_classes: int, width: int | list[int] = 64,
                 norm: Literal["batch", "layer"] = "batch"): ...
def sgd(parameters, lr: float, momentum: float = 0.0): ...
def warm(iterations: int, iterations_per_epoch: int, warmup: Step = "0ep"): ...
class Ema:
    def __init__(self, decay: float | list[float]): ...
class Digits:
    def __init__(self, root: str | None = None, anything=None): ...
"""
}


@pytest.fixture(autouse=True)
def parts(sources):
    sources(PARTS)


def train(**changes: Any) -> dict[str, Any]:
    """A configuration of `train.py` that can run, with changes: `hparams={"epochs": 1}`."""
    values = defaults(Train)
    values |= {
        "dataset": {"_target_": "isthmus.parts.Digits", "root": "data"},
        "model": {"_target_": "isthmus.parts.Net", "_partial_": True, "init": "orthogonal"},
        "optimizer": {"_target_": "isthmus.parts.sgd", "lr": 0.1},
        "scheduler": {"_target_": "isthmus.parts.warm"},
        "averaged": {"_target_": "isthmus.parts.Ema", "decay": [0.9, 0.99]},
    }
    for name, change in changes.items():
        merges = isinstance(change, dict) and isinstance(values[name], dict)
        values[name] = values[name] | change if merges else change
    return values


def wrong(**changes: Any) -> list[str]:
    return validation.validation_errors(train(**changes), Train)


def test_a_configuration_that_can_run_has_no_misfits():
    assert wrong() == []
    assert validation.validation_errors(defaults(Eval, checkpoint="x"), Eval) == []


def test_everything_wrong_is_reported_at_once():
    assert wrong(
        dataset={"rot": "data"},
        model={"width": "wide", "init": "none", "depth": 3},
        optimizer={"_target_": "isthmus.parts.SGD"},
        averaged={"decay": "???"},
        hparams={"epochs": "ten", "batch_size": None},
        runtime={"progress": 1},
        precision="fp64",
        global_seed="???",
    ) == [
        "dataset.rot=data: no such option; dataset takes anything, root; did you mean "
        "dataset.root?",
        "model.init=none: must be one of kaiming_normal, kaiming_uniform, xavier_normal, "
        "xavier_uniform, orthogonal, binary",
        "model.width=wide: must be a whole number or a list of (a whole number)",
        "model.depth=3: no such option; model takes bn_init, freeze, freeze_exceptions, init, "
        "norm, width",
        "optimizer._target_: there is no isthmus.parts.SGD; isthmus.parts has Net, sgd, warm, Ema, "
        "Digits",
        "averaged.decay: needs a value, averaged.decay=...",
        "hparams.epochs=ten: must be a whole number",
        "hparams.batch_size=null: must be a whole number",
        "runtime.progress=1: must be true or false",
        "precision=fp64: must be one of fp32, bf16",
        "global_seed: needs a value, global_seed=...",
    ]


def test_an_argument_without_default_needs_a_value():
    parts = {"_target_": "isthmus.parts.sgd", "momentum": 0.9}
    assert validation.validation_errors(train() | {"optimizer": parts}, Train) == [
        "optimizer.lr: needs a value, optimizer.lr=..."
    ]


@pytest.mark.parametrize(
    ("group", "name"),
    [("model", "num_classes"), ("optimizer", "parameters"), ("scheduler", "iterations")],
)
def test_what_the_script_supplies_is_no_option(group, name):
    assert wrong(**{group: {name: 3}})[0].startswith(f"{group}.{name}=3: no such option; {group} ")


@pytest.mark.parametrize("name", ["_args_", "_recursive_", "_convert_", "_anything"])
def test_other_instructions_to_hydra_are_no_options(name):
    (error,) = wrong(optimizer={name: [{"_target_": "os.getcwd"}]})
    assert error.startswith(f"optimizer.{name}=[{{_target_: os.getcwd}}]: no such option; ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        ([1, None, [False, "a"]], "[1,null,[false,a]]"),
        ({"a": None}, "{a: null}"),
    ],
)
def test_a_wrong_value_is_shown_as_it_was_typed(value, shown):
    assert wrong(hparams={"epochs": value}) == [f"hparams.epochs={shown}: must be a whole number"]


@pytest.mark.parametrize("off", [None, {}, {"decay": 0.9}])
def test_an_optional_part_can_be_off(off):
    assert validation.validation_errors(train() | {"averaged": off}, Train) == []


@pytest.mark.parametrize(
    ("node", "shown"), [(None, "null"), ({}, "{}"), ({"lr": 1}, "{lr: 1}"), (5, "5")]
)
def test_a_part_that_the_script_needs_cannot_be_off(node, shown):
    assert validation.validation_errors(train() | {"optimizer": node}, Train) == [
        f"optimizer={shown}: must be an option of the group, see conf/optimizer"
    ]


def test_an_optional_part_must_be_a_part():
    assert wrong(averaged=5) == ["averaged=5: must be an option of the group, see conf/averaged"]


@pytest.mark.parametrize(
    "target", [None, "???", "Net", "isthmus.parts.Nothing", "isthmus.nothing.Net"]
)
def test_a_target_that_is_not_there_is_named(target):
    (error,) = wrong(model={"_target_": target})
    assert error.startswith(f"model._target_: there is no {target}")


def test_a_target_that_cannot_be_imported_is_named_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "unimportable.py").write_text("raise RuntimeError('no such operator')")
    monkeypatch.syspath_prepend(tmp_path)
    (error,) = wrong(model={"_target_": "unimportable.Net"})
    assert error == "model._target_: problem in unimportable - RuntimeError: no such operator"


def test_a_target_outside_src_is_checked_too():
    optimizer = {"_target_": "torch.optim.RMSprop", "lr": 0.1}
    assert validation.validation_errors(train() | {"optimizer": optimizer}, Train) == []
    optimizer |= {"momentum": "much", "nesterov": True}
    errors = validation.validation_errors(train() | {"optimizer": optimizer}, Train)
    assert errors[0] == "optimizer.momentum=much: must be a number"
    assert errors[1].startswith("optimizer.nesterov=true: no such option; optimizer takes alpha, ")


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), (5, "5"), ([], "[]"), ("a", "a")])
def test_a_section_must_have_its_values(value, shown):
    assert wrong(hparams=value) == [
        f"hparams={shown}: must have epochs, steps, batch_size, grad_clip_max_norm, patience, "
        "patience_model"
    ]


def test_a_value_that_was_deleted_is_missed():
    values = train()
    del values["precision"], values["seeds"]["dropout"]
    assert validation.validation_errors(values, Train) == [
        "seeds.dropout: needs a value, seeds.dropout=...",
        "precision: needs a value, precision=...",
    ]


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("hparams", "epochs"),
        ("hparams", "batch_size"),
        ("hparams", "patience"),
        ("hparams", "grad_clip_max_norm"),
        ("runtime", "num_threads"),
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_a_count_or_norm_must_be_positive(group, name, value):
    assert wrong(**{group: {name: value}}) == [f"{group}.{name}={value}: must be positive"]
    assert wrong(**{group: {name: 1}}) == []


def test_not_a_number_is_not_positive():
    assert wrong(hparams={"grad_clip_max_norm": math.nan}, runtime={"save_every": math.nan}) == [
        "hparams.grad_clip_max_norm=nan: must be positive",
        "runtime.save_every=nan: must not be negative",
    ]


@pytest.mark.parametrize("name", ["num_workers", "save_every"])
def test_workers_and_seconds_can_be_zero_but_not_negative(name):
    assert wrong(runtime={name: -1}) == [f"runtime.{name}=-1: must not be negative"]
    assert wrong(runtime={name: 0}) == []


@pytest.mark.parametrize("steps", ["0", 0, "0ep", "0it", "0ep0it"])
def test_training_must_have_a_length(steps):
    assert wrong(hparams={"steps": steps}) == [f"hparams.steps={steps}: must be positive"]


def test_ranges_are_checked_once_the_types_are_right():
    assert wrong(hparams={"epochs": 0, "batch_size": "many"}) == [
        "hparams.batch_size=many: must be a whole number"
    ]


@pytest.mark.parametrize(
    "request_",
    [None, [], ["0ep", "500it", 0], ["999999ep"], "log", "every", "every_10ep", "every_500it"],
)
def test_snapshots_can_be_a_list_a_period_or_log(request_):
    assert wrong(snapshots=request_) == []


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ("evry", "snapshots=evry: must be "),
        ("1ep", "snapshots=1ep: must be "),
        ("every_0ep", "snapshots=every_0ep: must be "),
        ("every_ten", "snapshots=every_ten: must be "),
        (["1ep", "5"], "snapshots=[1ep,5]: must be a list of (a step such as 30ep, "),
        (5, "snapshots=5: must be a list of (a step such as 30ep, 500it or 2ep100it) or log, "),
    ],
)
def test_another_request_for_snapshots_is_refused(request_, error):
    (only,) = wrong(snapshots=request_)
    assert only.startswith(error)


def test_every_option_of_the_model_takes_how_it_is_initialized_and_frozen():
    assert wrong(model={"bn_init": "uniform", "freeze": ["output"], "freeze_exceptions": []}) == []
    assert wrong(optimizer={"init": "orthogonal"}) == [
        "optimizer.init=orthogonal: no such option; optimizer takes lr, momentum; did you mean "
        "model.init?"
    ]
    (error,) = wrong(model={"freeze": ["input"]})
    assert error == "model.freeze=[input]: must be a list of (one of batch_norm, output, others)"


def test_eval_can_take_values_for_the_saved_data_set():
    values = defaults(Eval, checkpoint="x") | {"dataset": {"root": "data"}}
    assert validation.validation_errors(values, Eval) == []


def test_eval_needs_a_checkpoint():
    assert validation.validation_errors(defaults(Eval), Eval) == [
        "checkpoint: needs a value, checkpoint=..."
    ]


@pytest.mark.parametrize(
    ("schema", "needed"),
    [
        (InterpolateLine, ["start", "end"]),
        (InterpolatePlane, ["plane"]),
    ],
)
def test_saved_networks_must_be_named(schema, needed):
    values = defaults(schema)
    assert validation.validation_errors(values, schema) == [
        f"{n}: needs a value, {n}=..." for n in needed
    ]


def test_interpolation_names_the_splits_that_it_evaluates_on():
    values = defaults(InterpolateLine, start="a", end="b", splits=[])
    assert validation.validation_errors(values, InterpolateLine) == [
        "splits=[]: must hold at least one value"
    ]


def test_a_request_of_interpolation_is_held_against_its_types_before_its_values():
    values = defaults(InterpolateLine, start="a", end="b", refine=0, bn="none")
    assert validation.validation_errors(values, InterpolateLine) == [
        "bn=none: must be one of reset, average, keep, repair"
    ]
    values["bn"] = "keep"
    assert validation.validation_errors(values, InterpolateLine) == ["refine=0: must be positive"]


def spawn(**changes: Any) -> list[str]:
    """What is wrong with a configuration of `spawn.py` that can run but for the changes."""
    values = defaults(Spawn, child_seeds=[1, 2], spawn_steps=["0ep", "1ep"])
    values |= {group: train()[group] for group in GROUPS if group in values}
    for name, change in changes.items():
        merges = isinstance(change, dict) and isinstance(values[name], dict)
        values[name] = values[name] | change if merges else change
    return validation.validation_errors(values, Spawn)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spawn_steps": "log", "only": 99},  # how many there are is not known yet
        {"spawn_steps": "every_10ep", "child_steps": "every_5it", "child_length": "30it"},
        {"only": 0},
        {"spawn_steps": None, "spawn_step": "1ep"},
        {"spawn_steps": None, "split_merge": {"num_legs": 2, "strategy": "decrease_lr"}},
        {"child_seeds": [0]},
        {"num_children": [2]},
        {"averages": [], "vary": [], "child_seeds": [1], "num_children": None},
        {"runtime": {"num_jobs": 2}},
        {"pretrain": {"weights": "a.safetensors"}},
        {"pretrain": {"hparams": {"epochs": 1}, "optimizer": {"lr": 0.5}}},
        {"hparams": {"patience": 3}},
    ],
    ids=str,
)
def test_requests_for_branches_that_can_be_met_have_no_misfits(changes):
    assert spawn(**changes) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"child_seeds": "???"}, "child_seeds: needs a value, child_seeds=..."),
        ({"child_seeds": 3}, "child_seeds=3: must be a list of (a whole number)"),
        ({"spawn_steps": None}, "spawn_steps: needs a value, spawn_steps=..."),
        ({"spawn_steps": []}, "spawn_steps=[]: must hold at least one value"),
        ({"child_seeds": []}, "child_seeds=[]: must hold at least one value"),
        ({"child_steps": []}, "child_steps=[]: must hold at least one value"),
        ({"num_children": []}, "num_children=[]: must hold at least one value"),
        ({"models": []}, "models=[]: must hold at least one value"),
        ({"splits": []}, "splits=[]: must hold at least one value"),
        ({"spawn_steps": ["1ep", "1ep"]}, "spawn_steps=[1ep,1ep]: must not repeat a value"),
        ({"child_seeds": [3, 1, 3]}, "child_seeds=[3,1,3]: must not repeat a value"),
        ({"averages": ["back", "back"]}, "averages=[back,back]: must not repeat a value"),
        ({"num_children": [2, 2]}, "num_children=[2,2]: must not repeat a value"),
        ({"models": ["plain", "plain"]}, "models=[plain,plain]: must not repeat a value"),
        ({"vary": ["dropout", "dropout"]}, "vary=[dropout,dropout]: must not repeat a value"),
        ({"child_seeds": [1, -2]}, "child_seeds=[1,-2]: must not be negative"),
        (
            {"num_children": [2, 3]},
            "num_children=[2,3]: must be from 2 to the number of child_seeds, 2, got 3",
        ),
        (
            {"num_children": [1]},
            "num_children=[1]: must be from 2 to the number of child_seeds, 2, got 1",
        ),
        (
            {"only": 0, "spawn_step": "1ep"},
            "only and spawn_step both choose one spawn step: give one of them",
        ),
        ({"only": 2}, "only=2: must be from 0 to 1"),
        ({"only": -1}, "only=-1: must be from 0 to 1"),
        ({"child_length": "0ep"}, "child_length=0ep: must be positive"),
        ({"child_length": "0"}, "child_length=0: must be positive"),
        ({"spawn_steps": "often"}, "spawn_steps=often: must be "),
        ({"child_steps": "every_0it"}, "child_steps=every_0it: must be "),
        ({"spawn_steps": ["soon"]}, "spawn_steps=[soon]: must be a list of (a step such "),
        ({"spawn_step": "5"}, "spawn_step=5: must be a step such as 30ep, 500it or 2ep100it"),
        (
            {"averages": ["forward"]},
            "averages=[forward]: must be a list of (one of across, back, back_plus_one, ",
        ),
        ({"vary": ["initialization"]}, "vary=[initialization]: must be a list of (one of data_ord"),
        ({"bn": "none"}, "bn=none: must be one of reset, average, keep"),
        ({"vary": []}, "vary=[]: nothing varies, all children would be one network; name one of d"),
        ({"runtime": {"num_jobs": 0}}, "runtime.num_jobs=0: must be positive"),
        ({"runtime": {"num_jobs": "two"}}, "runtime.num_jobs=two: must be a whole number"),
        (
            {"split_merge": {"strategy": "decrease_lr"}},
            "split_merge.strategy=decrease_lr: needs split_merge.num_legs",
        ),
        ({"split_merge": {"num_legs": 0}}, "split_merge.num_legs=0: must be positive"),
        (
            {"split_merge": {"num_legs": 2, "strategy": "smaller"}},
            "split_merge.strategy=smaller: must be one of restart_optimizer, decrease_lr, ",
        ),
        (
            {"split_merge": {"num_legs": 2}, "hparams": {"patience": 3}},
            "split_merge.num_legs: legs have to be of equal length, without hparams.patience",
        ),
        (
            {"pretrain": {"weights": "a.safetensors", "hparams": {"epochs": 1}}},
            "pretrain.weights=a.safetensors: takes the place of a training, so not "
            "pretrain.hparams",
        ),
        (
            {"pretrain": {"hparams": {"epoch": 1}}},
            "pretrain.hparams.epoch=1: no such option; hparams takes batch_size, epochs, ",
        ),
        ({"pretrain": {"hparams": {"epochs": 0}}}, "pretrain.hparams.epochs=0: must be positive"),
        ({"pretrain": {"optimizer": {"lr": "x"}}}, "pretrain.optimizer.lr=x: must be a number"),
        (
            {"pretrain": {"dataset": {"_target_": "isthmus.parts.MNIST"}}},
            "pretrain.dataset._target_: there is no isthmus.parts.MNIST; isthmus.parts has ",
        ),
        ({"pretrain": {"model": None}}, "pretrain.model=null: no such option; pretrain takes data"),
    ],
    ids=str,
)
def test_a_request_for_branches_that_cannot_be_met_is_refused(changes, error):
    (only,) = spawn(**changes)
    assert only.startswith(error)


def test_all_requests_for_branches_that_cannot_be_met_are_reported_at_once():
    errors = spawn(child_seeds=[-1, -1], only=5, child_length="0it", num_children=[3])
    assert [error.partition(":")[0] for error in errors] == [
        "child_seeds=[-1,-1]",
        "child_seeds=[-1,-1]",
        "num_children=[3]",
        "only=5",
        "child_length=0it",
    ]


def test_one_of_several_spawn_steps_can_be_chosen_only_if_there_are_some():
    (error,) = spawn(spawn_steps=None, only=0, split_merge={"num_legs": 1})
    assert "only=0" in error and "spawn_steps" in error


def test_a_pretraining_is_checked_once_the_training_can_run():
    assert spawn(precision="fp64", pretrain={"hparams": {"epochs": 0}}) == [
        "precision=fp64: must be one of fp32, bf16"
    ]


def script(**changes: Any) -> list[str]:
    """What is wrong with a configuration of `train.py`, with its own values besides."""
    own = defaults(TrainScript)
    own = {key: own[key] for key in ("save_weights", "diagnostics", "pretrain")}
    return validation.validation_errors(train() | own | changes, TrainScript)


def test_a_parametrization_has_the_last_word_on_initial_weights():
    part = {"_target_": "isthmus.parts.Ema", "decay": 0.9}  # any
    message = "model.init=orthogonal: a parametrization says how weights begin"
    (error,) = wrong(parametrization=part)
    assert error.startswith(message)
    assert wrong(parametrization=part, model={"init": "kaiming_normal"}) == []
    assert wrong(parametrization={"std": 1.0}) == []  # it is off


def test_snapshots_need_weights():
    assert script() == [] and script(save_weights=False) == []
    message = "snapshots=every: needs save_weights=true"
    assert script(save_weights=False, snapshots="every") == [message]


def test_moments_and_examples_of_diagnostics_are_checked():
    given = {"steps": "often", "ranks": "every_0it", "examples": 0}
    assert [error.split(":")[0] for error in script(diagnostics=given)] == [
        "diagnostics.steps=often",
        "diagnostics.ranks=every_0it",
    ]
    given = {"steps": "log", "ranks": None, "examples": 0}
    assert script(diagnostics=given) == ["diagnostics.examples=0: must be positive"]


@pytest.mark.parametrize(
    ("value", "rules", "is_refused"),
    [
        (0, {"above": 0}, True),
        (math.nan, {"above": 0}, True),
        (1e-9, {"above": 0}, False),
        (0, {"at_least": 0}, False),
        ([3, -1], {"at_least": 0}, True),
        (1.0, {"below": 1}, True),
        (1.0, {"at_most": 1}, False),
        (1.1, {"at_most": 1}, True),
        ("log", {"above": 0}, False),  # text has no range
        (True, {"above": 1}, False),
        (None, {"above": 0}, False),
    ],
)
def test_numbers_have_the_range_of_their_option(value, rules, is_refused):
    errors = validation.number_errors("group.option", value, rules)
    assert [error.partition(": ")[0] for error in errors] == (
        [f"group.option={signatures.format_value(value)}"] if is_refused else []
    )


@pytest.mark.parametrize(
    ("value", "rules", "is_refused"),
    [
        ([], {"nonempty": True}, True),
        ([], {"distinct": True}, False),
        ([1, "1"], {"distinct": True}, True),
        ([1, 2], {"distinct": True, "nonempty": True}, False),
        (None, {"nonempty": True}, False),
        ("every", {"nonempty": True}, False),
    ],
)
def test_lists_hold_what_their_option_needs(value, rules, is_refused):
    assert bool(validation.list_errors("option", value, rules)) == is_refused


@pytest.mark.parametrize(
    ("typed", "is_refused"),
    [
        (["hparams.epochs", "hparams.steps"], True),
        (["hparams.steps"], False),  # the epochs are those of an experiment
        ([], False),
    ],
)
def test_a_typed_option_that_another_one_overrules_is_refused(typed, is_refused):
    errors = wrong(hparams={"epochs": 5, "steps": "600it"}, typed=typed)
    names = [error.partition(":")[0] for error in errors]
    assert names == (["hparams.epochs=5"] if is_refused else [])


@pytest.mark.parametrize("name", ["child_steps", "averages", "num_children", "models"])
def test_options_of_children_of_spawn_steps_are_refused_with_legs_alone(name):
    legs = {"spawn_steps": None, "split_merge": {"num_legs": 2}, "typed": [name]}
    (error,) = spawn(**legs)
    assert error.startswith(f"{name}=") and "spawn_steps" in error
    assert spawn(**legs | {"spawn_step": "1ep"}) == []
    assert spawn(**legs | {"typed": ["split_merge.num_legs"]}) == []


def test_a_length_of_a_pretraining_does_not_overrule_the_typed_one_of_the_training():
    assert spawn(pretrain={"hparams": {"steps": "2it"}}, typed=["hparams.epochs"]) == []
    both = {"hparams": {"steps": "2it", "epochs": 3}}
    (error,) = spawn(pretrain=both, typed=["pretrain.hparams.epochs"])
    assert error.startswith("pretrain.hparams.epochs=3: ")
