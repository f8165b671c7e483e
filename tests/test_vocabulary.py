import math
import re
import subprocess
import sys
from typing import get_args

import pytest

from isthmus import vocabulary
from isthmus.config import signatures
from isthmus.paths import SOURCES
from isthmus.vocabulary import split_to_show


@pytest.mark.parametrize("kind", ["Split", "vocabulary.Split", "list[Split]", "Split | None"])
def test_a_type_of_the_vocabulary_is_resolved_in_an_annotation(kind):
    value = ["val"] if kind.startswith("list") else "val"
    wrong = ["valid"] if kind.startswith("list") else "valid"
    assert signatures.fits_annotation(value, kind)
    assert not signatures.fits_annotation(wrong, kind)
    assert "train, val, test" in signatures.describe_annotation(kind)


def test_an_argument_annotated_with_a_type_of_the_vocabulary_has_its_choices():
    annotation = signatures.arguments("isthmus.models.mlp.MLP")["activation"].annotation
    assert signatures.describe_annotation(annotation) == (
        f"one of {', '.join(vocabulary.ACTIVATIONS)}"
    )


def test_every_tuple_is_annotated_by_the_type_of_its_values():
    text = SOURCES.joinpath("isthmus", "vocabulary.py").read_text()
    pairs = re.findall(r"^([A-Z_]+): tuple\[(\w+), \.\.\.\]", text, re.MULTILINE)
    assert len(pairs) > 5
    for name, kind in pairs:
        assert getattr(vocabulary, name) == get_args(getattr(vocabulary, kind))


@pytest.mark.parametrize(
    ("splits", "shown"),
    [(["train", "test"], "test"), (("val", "train"), "val"), (iter(["train", "train"]), "train")],
)
def test_split_to_show_is_the_one_least_trained_on(splits, shown):
    assert split_to_show(splits) == shown


def test_split_to_show_needs_a_split():
    with pytest.raises(ValueError, match="splits: .*valid"):
        split_to_show(["valid"])


def test_the_vocabulary_imports_no_torch():
    code = "import sys; import isthmus.vocabulary; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SOURCES)


@pytest.mark.parametrize(
    ("numbers", "inside", "outside"),
    [
        (vocabulary.Positive, [1e-30, 3, math.inf], [0, -1, math.nan, -math.inf]),
        (vocabulary.NotNegative, [0, 3], [-1e-30, math.nan]),
        (vocabulary.Share, [0, 0.999], [1, -0.1, math.nan]),
        (vocabulary.PositiveShare, [0.5], [0, 1]),
        (vocabulary.Ratio, [0, 1], [-0.1, 1.1]),
        (vocabulary.PositiveRatio, [0.5, 1], [0, 1.1]),
        (vocabulary.Count, [1, 5], [0]),
        (vocabulary.CountFromZero, [0], [-1]),
    ],
)
def test_a_range_has_the_numbers_between_its_bounds(numbers, inside, outside):
    (rule,) = numbers.__metadata__
    assert all(map(rule.contains, inside)) and not any(map(rule.contains, outside))
