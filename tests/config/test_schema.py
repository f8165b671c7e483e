import dataclasses
import typing

import pytest
import yaml

from isthmus.averaging import options as averaging_options
from isthmus.branching import options as branching_options
from isthmus.config import schema as config_schema
from isthmus.config import signatures
from isthmus.connectivity import options as connectivity_options
from isthmus.models import freeze, initialize
from isthmus.paths import CONF
from isthmus.plots import options as plots_options
from isthmus.plots import restyle
from isthmus.pruning import options as pruning_options
from isthmus.training import options as training_options
from isthmus.training import recipe

SCRIPTS = [
    training_options.TrainScript,
    averaging_options.Eval,
    averaging_options.Average,
    branching_options.Spawn,
    connectivity_options.Interpolate,
    pruning_options.Prune,
    plots_options.Plots,
    training_options.Tune,
]
MODES = [
    getattr(connectivity_options, mode) for modes in config_schema.MODES.values() for mode in modes
]
SECTIONS = [
    training_options.Train,
    training_options.Diagnostics,
    training_options.Family,
    training_options.Pretrain,
    branching_options.SplitMerge,
    training_options.FamilyRuntime,
    training_options.ModelOptions,
]
BRANCHES = [
    pruning_options.RandomlyPrune,
    pruning_options.RandomlyReinitialize,
    pruning_options.Retrain,
    pruning_options.Instability,
]
PLOTTED = [plots_options.Style, plots_options.Labels, plots_options.Compare]
SCHEMAS = [
    *PLOTTED,
    *SCRIPTS,
    *MODES,
    *SECTIONS,
    *BRANCHES,
    training_options.Hparams,
    training_options.Seeds,
    training_options.Runtime,
]


def names(schema: type) -> set[str]:
    return {field.name for field in dataclasses.fields(schema)}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_annotation_refuses_something_unless_it_is_of_a_part_or_a_section(schema):
    # An annotation that `annotations` does not understand would let everything pass. A section
    # of parts of another training is Any.
    for argument in config_schema.fields(schema.__name__).values():
        section = config_schema.dotpath(argument.annotation) or argument.annotation == "Any"
        if argument.name not in config_schema.SUPPLIED and not section:
            assert not signatures.fits_annotation({"no": "such value"}, argument.annotation), (
                argument
            )


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_default_is_of_its_own_type(schema):
    for argument in config_schema.fields(schema.__name__).values():
        if (
            not config_schema.dotpath(argument.annotation)
            and argument.default is not signatures.UNKNOWN
        ):
            assert signatures.fits_annotation(argument.default, argument.annotation), argument


def test_what_is_left_out_of_names_exists():
    assert config_schema.UNNAMED <= set().union(*map(names, SCRIPTS))
    assert set(config_schema.UNNAMED_IN_PARTS) <= {
        *config_schema.SUPPLIED,
        "pretrain",
        "extraction",
        "instability",
    }
    for script, requests in config_schema.REQUESTS.items():
        assert requests <= names(signatures.locate(config_schema.dotpath(script)))


@pytest.mark.parametrize("mode", MODES)
def test_a_script_takes_all_that_each_thing_it_does_takes(mode):
    script = next(name for name, modes in config_schema.MODES.items() if mode.__name__ in modes)
    taken = {
        field.name: field
        for field in dataclasses.fields(signatures.locate(config_schema.dotpath(script)))
    }
    for field in dataclasses.fields(mode):
        if field.name in config_schema.DERIVED:
            assert field.name not in taken
        elif (
            field.name not in config_schema.MODES[script][mode.__name__]
        ):  # of which each has its own
            assert field.name in taken


def test_defaults_are_the_same_whatever_a_script_does():
    both = {
        mode: config_schema.fields(mode.__name__)
        for mode in (*MODES, connectivity_options.Interpolate)
    }
    for name in ("points", "margin", "align", "bn", "splits", "alphas", "refine", "output_dir"):
        defaults = {str(known[name].default) for known in both.values() if name in known}
        assert len(defaults) == 1, name


@pytest.mark.parametrize("mode", MODES)
def test_the_options_that_choose_what_is_done_are_values_of_it(mode):
    options = next(modes[mode.__name__] for modes in config_schema.MODES.values())
    assert set(options) <= names(mode)


def test_the_groups_of_parts_are_values_of_a_script():
    assert set(config_schema.SUPPLIED) <= set().union(*map(names, SCRIPTS))


def test_the_recipe_takes_every_hyperparameter_and_every_option_of_the_model():
    taken = names(recipe.Recipe)
    assert names(training_options.Hparams) <= taken
    assert names(training_options.ModelOptions) <= taken


def test_the_runtime_of_a_training_is_that_of_the_scripts():
    assert names(training_options.Runtime) == names(training_options.Runtime)


def test_the_style_of_a_paper_is_that_of_the_code():
    defaults = {field.name: field.default for field in dataclasses.fields(plots_options.Style)}
    assert {
        field.name: field.default for field in dataclasses.fields(restyle.FigureStyle)
    } == defaults
    paper = CONF / "style" / "paper.yaml"
    assert yaml.safe_load(paper.read_text()) == defaults


def test_every_stream_has_its_seed():
    # Label noise belongs to the data set, which is made before.
    assert names(recipe.StreamSeeds) == names(training_options.Seeds) - {"label_noise"}


def test_the_options_of_the_model_are_those_that_the_code_takes():
    taken = {
        name: signatures.choices("isthmus.training.options.ModelOptions", name)
        for name in ("init", "bn_init")
    }
    assert taken["init"] == typing.get_args(initialize.INITS)
    assert taken["bn_init"] == typing.get_args(initialize.BN_INITS)
    parts = signatures.arguments("isthmus.training.options.ModelOptions")["freeze"].annotation
    for part in typing.get_args(freeze.PARTS):
        assert signatures.fits_annotation([part], parts)
