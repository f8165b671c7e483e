import pytest

from isthmus.config import naming, schema, validation
from isthmus.extraction import options
from tests.values import defaults


def values(extraction=None, **changes):
    own = defaults(options.Extract, teacher="synthetic") | changes
    own["extraction"] |= extraction or {}
    return own


def name(*arguments, **changes):
    return naming.run_name(values(*arguments, **changes), options.Extract)


def clustering(*arguments):
    return schema.make_options(options.Extract, values(*arguments)).extraction.clustering_name


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
    lines = validation.validation_errors(
        values(teacher="a.safetensors", synthetic=own), options.Extract
    )
    assert "synthetic.activation=g: only teacher=synthetic has it" in lines


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
    assert name() == "94b1c8cf9c"
    assert name({"num_students": 50, "datagen": "grid"}, fingerprint="0123") == "393148e6d4"
    assert clustering() == "f43abb3290"
    assert clustering({"gamma": 0.8}) == "9dd6f400a3"


def test_what_becomes_of_students_is_not_in_their_name():
    for change in ({"gamma": 0.8}, {"mask": "variance"}, {"affine": "skip"}, {"refit_epochs": 3}):
        assert name(change) == name()
        changed = clustering(change)
        assert changed != clustering()
    for change in ({"num_students": 9}, {"epochs": 3}, {"datagen": "uniform"}):
        assert name(change) != name()
    assert name(teacher="b") == name(teacher="a") != name(teacher="a", fingerprint="other")
