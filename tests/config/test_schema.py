import typing
from dataclasses import dataclass

import pytest
import yaml

from isthmus.averaging import options as averaging_options
from isthmus.branching import options as branching_options
from isthmus.config import schema, signatures
from isthmus.config.parts import GROUPS, Part
from isthmus.config.schema import Section, option
from isthmus.connectivity import options as connectivity_options
from isthmus.extraction import options as extraction_options
from isthmus.models import freeze, initialize
from isthmus.paths import CONF
from isthmus.plots import options as plots_options
from isthmus.pruning import options as pruning_options
from isthmus.training import options as training_options
from isthmus.training.options import Pretrained, Train

MODULES = (
    averaging_options,
    branching_options,
    connectivity_options,
    extraction_options,
    plots_options,
    pruning_options,
    training_options,
)
CLASSES = sorted(
    {
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Section) and value is not Section
    },
    key=lambda cls: cls.__name__,
)
SCRIPTS = [signatures.locate(dotpath) for dotpath in schema.SCRIPTS.values()]
MODES = connectivity_options.Interpolate.MODES


def plain_fields(cls: type[Section]) -> list[signatures.Argument]:
    """Fields that are neither a part nor a section."""
    fields = schema.fields(cls).values()
    return [f for f in fields if not schema.is_part(f) and schema.section_class(f) is None]


def test_there_are_options_of_all_scripts_and_sections():
    assert len(CLASSES) > 30
    assert set(SCRIPTS) <= set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_annotation_refuses_something(cls):
    for argument in plain_fields(cls):
        takes_names = "dict[" in str(argument.annotation)  # of options
        if not takes_names and argument.default != {}:
            assert not signatures.fits_annotation({"no": "such value"}, argument.annotation)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_default_is_of_its_own_type(cls):
    for argument in plain_fields(cls):
        if argument.default is not signatures.REQUIRED:
            assert signatures.fits_annotation(argument.default, argument.annotation), argument


@pytest.mark.parametrize("cls", CLASSES)
def test_every_field_says_only_what_is_known_of_fields(cls):
    known = {"in_name", "is_derived", "is_set", "is_partial", "aliases"}
    known |= {"above", "below", "at_least", "at_most", "nonempty", "distinct"}
    for argument in schema.fields(cls).values():
        assert argument.metadata.keys() <= known, argument
        assert argument.metadata["in_name"] in ("run", "clustering", None)


@pytest.mark.parametrize("mode", MODES)
def test_a_script_takes_all_that_each_of_its_modes_takes(mode):
    script = schema.fields(connectivity_options.Interpolate)
    for name, argument in schema.fields(mode).items():
        if argument.metadata.get("is_derived"):
            assert name in ("typed", "dataset_typed", "contents")
        elif name not in MODES[mode]:  # of which each has its own
            assert name in script
    assert set(MODES[mode]) <= schema.fields(mode).keys()


def test_defaults_are_the_same_in_all_modes_of_a_script():
    both = {mode: schema.fields(mode) for mode in (*MODES, connectivity_options.Interpolate)}
    for name in ("points", "margin", "align", "bn", "splits", "alphas", "refine", "output_dir"):
        defaults = {str(known[name].default) for known in both.values() if name in known}
        assert len(defaults) == 1, name


def test_the_groups_of_parts_are_options_of_a_script():
    assert set(GROUPS) <= set().union(*(schema.fields(cls) for cls in SCRIPTS))


def test_the_style_of_a_paper_is_that_of_the_code():
    defaults = schema.default_values(plots_options.Style)
    paper = CONF / "style" / "paper.yaml"
    assert yaml.safe_load(paper.read_text()) == defaults


def test_every_stream_has_its_seed():
    # Label noise belongs to the data set, which is made before.
    streams = training_options.StreamSeeds.__annotations__.keys()
    assert streams == schema.fields(training_options.Seeds).keys() - {"label_noise"}


def test_the_options_of_the_model_are_those_that_the_code_takes():
    fields = schema.fields(training_options.ModelOptions)
    taken = {name: typing.get_args(fields[name].annotation) for name in ("init", "bn_init")}
    assert taken["init"] == typing.get_args(initialize.INITS)
    assert taken["bn_init"] == typing.get_args(initialize.BN_INITS)
    for part in typing.get_args(freeze.PARTS):
        assert signatures.fits_annotation([part], fields["freeze"].annotation)


@dataclass(frozen=True, kw_only=True)
class Inner(Section):
    number: int = 3
    names: list[str] = option(["a"])


@dataclass(frozen=True, kw_only=True)
class Outer(Section):
    needed: str
    optimizer: Part | None = None
    dataset: Part | None = option(None, is_partial=True)
    inner: Inner = option(Inner)
    found: list[str] = option([], is_derived=True)


VALUES = {
    "needed": "x",
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
    "dataset": {"root": "data"},
    "inner": {"number": 4, "names": ["b", "c"]},
}


def test_options_are_made_of_values_and_give_them_back():
    options = schema.make_options(Outer, VALUES | {"found": ["f"], "of_another": 1})
    assert options == Outer(
        needed="x",
        optimizer=Part("optimizer", "torch.optim.SGD", {"lr": 0.1}),
        dataset=Part("dataset", None, {"root": "data"}),
        inner=Inner(number=4, names=["b", "c"]),
        found=["f"],
    )
    assert schema.to_values(options) == VALUES


def test_a_part_without_a_target_is_off_unless_it_changes_another():
    options = schema.make_options(Outer, VALUES | {"optimizer": {"lr": 1.0}, "dataset": None})
    assert options.optimizer is None and options.dataset is None


def test_defaults_are_plain_and_not_shared():
    assert schema.default_values(Outer) == {
        "needed": "???",
        "optimizer": None,
        "dataset": None,
        "inner": {"number": 3, "names": ["a"]},
        "found": [],
    }
    first, second = Inner(), Inner()
    first.names.append("b")
    assert second.names == ["a"]


def test_values_can_be_those_of_a_base():
    @dataclass(frozen=True, kw_only=True)
    class Further(Inner):
        more: int = 1

    assert schema.to_values(Further(), Inner) == {"number": 3, "names": ["a"]}


@pytest.mark.parametrize(
    ("node", "unused"),
    [
        ({"val_fraction": 0}, {"dataset.val_seed", "dataset.subsample_seed"}),
        ({"val_fraction": 0.1, "subsample_fraction": 0.5}, set()),
        ({"val_fraction": 0.1, "subsample_fraction": 1}, {"dataset.subsample_seed"}),
        ({}, {"dataset.subsample_seed"}),  # by the defaults of the code
    ],
)
def test_the_class_of_a_part_says_which_options_have_no_effect(node, unused):
    values = {"dataset": {"_target_": "isthmus.data.digits.Digits"} | node}
    reasons = schema.options_without_effect(values, Train)
    assert {name for name in reasons if name.startswith("dataset.")} == unused
    inner = schema.options_without_effect({"pretrain": values}, Pretrained)
    assert {name for name in inner if name.startswith("pretrain.dataset.")} == {
        f"pretrain.{name}" for name in unused
    }


def test_the_value_of_a_part_is_the_typed_one_or_the_default_of_its_code():
    digits = {"_target_": "isthmus.data.digits.Digits", "val_fraction": 0.3}
    assert schema.part_value("dataset", digits, "val_fraction") == 0.3
    assert schema.part_value("dataset", digits, "val_seed") == 1234
    assert schema.part_value("dataset", digits, "num_points", missing=7) == 7
    assert schema.part_value("dataset", None, "val_seed", missing=7) == 7
    assert schema.part_value("dataset", {"_target_": "isthmus.no.Such"}, "val_seed") is None
