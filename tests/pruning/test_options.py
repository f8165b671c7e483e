from typing import Any

import pytest

from isthmus.config import naming, schema, validation
from isthmus.pruning import options
from tests.values import defaults

PARTS = {
    "parts.py": """
class Net:
    def __init__(self, input_shape, num_classes, width: int = 64): ...
def sgd(parameters, lr: float): ...
def constant(iterations, iterations_per_epoch): ...
class Digits:
    def __init__(self, root: str | None = None, cutout: int = 0): ...
class SparseGlobal:
    def __init__(self, fraction: float = 0.2, ignore: list[str] | None = None): ...
class Han(SparseGlobal):
    rewind = "none"
class Odd(SparseGlobal):
    rewind: str = "never"
class Counted:
    def __init__(self, count: int = 2): ...
"""
}


@pytest.fixture(autouse=True)
def parts(sources):
    sources(PARTS)


def prune(**changes: Any) -> dict[str, Any]:
    """A configuration of `prune.py` that can run, with changes."""
    values = defaults(options.Prune)
    values |= {
        "dataset": {"_target_": "isthmus.parts.Digits"},
        "model": {"_target_": "isthmus.parts.Net"},
        "optimizer": {"_target_": "isthmus.parts.sgd", "lr": 0.1},
        "scheduler": {"_target_": "isthmus.parts.constant"},
        "pruning": {"_target_": "isthmus.parts.SparseGlobal"},
        "levels": 3,
    }
    for name, change in changes.items():
        merges = isinstance(change, dict) and isinstance(values[name], dict)
        values[name] = values[name] | change if merges else change
    return values


def made(**changes: Any) -> options.Prune:
    return schema.make_options(options.Prune, prune(**changes))


def wrong(**changes: Any) -> list[str]:
    return validation.validation_errors(prune(**changes), options.Prune)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"levels": 0},
        {"levels": None, "one_shot": 0.9},
        {"levels": 1, "one_shot": 0.9},
        {"rewind": "lr", "rewind_step": "500it"},
        {"pruning": {"_target_": "isthmus.parts.Han"}},
        {"pruning": {"_target_": "isthmus.parts.Han"}, "retrain_lr": 0.01, "rewind": "none"},
        {"rewind": "none", "retrain_lr": 0.01},
        {"branch": "randomly_prune", "randomly_prune": {"strategy": "even", "seed": 3}},
        {"branch": "retrain", "retrain": {"hparams": {"epochs": 3}}, "branch_levels": [0, 3]},
        {"pretrain": {"hparams": {"epochs": 3}}},
        {"branch": "instability", "instability": {"seeds": [0, 5, 2], "alphas": [0.0, 0.3, 1.0]}},
        {"branch": "instability", "branch_levels": [0, 2], "instability": {"bn": "repair"}},
    ],
    ids=str,
)
def test_what_can_run_has_no_misfits(changes):
    assert wrong(**changes) == []


HAN = {"_target_": "isthmus.parts.Han"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": None}, "levels: needs a value, levels=..."),
        ({"levels": -1}, "levels=-1: must not be negative"),
        ({"levels": 1.5}, "levels=1.5: must be a whole number or null"),
        ({"pruning": "???"}, "pruning=???: must be an option of the group, see conf/pruning"),
        ({"pruning": None}, "pruning=null: must be an option of the group, see conf/pruning"),
        ({"pruning": {"fraction": "x"}}, "pruning.fraction=x: must be a number"),
        (
            {"levels": None, "one_shot": 1.0},
            "one_shot=1.0: must be in (0, 1), the share that is pruned",
        ),
        ({"one_shot": 0.5}, "one_shot=0.5: prunes once, so not levels=3"),
        (
            {"levels": None, "one_shot": 0.9, "pruning": {"fraction": 0.5}},
            "pruning.fraction=0.5: one_shot=0.9 says how much is pruned",
        ),
        (
            {"levels": None, "one_shot": 0.9, "pruning": {"_target_": "isthmus.parts.Counted"}},
            "one_shot=0.9: isthmus.parts.Counted takes no fraction to prune",
        ),
        (
            {"pruning": HAN, "rewind": "lr"},
            "rewind=lr: pruning._target_=isthmus.parts.Han leaves weights where they are "
            "(Han.rewind is none); pruning=sparse_global rewinds",
        ),
        (
            {"pruning": {"_target_": "isthmus.parts.Odd"}},
            "pruning._target_=isthmus.parts.Odd: Odd.rewind must be one of weights, lr, none, got "
            "never",
        ),
        (
            {"retrain_lr": 0.1},
            "retrain_lr=0.1: needs rewind=none; with rewind=weights levels have the learning "
            "rates that level 0 had",
        ),
        ({"pruning": HAN, "retrain_lr": 0.0}, "retrain_lr=0.0: must be positive"),
        (
            {
                "branch": "randomly_prune",
                "randomly_prune": {"strategy": "identity", "seed": 2},
            },
            "randomly_prune.seed=2: nothing is drawn with randomly_prune.strategy=identity",
        ),
        ({"rewind": "all"}, "rewind=all: must be one of weights, lr, none or null"),
        (
            {"rewind": "none", "rewind_step": "2ep"},
            "rewind_step=2ep: nothing is rewound with rewind=none",
        ),
        (
            {"pruning": HAN, "rewind_step": "2ep"},
            "rewind_step=2ep: nothing is rewound with rewind=none",
        ),
        ({"rewind_step": 500}, "rewind_step=500: must be a step such as 30ep, 500it or 2ep100it"),
        ({"branch_levels": [1]}, "branch_levels=[1]: needs branch=..."),
        (
            {"branch": "randomly_prune", "branch_levels": []},
            "branch_levels=[]: must hold at least one value",
        ),
        (
            {"branch": "randomly_prune", "branch_levels": [1, 1]},
            "branch_levels=[1,1]: must not repeat a value",
        ),
        (
            {"branch": "randomly_prune", "branch_levels": [1, 4]},
            "branch_levels=[1,4]: must be from 0 to 3, got 4",
        ),
        (
            {"branch": "stability"},
            "branch=stability: must be one of randomly_prune, randomly_reinitialize, retrain, "
            "instability or null; did you mean instability?",
        ),
        (
            {"branch": "retrain"},
            "branch=retrain: needs other data or hyperparameters, retrain.hparams.epochs=...",
        ),
        ({"instability": {"vary": ["dropout"]}}, "instability.vary: needs branch=instability"),
        ({"randomly_prune": {"seed": 2}}, "randomly_prune.seed: needs branch=randomly_prune"),
        (
            {"branch": "randomly_prune", "retrain": {"optimizer": {"lr": 1.0}}},
            "retrain.optimizer: needs branch=retrain",
        ),
        (
            {"branch": "retrain", "retrain": {"hparams": {"epochs": -1}}},
            "retrain.hparams.epochs=-1: must be positive",
        ),
        (
            {"branch": "retrain", "retrain": {"optimizer": {"lr": "x"}}},
            "retrain.optimizer.lr=x: must be a number",
        ),
        (
            {"branch": "randomly_prune", "randomly_prune": {"strategy": "odd"}},
            "randomly_prune.strategy=odd: must be one of layerwise, global, even, identity",
        ),
        (
            {"branch": "randomly_reinitialize", "randomly_reinitialize": {"start_at": "end"}},
            "randomly_reinitialize.start_at=end: must be one of rewind, init; did you mean rewind?",
        ),
        ({"pretrain": {"hparams": {"epochs": 0}}}, "pretrain.hparams.epochs=0: must be positive"),
    ],
    ids=str,
)
def test_what_cannot_run_is_named_as_typed(changes, message):
    assert wrong(**changes) == [message]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [2]}, "instability.seeds=[2]: must hold at least two, to compare them"),
        ({"seeds": []}, "instability.seeds=[]: must hold at least two, to compare them"),
        ({"seeds": [2, 2]}, "instability.seeds=[2,2]: must not repeat a value"),
        ({"seeds": [1, -2]}, "instability.seeds=[1,-2]: must not be negative"),
        ({"seeds": 2}, "instability.seeds=2: must be a list of (a whole number)"),
        ({"vary": []}, "instability.vary=[]: must hold at least one value"),
        ({"vary": ["dropout"] * 2}, "instability.vary=[dropout,dropout]: must not repeat a value"),
        (
            {"vary": ["initialization"]},
            "instability.vary=[initialization]: must be a list of (one of data_order, "
            "augmentation, dropout)",
        ),
        ({"splits": []}, "instability.splits=[]: must hold at least one value"),
        ({"splits": ["val"] * 2}, "instability.splits=[val,val]: must not repeat a value"),
        ({"alphas": 1}, "instability.alphas=1: must be at least 2, both ends"),
        (
            {"alphas": [0.0, 0.5]},
            "instability.alphas=[0.0,0.5]: must increase from 0 to 1, the two ends",
        ),
        ({"bn": "no"}, "instability.bn=no: must be one of reset, average, keep, repair"),
    ],
    ids=str,
)
def test_children_that_cannot_be_compared_are_named_as_typed(changes, message):
    assert wrong(branch="instability", instability=changes) == [message]


def test_instability_is_of_all_levels_and_other_branches_of_sparse_ones_if_not_told():
    assert made(branch="instability").levels_of_branch == [0, 1, 2, 3]
    assert made(branch="instability", branch_levels=[2]).levels_of_branch == [2]
    assert made(branch="randomly_prune").levels_of_branch == [1, 2, 3]
    assert made().levels_of_branch == []


def test_what_becomes_of_the_weights_is_as_the_strategy_does_if_not_told():
    assert made().resolved_rewind == "weights"
    assert made(rewind="lr").resolved_rewind == "lr"
    assert made(pruning=HAN).resolved_rewind == "none"


def test_one_shot_has_one_level():
    assert made().num_levels == 3
    assert made(levels=None, one_shot=0.5).num_levels == 1


def name(**changes: Any) -> str:
    return naming.run_name(prune(**changes), options.Prune)


def test_what_is_asked_of_a_study_is_not_in_its_name():
    asked = [
        {"levels": 9},
        {"branch": "retrain", "retrain": {"hparams": {"epochs": 1}}},
        {"branch": "randomly_prune", "branch_levels": [1], "randomly_prune": {"seed": 3}},
        {"randomly_reinitialize": {"seed": 3}},
        {"branch": "instability", "instability": {"vary": ["dropout"]}},
        {"compare": ["outputs/prune_*"]},
        {"snapshots": ["1ep"]},
        {"global_seed": 4},
    ]
    assert {name(**changes) for changes in asked} == {name()}


def test_what_changes_a_level_is_in_its_name():
    others = [
        {"pruning": {"fraction": 0.3}},
        {"pruning": HAN},
        {"rewind": "lr"},
        {"rewind_step": "500it"},
        {"levels": None, "one_shot": 0.5},
        {"rewind": "none"},
        {"rewind": "none", "retrain_lr": 0.1},
        {"pretrain": {"hparams": {"epochs": 1}}},
        {"optimizer": {"lr": 0.2}},
    ]
    names = [name(), *(name(**changes) for changes in others)]
    assert len(set(names)) == len(names)
    assert name(rewind_step=0) == name()


def section(function: Any, **changes: Any) -> str:
    """A name, or a text, of the section that is changed."""
    name = next(iter(changes))
    return function(prune(**changes)[name], options.BRANCHES[name])


def branch(**changes: Any) -> str:
    return section(naming.section_name, **changes)


def test_a_branch_is_named_by_its_own_options():
    assert branch(randomly_prune={}) == branch(randomly_prune={"seed": 1})
    assert branch(randomly_prune={"seed": 2}) != branch(randomly_prune={})
    first, other = ({"optimizer": {"lr": lr}} for lr in (0.1, 0.2))
    assert branch(retrain=first) != branch(retrain=other)


def test_children_are_named_by_what_they_vary_in_alone():
    asked = {"seeds": [3, 4], "alphas": 5, "bn": "keep", "splits": ["val"]}
    turned = {"vary": ["dropout", "augmentation", "data_order"]}
    assert branch(instability={}) == branch(instability=asked) == branch(instability=turned)
    two = {branch(instability={"vary": v}) for v in (["dropout", "data_order"], ["data_order"])}
    assert len({branch(instability={}), *two}) == 3


def test_a_branch_is_told_by_what_is_not_its_default():
    def words(**changes: Any) -> str:
        name = next(iter(changes))
        return made(branch=name, **changes).branch_text.removeprefix(name).strip()

    assert words(randomly_prune={"seed": 1}) == ""
    assert words(randomly_prune={"seed": 2, "strategy": "even"}) == "strategy=even seed=2"
    assert words(instability={"vary": ["dropout", "data_order"]}) == "vary=[data_order,dropout]"
    given = {"hparams": {"epochs": 3, "batch_size": 8}, "optimizer": {"lr": 1.0}}
    assert words(retrain=given) == "optimizer.lr=1.0 hparams.epochs=3 hparams.batch_size=8"


OWN = """
class Mine:
    rewind = "none"
    def __init__(self, fraction: float = 0.2): ...
class Later(Mine):
    def __init__(self, fraction: float = 0.2):
        self.rewind = "lr"
"""


def test_a_strategy_of_ones_own_says_how_it_rewinds(tmp_path, monkeypatch):
    (tmp_path / "strategies_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    mine = {"_target_": "strategies_of_mine.Mine"}
    assert wrong(pruning=mine) == []
    assert made(pruning=mine).resolved_rewind == "none"
    (message,) = wrong(pruning=mine, rewind="weights")
    assert message.startswith("rewind=weights: pruning._target_=strategies_of_mine.Mine ")


def test_a_strategy_that_is_another_than_its_class_says_is_refused(tmp_path, monkeypatch):
    (tmp_path / "strategies_of_mine_too.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    from strategies_of_mine_too import Later, Mine

    later = {"_target_": "strategies_of_mine_too.Later"}
    with pytest.raises(ValueError, match="^pruning._target_=strategies_of_mine_too.Later: .* lr,"):
        made(pruning=later).check_strategy(Later())
    made(pruning=later).check_strategy(Mine())
    made(pruning=later, rewind="lr").check_strategy(Later())
