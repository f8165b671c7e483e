import dataclasses
import typing

import pytest
import yaml

from isthmus import annotations, schemas, signatures
from isthmus.models import freeze, initialize
from isthmus.paths import CONF
from isthmus.plots import wishes
from isthmus.training import recipe

SCRIPTS = [
    schemas.TrainScript,
    schemas.Eval,
    schemas.Average,
    schemas.Spawn,
    schemas.Interpolate,
    schemas.Prune,
    schemas.Plots,
    schemas.Tune,
]
MODES = [getattr(schemas, mode) for modes in schemas.MODES.values() for mode in modes]
SECTIONS = [
    schemas.Train,
    schemas.Diagnostics,
    schemas.Family,
    schemas.Pretrain,
    schemas.SplitMerge,
    schemas.FamilyRuntime,
    schemas.ModelOptions,
]
BRANCHES = [
    schemas.RandomlyPrune,
    schemas.RandomlyReinitialize,
    schemas.Retrain,
    schemas.Instability,
]
PLOTTED = [schemas.Style, schemas.Labels, schemas.Compare]
SCHEMAS = [
    *PLOTTED,
    *SCRIPTS,
    *MODES,
    *SECTIONS,
    *BRANCHES,
    schemas.Hparams,
    schemas.Seeds,
    schemas.Runtime,
]


def names(schema: type) -> set[str]:
    return {field.name for field in dataclasses.fields(schema)}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_annotation_refuses_something_unless_it_is_of_a_part_or_a_section(schema):
    # An annotation that `annotations` does not understand would let everything pass. A section
    # of parts of another training is Any.
    for argument in schemas.fields(schema.__name__).values():
        section = hasattr(schemas, argument.annotation) or argument.annotation == "Any"
        if argument.name not in schemas.SUPPLIED and not section:
            assert not annotations.fits({"no": "such value"}, argument.annotation), argument


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_default_is_of_its_own_type(schema):
    for argument in schemas.fields(schema.__name__).values():
        if not hasattr(schemas, argument.annotation) and argument.default is not signatures.UNKNOWN:
            assert annotations.fits(argument.default, argument.annotation), argument


def test_what_is_left_out_of_names_exists():
    assert schemas.UNNAMED <= set().union(*map(names, SCRIPTS))
    assert set(schemas.UNNAMED_IN_PARTS) <= {
        *schemas.SUPPLIED,
        "pretrain",
        "extraction",
        "instability",
    }
    for script, requests in schemas.REQUESTS.items():
        assert requests <= names(getattr(schemas, script))


@pytest.mark.parametrize("mode", MODES)
def test_a_script_takes_all_that_each_thing_it_does_takes(mode):
    script = next(name for name, modes in schemas.MODES.items() if mode.__name__ in modes)
    taken = {field.name: field for field in dataclasses.fields(getattr(schemas, script))}
    for field in dataclasses.fields(mode):
        if field.name in schemas.DERIVED:
            assert field.name not in taken
        elif field.name not in schemas.MODES[script][mode.__name__]:  # of which each has its own
            assert field.name in taken


def test_defaults_are_the_same_whatever_a_script_does():
    both = {mode: schemas.fields(mode.__name__) for mode in (*MODES, schemas.Interpolate)}
    for name in ("points", "margin", "align", "bn", "splits", "alphas", "refine", "output_dir"):
        defaults = {str(known[name].default) for known in both.values() if name in known}
        assert len(defaults) == 1, name


@pytest.mark.parametrize("mode", MODES)
def test_the_options_that_choose_what_is_done_are_values_of_it(mode):
    options = next(modes[mode.__name__] for modes in schemas.MODES.values())
    assert set(options) <= names(mode)


def test_the_groups_of_parts_are_values_of_a_script():
    assert set(schemas.SUPPLIED) <= set().union(*map(names, SCRIPTS))


def test_the_recipe_takes_every_hyperparameter_and_every_option_of_the_model():
    taken = names(recipe.Recipe)
    assert names(schemas.Hparams) <= taken
    assert names(schemas.ModelOptions) <= taken


def test_the_runtime_of_a_training_is_that_of_the_scripts():
    assert names(recipe.Runtime) == names(schemas.Runtime)


def test_the_style_of_a_paper_is_that_of_the_code():
    defaults = {field.name: field.default for field in dataclasses.fields(schemas.Style)}
    assert {field.name: field.default for field in dataclasses.fields(wishes.Style)} == defaults
    paper = CONF / "style" / "paper.yaml"
    assert yaml.safe_load(paper.read_text()) == defaults


def test_every_stream_has_its_seed():
    # Label noise belongs to the data set, which is made before.
    assert names(recipe.Seeds) == names(schemas.Seeds) - {"label_noise"}


def test_the_options_of_the_model_are_those_that_the_code_takes():
    taken = {
        name: signatures.choices("isthmus.schemas_of_training.ModelOptions", name)
        for name in ("init", "bn_init")
    }
    assert taken["init"] == typing.get_args(initialize.INITS)
    assert taken["bn_init"] == typing.get_args(initialize.BN_INITS)
    parts = signatures.arguments("isthmus.schemas_of_training.ModelOptions")["freeze"].annotation
    for part in typing.get_args(freeze.PARTS):
        assert annotations.fits([part], parts)
