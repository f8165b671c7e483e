import pytest

from isthmus.config import parts
from isthmus.config.parts import Part

SOURCES = """
class Digits:
    def __init__(self, root: str | None = None, val_fraction: float = 0.1): ...
class Made:
    def __init__(self, num_examples: int = 10): ...
"""
DIGITS = Part("dataset", "isthmus.parts.Digits", {"root": "data", "val_fraction": 0.2})
ROOT = frozenset({"root"})


@pytest.fixture(autouse=True)
def sources_of_parts(sources):
    sources({"parts.py": SOURCES})


def test_a_part_is_made_of_what_the_code_supplies_and_its_own_values():
    part = Part("optimizer", "builtins.dict", {"_partial_": True, "lr": 0.1})
    assert part.maker()({"a": 1}) == {"a": 1, "lr": 0.1}


def test_options_of_all_models_are_not_handed_to_one():
    part = Part("model", "builtins.dict", {"width": 3, "init": "orthogonal", "freeze": []})
    assert part.maker()() == {"width": 3}


def test_a_target_within_a_part_is_a_value_and_is_not_called(tmp_path):
    inner = {"_target_": "pathlib.Path.mkdir", "self": str(tmp_path / "made")}
    assert Part("model", "builtins.dict", {"inner": inner}).maker()() == {"inner": inner}
    assert not (tmp_path / "made").exists()


def test_an_error_of_a_part_is_led_by_its_group():
    with pytest.raises(ValueError, match=r"^optimizer\.lr=0: must be positive$"):
        Part("optimizer", "tests.config.test_parts.refuse").maker()()


def refuse():
    raise ValueError("lr=0: must be positive")


@pytest.mark.parametrize("option", ["splits", "splits=val", "alphas=[0.1,0.2]"])
def test_an_error_of_an_option_is_led_by_its_group(option):
    with pytest.raises(ValueError) as raised, parts.prefix_errors("instability"):
        raise ValueError(f"{option}: no")
    assert str(raised.value) == f"instability.{option}: no"


def test_an_error_of_anything_else_stays_as_it_is():
    with (
        pytest.raises(ValueError, match="^a mask of another model: no$"),
        parts.prefix_errors("pruning"),
    ):
        raise ValueError("a mask of another model: no")


def test_values_alone_change_a_part():
    assert DIGITS.changed_by(None) == DIGITS
    changed = DIGITS.changed_by(Part("dataset", None, {"val_fraction": 0.5}))
    assert changed == Part("dataset", DIGITS.target, {"root": "data", "val_fraction": 0.5})


@pytest.mark.parametrize(
    ("arguments", "root"), [({}, "data"), ({"root": None}, "data"), ({"root": "/own"}, "/own")]
)
def test_another_target_takes_the_place_of_a_part_and_only_what_is_kept_of_it(arguments, root):
    other = Part("dataset", "isthmus.parts.Digits", arguments)
    assert DIGITS.changed_by(other, ROOT).arguments == {"root": root}
    without_root = Part("dataset", "isthmus.parts.Made", {"num_examples": 3})
    assert DIGITS.changed_by(without_root, ROOT) == without_root


@pytest.mark.parametrize("target", ["isthmus.parts.Nothing", "isthmus.nowhere.Made"])
def test_a_target_that_is_not_there_is_left_to_validation(target):
    other = Part("dataset", target)
    assert DIGITS.changed_by(other, ROOT) == other


def test_a_node_is_what_a_configuration_has():
    assert DIGITS.node() == {"_target_": DIGITS.target, "root": "data", "val_fraction": 0.2}
    assert Part("dataset", None, {"root": "a"}).node() == {"root": "a"}
