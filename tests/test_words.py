"""One vocabulary: names of functions and of classes, rooms, and words that are not used."""

import ast
import re
from pathlib import Path

import pytest

from isthmus.paths import CONF, PACKAGE

ROOT = PACKAGE.parents[1]
MODULES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "src/hydra_plugins").rglob("*.py")])
TEXTS = [
    *MODULES,
    *sorted(CONF.rglob("*.yaml")),
    *sorted(PACKAGE.rglob("*.j2")),
    ROOT / "README.md",
]
# What may be at the top of the package; all else is in a package of its own.
TOP = [
    "__init__",
    "__main__",
    "machine",
    "paths",
    "rng",
    "run_index",
    "state_dicts",
    "steps",
    "sweep_means",
]
TOP += ["sweeps", "tables", "tuning", "vocabulary"]
PREPOSITIONS = set(
    "of among whose within beside between under behind at in on by with from for beyond before "
    "after above below apart together about around like unlike near inside outside since until "
    "upon via".split()
)
PARTICIPLES = set(
    "shown told named kept held found made done given asked left lost meant seen known taken "
    "chosen drawn built heard said gone grown written hidden bound sought brought".split()
)
VERBS = {"embed", "seed", "feed", "need", "speed", "exceed", "proceed"}  # no participles
ARTICLES = r"(?:row|number|line|job|checkpoint|unit|value|seed|entry|panel|curve|column|figure)"
PHRASES = {
    "one row per job": rf"\b(?:an?|one|each) {ARTICLES} an? \w+|\bone an? \w+",
    "there is none": r"is none there is|none that is allowed",
    "resumes, continues": r"\b(?:goes|go|going|went) on\b",
    "again": r"\banew\b",
    "also": r"\blikewise\b",
    "is, are": r"\b(?:lies|lie|lying)\b",
    "say what": r"\b(?:becomes?|became) of\b",
    "say what happens": r"\bcomes? to nothing\b",
}


def functions():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.name


def is_dialect(name: str) -> bool:
    """Whether a name is a bare participle or preposition, or begins with one like `of_`."""
    first, *others = name.strip("_").split("_")
    if others:
        return first in {"of", "by", "among", "whose", "within", "beside"}
    is_participle = first.endswith(("ed", "en")) and len(first) > 4 and first not in VERBS
    return first in PREPOSITIONS | PARTICIPLES or is_participle


@pytest.mark.parametrize("name", ["of", "_told", "of_tree", "_refined", "among", "by_child"])
def test_dialect_is_seen(name):
    assert is_dialect(name)


@pytest.mark.parametrize("name", ["read", "seed", "combine", "bn_modes", "is_held", "open"])
def test_verbs_and_nouns_are_not_dialect(name):
    assert not is_dialect(name)


def test_no_function_is_named_by_a_bare_participle_or_preposition():
    assert [f"{where} {name}" for where, name in functions() if is_dialect(name)] == []


def test_no_class_name_is_used_twice():
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("instead", PHRASES)
def test_a_phrase_that_is_read_twice_is_nowhere(instead):
    pattern = re.compile(PHRASES[instead], re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_the_top_of_the_package_has_only_its_own_modules():
    assert sorted(path.stem for path in PACKAGE.glob("*.py")) == TOP


# Tests of several modules together; those in `scripts` start scripts as a user does.
ACROSS_MODULES = {
    "test_conf",
    "test_extending",
    "test_words",
    "connectivity/test_equal_treatment",
    "models/test_every_model",
    "plots/test_every_figure",
    "pruning/test_tables",
    "training/test_damaged_metadata",
    "widths/test_against_mup",
    "widths/test_every_parametrization",
}


def test_every_other_test_file_is_of_one_module():
    tests = ROOT / "tests"
    files = [path.relative_to(tests) for path in sorted(tests.rglob("test_*.py"))]
    files = [path for path in files if path.parts[0] not in ("scripts", "hydra_plugins", "slurm")]
    modules = {path: PACKAGE / path.parent / path.name.removeprefix("test_") for path in files}
    lonely = {str(path.with_suffix("")) for path, module in modules.items() if not module.exists()}
    assert lonely == ACROSS_MODULES


def test_every_init_is_empty():
    assert [str(p) for p in Path(PACKAGE).rglob("__init__.py") if p.read_text()] == []
