import dataclasses
import typing

import pytest

from src import annotations, schemas, signatures
from src.models import freeze, initialize
from src.training import recipe

SCRIPTS = [schemas.Train, schemas.Eval, schemas.Average, schemas.Spawn, schemas.Prune]
SECTIONS = [
    schemas.Family,
    schemas.Pretrain,
    schemas.SplitMerge,
    schemas.SpawnOptions,
    schemas.ModelOptions,
]
BRANCHES = [schemas.RandomlyPrune, schemas.RandomlyReinitialize, schemas.Retrain]
SCHEMAS = [*SCRIPTS, *SECTIONS, *BRANCHES, schemas.Hparams, schemas.Seeds, schemas.Runtime]


def names(schema: type) -> set[str]:
    return {field.name for field in dataclasses.fields(schema)}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_annotation_refuses_something_unless_it_is_of_a_part_or_a_section(schema):
    # An annotation that `annotations` does not understand would let everything pass.
    for argument in signatures.arguments(f"src.schemas.{schema.__name__}").values():
        section = hasattr(schemas, argument.annotation)
        if argument.name not in schemas.SUPPLIED and not section:
            assert not annotations.fits({"no": "such value"}, argument.annotation), argument


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_default_is_of_its_own_type(schema):
    for argument in signatures.arguments(f"src.schemas.{schema.__name__}").values():
        if not hasattr(schemas, argument.annotation) and argument.default is not signatures.UNKNOWN:
            assert annotations.fits(argument.default, argument.annotation), argument


def test_what_is_left_out_of_names_exists():
    assert schemas.UNNAMED <= set().union(*map(names, SCRIPTS))
    assert set(schemas.UNNAMED_IN_PARTS) <= set(schemas.SUPPLIED) | {"pretrain"}
    for script, requests in schemas.REQUESTS.items():
        assert requests <= names(getattr(schemas, script))


def test_the_groups_of_parts_are_values_of_a_script():
    assert set(schemas.SUPPLIED) <= set().union(*map(names, SCRIPTS))


def test_the_recipe_takes_every_hyperparameter_and_every_option_of_the_model():
    taken = names(recipe.Recipe)
    assert names(schemas.Hparams) <= taken
    assert names(schemas.ModelOptions) <= taken


def test_the_runtime_of_a_training_is_that_of_the_scripts_but_for_the_threads():
    assert names(recipe.Runtime) == names(schemas.Runtime) - {"num_threads"}


def test_every_stream_has_its_seed():
    # Label noise belongs to the data set, which is made before.
    assert names(recipe.Seeds) == names(schemas.Seeds) - {"label_noise"}


def test_the_options_of_the_model_are_those_that_the_code_takes():
    taken = {
        name: signatures.choices("src.schemas.ModelOptions", name) for name in ("init", "bn_init")
    }
    assert taken["init"] == typing.get_args(initialize.INITS)
    assert taken["bn_init"] == typing.get_args(initialize.BN_INITS)
    parts = signatures.arguments("src.schemas.ModelOptions")["freeze"].annotation
    for part in typing.get_args(freeze.PARTS):
        assert annotations.fits([part], parts)
