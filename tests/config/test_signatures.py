import dataclasses
import inspect
import pydoc
import re

import pytest
import torch

from isthmus.config import signatures
from isthmus.config.signatures import REQUIRED, UNKNOWN, Argument
from isthmus.paths import CONF

FITTING = [
    (1, "int"),
    (-(10**30), "int"),
    (1, "float"),
    (1.5, "float"),
    (True, "bool"),
    ("", "str"),
    (None, "None"),
    (None, "int | None"),
    (3, "int | None"),
    ([], "list[int]"),
    ([1, 2], "list[int]"),
    ([1, 2.5], "list[float]"),
    ([1], "Sequence[int]"),
    ([1, 2], "tuple[int, ...]"),
    ([0.9, 0.99], "float | list[float]"),
    (0.9, "float | list[float]"),
    ([[1], [], [2, 3]], "list[list[int]]"),
    ([1, None], "list[int | None]"),
    ([1], "list"),
    ([1], "tuple"),
    ([1], "Sequence"),
    ("a", 'Literal["a", "b"]'),
    (True, 'Literal["auto", True, False]'),
    ("auto", 'Literal["auto", True, False]'),
    (None, 'Literal["a"] | None'),
    (["a", "a"], 'list[Literal["a", "b"]]'),
    ("2ep100it", "Step"),
    (0, "Step"),
    (["0ep", 0], "list[Step]"),
    ("every", "str | list[Step] | None"),
    ([{}], "Any"),
]

UNFIT = [
    (True, "int"),
    (1.0, "int"),
    ("1", "int"),
    (None, "int"),
    ([1], "int"),
    (True, "float"),
    ("0.1", "float"),
    (1, "bool"),
    ("true", "bool"),
    (1, "str"),
    (None, "str"),
    (0, "None"),
    (False, "int | None"),
    (1, "list[int]"),
    ("ab", "list[str]"),
    ("ab", "Sequence[str]"),
    ("ab", "Sequence"),
    ([True], "list[int]"),
    ([[1], 2], "list[list[int]]"),
    ([[1.5]], "list[list[int]]"),
    (["a"], "float | list[float]"),
    ("c", 'Literal["a", "b"]'),
    (1, 'Literal["auto", True, False]'),
    (0, 'Literal["auto", True, False]'),
    ("True", 'Literal["auto", True, False]'),
    (True, "Literal[1]"),
    (["c"], 'list[Literal["a", "b"]]'),
    (5, "Step"),
    (False, "Step"),
    ("5", "Step"),
    (None, "Step"),
    (["5ep", "ten"], "list[Step]"),
    ({}, "int | list[int]"),
]


@pytest.mark.parametrize(("value", "annotation"), FITTING)
def test_a_value_of_the_type_fits(value, annotation):
    assert signatures.fits_annotation(value, annotation)


@pytest.mark.parametrize(("value", "annotation"), UNFIT)
def test_a_value_of_another_type_does_not_fit(value, annotation):
    assert not signatures.fits_annotation(value, annotation)


@pytest.mark.parametrize(
    "annotation",
    ["", "Tensor", "nn.Module", "int | Tensor", "'Tensor'", "'Tensor' | None", "dict[str, int]"],
)
@pytest.mark.parametrize("value", [1, "a", None, [1.5], {}])
def test_an_annotation_of_other_names_fits_everything(value, annotation):
    assert signatures.fits_annotation(value, annotation)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ("int", "a whole number"),
        ("float", "a number"),
        ("bool", "true or false"),
        ("str", "text"),
        ("list", "a list"),
        ("Step", "a step such as 30ep, 500it or 2ep100it"),
        ("int | None", "a whole number or null"),
        ("None", "null"),
        ("float | list[float]", "a number or a list of (a number)"),
        ("list[int | None]", "a list of (a whole number or null)"),
        ("list[list[int]]", "a list of (a list of (a whole number))"),
        ("tuple[int, ...]", "a list of (a whole number)"),
        ('Literal["auto", True, False]', "one of auto, true, false"),
        ('list[Literal["a", "b"]] | None', "a list of (one of a, b) or null"),
    ],
)
def test_a_description_says_what_is_allowed_as_one_would_type_it(annotation, text):
    assert signatures.describe_annotation(annotation) == text


TARGETS = sorted(
    {
        match[1]
        for path in CONF.glob("*/*.yaml")
        if (match := re.search(r"^_target_: (isthmus\.\S+)", path.read_text(), re.MULTILINE))
    }
    | {
        "isthmus.models.mlp.MLP",
        "isthmus.models.resnet_cifar.ResNetCifar",
        "isthmus.models.layers.build_norm",
    }
    | {"isthmus.data.digits.Digits", "isthmus.training.options.Runtime", "isthmus.steps.to_text"}
)


@pytest.mark.parametrize("target", TARGETS)
def test_reading_agrees_with_importing_and_inspecting(target):
    parameters = inspect.signature(pydoc.locate(target)).parameters
    read = signatures.arguments(target)
    assert sorted(read) == sorted(parameters)  # keyword-only fields of base classes come later
    for name, parameter in parameters.items():
        if read[name].default is UNKNOWN:
            assert parameter.default is not parameter.empty
        else:
            assert read[name].default == real_default(pydoc.locate(target), parameter)


def real_default(target, parameter: inspect.Parameter):
    if parameter.default is parameter.empty:
        return REQUIRED
    if dataclasses.is_dataclass(target):  # a default_factory shows as such in the signature
        field = next(f for f in dataclasses.fields(target) if f.name == parameter.name)
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    default = parameter.default
    return list(default) if isinstance(default, tuple) else default


def test_attributes_of_classes_are_read_with_those_that_they_inherit(sources):
    sources(
        {
            "parts.py": """
from isthmus.bases import Base
from isthmus import bases
class Plain: ...
class Typed(Plain):
    word: str = "typed"
class Said(Typed):
    word = "said"
class Inherited(Base): ...
class Computed:
    word = "a" + str(1)
class Deep(bases.Base, Computed): ...
def function(): ...
""",
            "bases.py": """
class Base:
    word: ClassVar[str] = "base"
""",
        }
    )
    names = ("Plain", "Typed", "Said", "Inherited", "Computed", "Deep", "function", "absent")
    found = [signatures.attribute(f"isthmus.parts.{name}", "word") for name in names]
    assert found == [REQUIRED, "typed", "said", "base", UNKNOWN, "base", REQUIRED, REQUIRED]
    assert signatures.attribute("collections.OrderedDict", "__module__") == "collections"


def test_what_strategies_of_pruning_say_of_themselves_is_read_as_it_is():
    for name in ("SparseGlobal", "Fc19", "Han", "Random"):
        target = f"isthmus.pruning.strategies.{name}"
        assert signatures.attribute(target, "rewind") == pydoc.locate(target).rewind


def test_positional_arguments_are_read_in_the_order_of_the_signature():
    target = "isthmus.models.resnet_cifar.ResNetCifar"
    assert list(signatures.arguments(target)) == list(
        inspect.signature(pydoc.locate(target)).parameters
    )


def test_a_function_is_read_with_annotations_and_literal_defaults(sources):
    sources(
        {
            "parts.py": """
def part(first, /, second: int, third: float | list[float] = -1e-3, fourth=(1, (2, 3)),
         *, fifth: "str", sixth: 'Literal["a"]' = None, seventh: bool = not True):
    pass
"""
        }
    )
    assert list(signatures.arguments("isthmus.parts.part").values()) == [
        Argument("first", "", REQUIRED),
        Argument("second", "int", REQUIRED),
        Argument("third", "float | list[float]", -1e-3),
        Argument("fourth", "", [1, [2, 3]]),  # as in a configuration, which has lists alone
        Argument("fifth", "'str'", REQUIRED),
        Argument("sixth", "'Literal[\"a\"]'", None),
        Argument("seventh", "bool", UNKNOWN),
    ]


def test_a_default_that_is_no_literal_equals_nothing(sources):
    sources({"parts.py": "import math\ndef part(a=math.pi, b=[math.pi], c=1 + 2): pass"})
    read = signatures.arguments("isthmus.parts.part")
    assert [argument.default for argument in read.values()] == [UNKNOWN] * 3
    assert UNKNOWN != 3


def test_a_class_is_read_without_self(sources):
    sources(
        {
            "parts.py": """
class Part:
    note: str = "not an argument"
    def forward(self, inputs): ...
    def __init__(self, width: int, depth: int = 2): ...
"""
        }
    )
    assert signatures.arguments("isthmus.parts.Part") == {
        "width": Argument("width", "int", REQUIRED),
        "depth": Argument("depth", "int", 2),
    }


def test_a_class_without_a_constructor_is_read_from_its_base(sources):
    sources(
        {
            "base.py": "class Base:\n    def __init__(self, width: int = 3): ...",
            "parts.py": "from isthmus.base import Base\nclass Part(Base):\n    def f(self): ...",
        }
    )
    assert signatures.arguments("isthmus.parts.Part") == {"width": Argument("width", "int", 3)}


DATACLASSES = {
    "data/base.py": """
from dataclasses import dataclass, field
from typing import ClassVar

@dataclass(frozen=True)
class Base:
    SIDE: ClassVar[int] = 8
    root: str | None = None
    labels: list[int] = field(default_factory=list)
    means: list[float] = field(default_factory=lambda: [0.5, 0.5])
    stds: list[float] = field(default_factory=lambda: list(STDS))
    scale: float = field(default=2.0)
    plain: int = field(repr=False)
    unnamed = 3
""",
    "data/left.py": """
import dataclasses
from isthmus.data.base import Base as Common

@dataclasses.dataclass(frozen=True)
class Left(Common):
    root: str | None = "left"
    side: int = dataclasses.field(default=1)

class Middle(Left):
    pass
""",
    "data/right.py": """
from dataclasses import dataclass
from isthmus.data import base
from isthmus.data.left import Middle

@dataclass(frozen=True)
class Right(base.Base):
    root: str | None = "right"

@dataclass(frozen=True)
class Both(Middle, Right):
    last: bool = True
""",
}


def test_a_dataclass_is_read_field_by_field(sources):
    sources(DATACLASSES)
    assert list(signatures.arguments("isthmus.data.base.Base").values()) == [
        Argument("root", "str | None", None),
        Argument("labels", "list[int]", []),
        Argument("means", "list[float]", [0.5, 0.5]),
        Argument("stds", "list[float]", UNKNOWN),
        Argument("scale", "float", 2.0),
        Argument("plain", "int", REQUIRED),
    ]


def test_a_dataclass_inherits_fields_from_other_modules_and_can_replace_their_defaults(sources):
    sources(DATACLASSES)
    base = ["root", "labels", "means", "stds", "scale", "plain"]
    left = signatures.arguments("isthmus.data.left.Left")
    assert list(left) == [*base, "side"]
    assert (left["root"].default, left["side"].default, left["scale"].default) == ("left", 1, 2.0)
    assert signatures.arguments("isthmus.data.left.Middle") == left
    assert signatures.arguments("isthmus.data.right.Right")["root"].default == "right"
    assert set(signatures.arguments("isthmus.data.right.Right")) == set(base)


def test_the_first_of_two_bases_has_the_last_word(sources):
    sources(DATACLASSES)
    both = signatures.arguments("isthmus.data.right.Both")
    assert both["root"].default == "left"
    assert set(both) == {*signatures.arguments("isthmus.data.left.Left"), "last"}


def test_a_base_outside_src_adds_nothing(sources):
    sources(
        {
            "parts.py": """
from torch import nn
@dataclass
class Part(nn.Module, Generic[T]):
    width: int
"""
        }
    )
    assert list(signatures.arguments("isthmus.parts.Part")) == ["width"]


def test_reading_does_not_run_the_module(sources):
    sources({"parts.py": "def part(width: int): pass\nraise RuntimeError('this was run')"})
    assert list(signatures.arguments("isthmus.parts.part")) == ["width"]


def test_a_name_that_a_module_lacks_is_refused_with_those_it_has(sources):
    sources({"parts.py": "def part(): pass\nclass Other: pass\ndef _hidden(): pass\nx = 1"})
    with pytest.raises(LookupError) as refusal:
        signatures.arguments("isthmus.parts.Part")
    assert str(refusal.value) == "there is no isthmus.parts.Part; isthmus.parts has part, Other"


def test_a_module_that_a_package_lacks_is_refused_with_those_it_has(sources):
    sources({"models/mlp.py": "", "models/cnn.py": "", "models/__init__.py": ""})
    with pytest.raises(LookupError) as refusal:
        signatures.arguments("isthmus.models.mpl.MLP")
    assert str(refusal.value) == "there is no isthmus.models.mpl.MLP; isthmus.models has cnn, mlp"
    with pytest.raises(LookupError, match="isthmus.models.mlp has nothing$"):
        signatures.arguments("isthmus.models.mlp.MLP")
    with pytest.raises(LookupError, match="there is no package isthmus.model$"):
        signatures.arguments("isthmus.model.mlp.MLP")


@pytest.mark.parametrize(
    "target",
    [
        "isthmus.config.launch.os.system",
        "isthmus.config.signatures.Path",
        "isthmus.config.validation",
    ],
)
def test_what_a_module_of_src_imports_is_not_in_it(target):
    with pytest.raises(LookupError, match=f"there is no {target}"):
        signatures.arguments(target)


@pytest.mark.parametrize("target", ["torch.optim.Nothing", "nothing.at.all", "Nothing", "", "math"])
def test_a_missing_target_outside_src_is_refused(target):
    with pytest.raises(LookupError, match=f"there is no {target}"):
        signatures.arguments(target)


def test_a_target_in_a_module_that_cannot_be_imported_is_refused_with_the_reason(
    tmp_path, monkeypatch
):
    (tmp_path / "broken_part.py").write_text("raise RuntimeError('no such operator')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="broken_part - RuntimeError: no such operator"):
        signatures.arguments("broken_part.Part")


def test_a_target_outside_src_is_inspected():
    read = signatures.arguments("torch.optim.RMSprop")
    assert list(read) == list(inspect.signature(torch.optim.RMSprop).parameters)
    assert read["params"] == Argument("params", "", REQUIRED)
    assert read["momentum"] == Argument("momentum", "float", UNKNOWN)
    assert read["centered"] == Argument("centered", "bool", UNKNOWN)
    assert read["lr"].annotation == ""  # float | Tensor: more than a configuration can say


def test_variable_arguments_outside_src_are_left_out(tmp_path, monkeypatch):
    (tmp_path / "foreign_part.py").write_text("def part(a, *args, b: str = 'x', **kwargs): pass")
    monkeypatch.syspath_prepend(tmp_path)
    assert signatures.arguments("foreign_part.part") == {
        "a": Argument("a", "", REQUIRED),
        "b": Argument("b", "str", UNKNOWN),
    }
