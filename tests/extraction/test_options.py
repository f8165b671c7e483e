import pytest

from isthmus.config import naming, schema, validation
from isthmus.extraction import options, stacks
from tests.values import defaults


def values(extraction=None, **changes):
    own = defaults(options.Extract, teacher="synthetic") | changes
    own["extraction"] |= extraction or {}
    return own


def name(*arguments, **changes):
    return naming.run_name(values(*arguments, **changes), options.Extract)


def clustering(*arguments):
    return schema.make_options(options.Extract, values(*arguments)).clustering_name


REFUSED = [
    ({"gamma": 0.1}, "extraction.gamma=0.1: gamma * num_students must be at least 2 for students"),
    ({"gamma": 1.5}, "extraction.gamma=1.5: must be at most 1"),
    ({"gamma": 0.0}, "extraction.gamma=0.0: must be positive"),
    ({"beta": 30.0}, "extraction.beta=30: must be at most pi / 2, in radians"),
    ({"num_students": 1}, "extraction.num_students=1: must be at least 2"),
    ({"num_samples": 0}, "extraction.num_samples=0: must be at least 1"),
    ({"expansion": 0.5}, "extraction.expansion=0.5: must be at least 1"),
    ({"width": [4, 0]}, "extraction.width=[4,0]: must be at least one layer"),
    ({"width": []}, "extraction.width=[]: must be at least one layer"),
    ({"factor": 1.0}, "extraction.factor=1.0: must be below 1"),
    ({"min_lr": 1.0}, "extraction.min_lr=1: must be below lr=0.001"),
    ({"finetune_lr": 1e-8}, "extraction.finetune_lr=1e-08: must be above min_lr=1e-07"),
    ({"finetune_lr": 1e-7}, "extraction.finetune_lr=1e-07: must be above min_lr=1e-07"),
    ({"datagen": "mnist+noise"}, "extraction.datagen=mnist+noise: noise is none of mnist, fash"),
    ({"datagen": "grid+"}, "extraction.datagen=grid+: nothing is none of"),
    ({"datagen": "grid+grid"}, "extraction.datagen=grid+grid: must not repeat a name"),
    ({"datagen": "file"}, "extraction.file: needs a value with datagen=file"),
    ({"file": "a.npz"}, "extraction.file=a.npz: only extraction.datagen=file reads it"),
    ({"datagen": "grid+uniform", "num_samples": 1}, "extraction.num_samples=1: fewer than names"),
    ({"mask": "pixels"}, "extraction.mask=pixels: must be one of boruta, variance or null"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_each_bad_value_gets_one_line(change, message):
    (line,) = validation.validation_errors(values(change), options.Extract)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": None}, "teacher=null: only with extraction.datagen=file"),
        ({"teacher": "???"}, "teacher: needs a value"),
        (
            {"dataset": {"root": "a", "augment": True}},
            "dataset.augment: no such option; extract.py",
        ),
    ],
)
def test_a_teacher_that_is_none_and_a_data_set_that_has_no_options(changes, message):
    assert any(
        line.startswith(message)
        for line in validation.validation_errors(values(**changes), options.Extract)
    )


def test_a_synthetic_teacher_is_made_of_values_that_another_has_not():
    own = {"num_inputs": 0, "num_outputs": 1, "width": [3, 0], "activation": "g", "seed": 0}
    lines = validation.validation_errors(values(synthetic=own), options.Extract)
    assert lines[0].startswith("synthetic.num_inputs=0: must be at least 1")
    assert lines[1].startswith("synthetic.width=[3,0]: ")


UNUSED = [  # options that change nothing, what is typed beside them, and what names the reason
    ({"synthetic": {"width": 8}}, {"teacher": "a.safetensors"}, "teacher=synthetic"),
    ({"span": 2.0}, {}, "extraction.datagen=gaussian"),
    ({"span": 2.0}, {"datagen": "digits+gaussian"}, "extraction.datagen=digits+gaussian"),
    ({"expansion": 2.0}, {"width": 9}, "extraction.width=9"),
    ({"affine": "skip"}, {}, "tanh"),
    ({"affine": "skip"}, {"teacher": "a.safetensors", "activation": "elu"}, "elu"),
    ({"refit_epochs": 3}, {}, "first hidden one"),
    ({"finetune_lr": 0.1}, {"finetune_epochs": 0}, "extraction.finetune_epochs=0"),
]
USED = [
    ({"span": 2.0}, {"datagen": "gaussian+grid"}),
    ({"affine": "skip"}, {"teacher": "a.safetensors"}),  # whose activation is in the file
    ({"affine": "skip"}, {"activation": "gelu"}),
    ({"refit_epochs": 3}, {"synthetic": {"width": [4, 4]}}),
    ({"refit_epochs": 3}, {"teacher": "a.safetensors"}),
    ({"finetune_lr": 0.1}, {"finetune_epochs": 0, "synthetic": {"width": [4, 4]}}),
]


def combined(*changes):
    """Values of a script, where each change is of the section `extraction` unless it says more."""
    own = values()
    for name, value in (item for change in changes for item in change.items()):
        section = own if name in own else own["extraction"]
        section[name] = section[name] | value if name == "synthetic" else value
    return own


def names_of(own):
    extraction = schema.make_options(options.Extract, own)
    return naming.run_name(own, options.Extract), extraction.clustering_name


@pytest.mark.parametrize(("unused", "beside", "reason"), UNUSED)
def test_an_option_that_changes_nothing_is_refused_if_typed_and_else_not_in_a_name(
    unused, beside, reason
):
    (name,) = (f"synthetic.{n}" if n == "width" else f"extraction.{n}" for n in
               unused.get("synthetic", unused))  # fmt: skip
    own = combined(beside, unused)
    (line,) = validation.validation_errors(own | {"typed": [name]}, options.Extract)
    assert line.startswith(f"{name}=") and ": has no effect, " in line and reason in line
    assert validation.validation_errors(own, options.Extract) == []
    assert names_of(own) == names_of(combined(beside))


@pytest.mark.parametrize(("used", "beside"), USED)
def test_the_same_option_has_an_effect_beside_others(used, beside):
    (name,) = used
    own = combined(beside, used) | {"typed": [f"extraction.{name}"]}
    assert validation.validation_errors(own, options.Extract) == []
    assert names_of(own) != names_of(combined(beside))


def test_the_activations_with_an_affine_path_are_those_whose_sign_leaves_one():
    signs = {name: symmetry.sign for name, symmetry in stacks.SYMMETRIES.items()}
    assert {name for name in signs if signs[name] == "even_linear"} == set(options.EVEN_LINEAR)


def test_a_file_without_teacher_needs_to_say_what_students_are():
    file = {"datagen": "file", "file": "a.npz"}
    lines = validation.validation_errors(values(file, teacher=None), options.Extract)
    assert [line.partition(":")[0] for line in lines] == [
        "extraction.width",
        "extraction.activation",
    ]
    whole = file | {"width": 8, "activation": "tanh"}
    assert validation.validation_errors(values(whole, teacher=None), options.Extract) == []


def test_names_stay_what_they_were():
    # Another name would lose every finished run.
    assert name() == "7c5b8e29f1"
    assert name({"batch_size": 50, "datagen": "grid"}, fingerprint="0123") == "bc190ad268"
    assert clustering() == "f43abb3290"
    assert clustering({"gamma": 0.8}) == "9dd6f400a3"


def test_what_becomes_of_students_is_not_in_their_name():
    deep = {"synthetic": defaults(options.Synthetic, width=[4, 4], activation="gelu")}
    for change in (
        *({"gamma": 0.8}, {"mask": "variance"}, {"affine": "skip"}, {"refit_epochs": 3}),
        *({"num_students": 9}, {"epochs": 3}),  # students go on from where they are
    ):
        one, other = values(change, **deep), values(**deep)
        assert names_of(one)[0] == names_of(other)[0]
        assert names_of(one)[1] != names_of(other)[1]
    for change in ({"lr": 0.1}, {"patience": 3}, {"datagen": "uniform"}):
        assert name(change) != name()
    assert name(teacher="b") == name(teacher="a") != name(teacher="a", fingerprint="other")
