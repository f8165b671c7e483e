import dataclasses
import math
from typing import Any

import pytest

from isthmus.averaging import options as averaging_options
from isthmus.branching import options as branching_options
from isthmus.config import schema as config_schema
from isthmus.config import signatures, validation
from isthmus.connectivity import options as connectivity_options
from isthmus.training import options as training_options

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
    values = dataclasses.asdict(training_options.Train())
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
    return validation.validation_errors(train(**changes), "Train")


def test_a_configuration_that_can_run_has_no_misfits():
    assert wrong() == []
    assert (
        validation.validation_errors(
            dataclasses.asdict(averaging_options.Eval(checkpoint="x")), "Eval"
        )
        == []
    )


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
        "dataset.rot=data: no such option; dataset takes anything, root",
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
    assert validation.validation_errors(train() | {"optimizer": parts}, "Train") == [
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
    assert wrong(optimizer={name: [{"_target_": "os.getcwd"}]}) == [
        f"optimizer.{name}=[{{_target_: os.getcwd}}]: no such option; optimizer takes lr, momentum"
    ]


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
    assert validation.validation_errors(train() | {"averaged": off}, "Train") == []


@pytest.mark.parametrize(
    ("node", "shown"), [(None, "null"), ({}, "{}"), ({"lr": 1}, "{lr: 1}"), (5, "5")]
)
def test_a_part_that_the_script_needs_cannot_be_off(node, shown):
    assert validation.validation_errors(train() | {"optimizer": node}, "Train") == [
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
    assert validation.validation_errors(train() | {"optimizer": optimizer}, "Train") == []
    optimizer |= {"momentum": "much", "nesterov": True}
    errors = validation.validation_errors(train() | {"optimizer": optimizer}, "Train")
    assert errors[0] == "optimizer.momentum=much: must be a number"
    assert errors[1].startswith("optimizer.nesterov=true: no such option; optimizer takes alpha, ")


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), (5, "5"), ([], "[]"), ("a", "a")])
def test_a_section_must_have_its_values(value, shown):
    assert wrong(hparams=value) == [
        f"hparams={shown}: must have epochs, steps, batch_size, grad_clip_max_norm, patience"
    ]


def test_a_value_that_was_deleted_is_missed():
    values = train()
    del values["precision"], values["seeds"]["dropout"]
    assert validation.validation_errors(values, "Train") == [
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
        ("evry", "snapshots=evry: 'evry' is not a list of steps, log, every, or every_10ep"),
        ("1ep", "snapshots=1ep: '1ep' is not a list of steps, log, every, or every_10ep"),
        ("every_0ep", "snapshots=every_0ep: 'every_0ep' has no length: write every_10ep or"),
        ("every_ten", "snapshots=every_ten: 'ten' is not a step: write 30ep, 500it or 2ep100it"),
        (["1ep", "5"], "snapshots=[1ep,5]: must be text or a list of (a step such as 30ep, "),
        (5, "snapshots=5: must be text or a list of (a step such as 30ep, 500it or 2ep100it) or"),
    ],
)
def test_another_request_for_snapshots_is_refused(request_, error):
    (only,) = wrong(snapshots=request_)
    assert only.startswith(error)


def test_every_option_of_the_model_takes_how_it_is_initialized_and_frozen():
    assert wrong(model={"bn_init": "uniform", "freeze": ["output"], "freeze_exceptions": []}) == []
    assert wrong(optimizer={"init": "orthogonal"}) == [
        "optimizer.init=orthogonal: no such option; optimizer takes lr, momentum"
    ]
    (error,) = wrong(model={"freeze": ["input"]})
    assert error == "model.freeze=[input]: must be a list of (one of batch_norm, output, others)"


def test_eval_can_take_values_for_the_saved_data_set():
    values = dataclasses.asdict(averaging_options.Eval(checkpoint="x")) | {
        "dataset": {"root": "data"}
    }
    assert validation.validation_errors(values, "Eval") == []


def test_eval_needs_a_checkpoint():
    assert validation.validation_errors(dataclasses.asdict(averaging_options.Eval()), "Eval") == [
        "checkpoint: needs a value, checkpoint=..."
    ]


@pytest.mark.parametrize("schema", ["InterpolateLine", "InterpolatePlane"])
def test_saved_networks_must_be_named(schema):
    needed = {"InterpolateLine": ["start", "end"], "InterpolatePlane": ["plane"]}[schema]
    values = dataclasses.asdict(signatures.locate(config_schema.dotpath(schema))())
    assert validation.validation_errors(values, schema) == [
        f"{n}: needs a value, {n}=..." for n in needed
    ]


def test_interpolation_names_the_splits_that_it_evaluates_on():
    values = dataclasses.asdict(connectivity_options.InterpolateLine(start="a", end="b", splits=[]))
    assert validation.validation_errors(values, "InterpolateLine") == [
        "splits=[]: must name one of train, val, test"
    ]


def test_a_request_of_interpolation_is_held_against_its_types_before_its_values():
    values = dataclasses.asdict(
        connectivity_options.InterpolateLine(start="a", end="b", refine=0, bn="none")
    )
    assert validation.validation_errors(values, "InterpolateLine") == [
        "bn=none: must be one of reset, average, keep, repair"
    ]
    values["bn"] = "keep"
    assert validation.validation_errors(values, "InterpolateLine") == ["refine=0: must be positive"]


def spawn(**changes: Any) -> list[str]:
    """What is wrong with a configuration of `spawn.py` that can run but for the changes."""
    values = dataclasses.asdict(
        branching_options.Spawn(child_seeds=[1, 2], spawn_steps=["0ep", "1ep"])
    )
    values |= {group: train()[group] for group in config_schema.SUPPLIED if group in values}
    for name, change in changes.items():
        merges = isinstance(change, dict) and isinstance(values[name], dict)
        values[name] = values[name] | change if merges else change
    return validation.validation_errors(values, "Spawn")


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
        ({"splits": []}, "splits=[]: must name one of train, val, test"),
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
        ({"spawn_steps": "often"}, "spawn_steps=often: 'often' is not a list of steps, log, "),
        ({"child_steps": "every_0it"}, "child_steps=every_0it: 'every_0it' has no length: write "),
        ({"spawn_steps": ["soon"]}, "spawn_steps=[soon]: must be text or a list of (a step such "),
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


@pytest.mark.parametrize("option", ["splits", "splits=val", "alphas=[0.1,0.2]"])
def test_an_error_of_an_option_is_led_by_its_group(option):
    with pytest.raises(ValueError) as raised, validation.prefix_errors("instability"):
        raise ValueError(f"{option}: no")
    assert str(raised.value) == f"instability.{option}: no"


def test_an_error_of_anything_else_stays_as_it_is():
    with (
        pytest.raises(ValueError, match="^a mask of another model: no$"),
        validation.prefix_errors("pruning"),
    ):
        raise ValueError("a mask of another model: no")


def script(**changes: Any) -> list[str]:
    """What is wrong with a configuration of `train.py`, with its own values besides."""
    own = dataclasses.asdict(training_options.TrainScript())
    own = {key: own[key] for key in ("save_weights", "diagnostics")}
    return validation.validation_errors(train() | own | changes, "TrainScript")


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
    first, *others = script(diagnostics=given)
    assert first == "diagnostics.examples=0: must be positive"
    assert [error.split(":")[0] for error in others] == [
        "diagnostics.steps=often",
        "diagnostics.ranks=every_0it",
    ]


PRETRAINING_PARTS = """
class Digits:
    def __init__(self, root: str | None = None, val_fraction: float = 0.1): ...
class Folder:
    def __init__(self, root: str, cache_dir: str = "c", size: int = 8): ...
class Made:
    def __init__(self, num_examples: int = 10): ...
def sgd(parameters, lr: float): ...
def adam(parameters, lr: float): ...
"""


@pytest.fixture
def pretraining_parts(parts, sources):
    sources({"parts.py": PRETRAINING_PARTS})


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


@pytest.mark.usefixtures("pretraining_parts")
@pytest.mark.parametrize("off", [None, {}])
def test_without_values_of_its_own_there_is_no_training_before(off):
    assert not validation.has_training(values())
    assert not validation.has_training(values(**dict.fromkeys(validation.TRAINING_PARTS, off)))
    assert not validation.has_training(values(weights="a.safetensors"))
    assert not validation.has_training({"pretrain": None})
    assert not validation.has_training({})


@pytest.mark.usefixtures("pretraining_parts")
@pytest.mark.parametrize(
    "own",
    [{"hparams": {"epochs": 1}}, {"optimizer": {"lr": 1.0}}, {"dataset": {"val_fraction": 0}}],
)
def test_any_value_of_its_own_makes_a_training_before(own):
    assert validation.has_training(values(**own))


@pytest.mark.usefixtures("pretraining_parts")
def test_it_is_the_training_but_for_the_values_of_its_own():
    given = values(hparams={"epochs": 1}, optimizer={"lr": 0.5})
    found = validation.merge_section(given)
    assert found == {
        **{key: value for key, value in given.items() if key not in ("child_seeds", "pretrain")},
        "hparams": {"epochs": 1, "steps": None, "batch_size": 16},
        "optimizer": {"_target_": "isthmus.parts.sgd", "lr": 0.5},
    }


@pytest.mark.usefixtures("pretraining_parts")
def test_a_part_of_another_kind_takes_over_no_value():
    own = {"_target_": "isthmus.parts.adam", "lr": 0.001}
    assert validation.merge_section(values(optimizer=own))["optimizer"] == own
    scheduler = {"_target_": "isthmus.parts.cosine"}
    assert validation.merge_section(values(scheduler=scheduler))["scheduler"] == scheduler


@pytest.mark.usefixtures("pretraining_parts")
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


@pytest.mark.usefixtures("pretraining_parts")
@pytest.mark.parametrize(
    "target", ["isthmus.parts.Made", "isthmus.parts.Nothing", "isthmus.nowhere.Made"]
)
def test_a_data_set_without_a_place_is_given_none(target):
    own = {"_target_": target, "num_examples": 3}
    assert validation.merge_section(values(dataset=own))["dataset"] == own


@pytest.mark.usefixtures("pretraining_parts")
def test_values_of_the_data_set_keep_its_place():
    found = validation.merge_section(values(dataset={"val_fraction": 0.5}))["dataset"]
    assert found == {"_target_": "isthmus.parts.Digits", "root": "data", "val_fraction": 0.5}


@pytest.mark.usefixtures("pretraining_parts")
def test_epochs_of_its_own_take_the_place_of_the_steps_of_the_training():
    given = values(hparams={"epochs": 1}) | {"hparams": {"epochs": 3, "steps": "600it"}}
    assert validation.merge_section(given)["hparams"] == {"epochs": 1, "steps": None}
    given["pretrain"]["hparams"] = {"epochs": 1, "steps": "2it"}
    assert validation.merge_section(given)["hparams"] == {"epochs": 1, "steps": "2it"}
    given["pretrain"]["hparams"] = {"batch_size": 4}
    assert validation.merge_section(given)["hparams"]["steps"] == "600it"


@pytest.mark.usefixtures("pretraining_parts")
def test_another_section_has_a_training_in_the_same_way():
    given = values() | {
        "retrain": dict.fromkeys(validation.TRAINING_PARTS) | {"hparams": {"epochs": 1}}
    }
    assert validation.has_training(given, "retrain") and not validation.has_training(given)
    assert validation.merge_section(given, "retrain")["hparams"]["epochs"] == 1


@pytest.mark.usefixtures("pretraining_parts")
def test_its_length_is_that_of_its_hyperparameters():
    assert validation.pretraining_length(values()) == "0"
    assert validation.pretraining_length(values(hparams={"epochs": 2})) == "2ep"
    assert validation.pretraining_length(values(hparams={"steps": "30it"})) == "30it"
    assert validation.pretraining_length(values(optimizer={"lr": 1.0})) == "3ep"


@pytest.mark.usefixtures("pretraining_parts")
def test_the_values_of_the_training_are_left_alone():
    given = values(hparams={"epochs": 1}, dataset={"_target_": "isthmus.parts.Folder"})
    given["hparams"]["steps"] = "600it"
    validation.merge_section(given)
    assert given["hparams"] == {"epochs": 3, "steps": "600it", "batch_size": 16}
    assert given["pretrain"]["dataset"] == {"_target_": "isthmus.parts.Folder"}


@pytest.mark.usefixtures("pretraining_parts")
def test_a_file_or_a_training_but_not_both():
    assert validation.pretraining_errors(values()) == []
    assert validation.pretraining_errors(values(weights="a.safetensors")) == []
    assert validation.pretraining_errors(values(hparams={"epochs": 1})) == []
    both = values(weights="a.safetensors", hparams={"epochs": 1}, optimizer={"lr": 1.0})
    assert validation.pretraining_errors(both) == [
        "pretrain.weights=a.safetensors: takes the place of a training, so not "
        "pretrain.optimizer, pretrain.hparams"
    ]
