import pytest

from isthmus.config import signatures

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


def test_choices_are_those_of_the_literal():
    assert signatures.literal_choices('Literal["auto", True, 3]') == ("auto", True, 3)
