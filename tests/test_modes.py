import pytest

from isthmus.config import naming
from isthmus.store import fingerprints

BRANCHES, LINE, PLANE = "InterpolateBranches", "InterpolateLine", "InterpolatePlane"


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ({}, BRANCHES),
        ({"k1": "???", "k2": "???", "start": None, "end": None, "plane": None}, BRANCHES),
        ({"k1": 0, "k2": 1}, BRANCHES),
        ({"start": "a", "end": "b"}, LINE),
        ({"end": "b"}, LINE),
        ({"plane": ["a", "b", "c"]}, PLANE),
        ({"plane": []}, PLANE),
        ({"k1": 1, "k2": 3, "start": "a", "end": "b"}, LINE),  # k1 and k2 of an experiment
        ({"k1": 1, "start": "a", "plane": ["a", "b", "c"]}, PLANE),
    ],
)
def test_what_is_done_follows_from_the_options_that_have_a_value(values, chosen):
    assert naming.choose_mode("Interpolate", values) == chosen


@pytest.mark.parametrize("schema", ["Train", "Spawn", "Eval"])
def test_a_script_that_does_one_thing_does_that(schema):
    assert naming.choose_mode(schema, {"start": "a"}) == schema
    assert naming.missing_mode({}, schema) == []
    assert naming.options_of_other_mode(schema, schema, ["start", "checkpoint"]) == []


def test_only_lines_and_planes_of_saved_networks_know_their_model_from_the_weights():
    schemas = ("Train", "Spawn", "Eval", "Average", BRANCHES, LINE, PLANE)
    assert [s for s in schemas if naming.is_of_saved(s)] == [LINE, PLANE]


def interpolate(**changes):
    """Values of the script as they are composed, with a data set of its defaults."""
    dataset = {"_target_": "isthmus.data.torchvision_files.CIFAR10", "root": "data", "cutout": 4}
    return {
        "dataset": dataset,
        "model": {"_target_": "isthmus.models.mlp.MLP"},
        "precision": "fp32",
        "alphas": 25,
        "k1": "???",
        "start": "a",
        "end": "b",
        "plane": None,
        "splits": ["train"],
        "output_dir": "outputs",
        **changes,
    }


def test_saved_networks_take_only_their_own_values_and_none_of_the_training():
    own = naming.values_of_saved(interpolate(), LINE, [])
    assert set(own) == {
        *("dataset", "precision", "alphas", "start", "end", "splits", "output_dir", "contents")
    }
    assert own["dataset"] == {"root": "data"}
    assert own["precision"] is None


def test_saved_networks_have_no_children_to_train_at_a_time():
    runtime = {"device": "cpu", "num_jobs": 1}
    assert naming.values_of_saved(interpolate(runtime=runtime), LINE, [])["runtime"] == {
        "device": "cpu"
    }
    typed = naming.values_of_saved(interpolate(runtime=runtime), LINE, ["runtime.num_jobs"])
    assert typed["runtime"] == runtime  # which is refused


def test_what_was_typed_of_the_data_and_the_precision_stays():
    own = naming.values_of_saved(
        interpolate(), LINE, ["dataset.cutout", "precision", "dataset.root"]
    )
    assert own["dataset"] == {"root": "data", "cutout": 4}
    assert own["precision"] == "fp32"
    typed = naming.values_of_saved(interpolate(), LINE, ["dataset"])
    assert typed["dataset"] == interpolate()["dataset"]


def test_a_value_that_was_taken_away_is_not_there():
    assert naming.values_of_saved(interpolate(), LINE, ["dataset.noise"])["dataset"] == {
        "root": "data"
    }
    assert naming.values_of_saved(interpolate(dataset=None), LINE, [])["dataset"] == {}


def test_a_network_that_was_not_named_is_missing():
    assert naming.values_of_saved(interpolate(end=None), LINE, [])["end"] == "???"


def test_the_contents_of_the_networks_are_those_of_their_files_in_order(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("first"), b.write_text("second")
    first, second = (fingerprints.file_digest(str(file)) for file in (a, b))
    own = naming.values_of_saved(interpolate(start=str(b), end=str(a)), LINE, [])
    assert own["contents"] == [second, first] != [first, second]
    plane = interpolate(start=None, end=None, plane=[str(a), str(b), "nowhere"])
    assert naming.values_of_saved(plane, PLANE, [])["contents"] == [first, second, "absent"]


@pytest.mark.parametrize(
    ("schema", "typed", "start"),
    [
        (LINE, ["k1"], "k1: not with start and end, which takes dataset, runtime, "),
        (LINE, ["model"], "model: not with start and end, which takes "),
        (LINE, ["hparams.epochs", "hparams.steps"], "hparams: not with start and end, which takes"),
        (PLANE, ["alphas"], "alphas: not with plane, which takes "),
        (BRANCHES, ["margin"], "margin: not with k1 and k2, which takes "),
    ],
)
def test_an_option_of_something_else_is_refused_once_with_those_that_there_are(
    schema, typed, start
):
    (error,) = naming.options_of_other_mode(schema, "Interpolate", typed)
    assert error.startswith(start)
    assert "contents" not in error


@pytest.mark.parametrize(
    ("schema", "typed"),
    [
        (LINE, ["start", "end", "alphas", "bn", "dataset.root", "runtime.device", "output_dir"]),
        (PLANE, ["plane", "project", "margin", "points"]),
        (BRANCHES, ["k1", "k2", "model", "hparams.epochs", "child_seeds", "pretrain.weights"]),
        (LINE, ["experiment", "hydra.launcher.n_jobs", "nowhere"]),  # for others to refuse
    ],
)
def test_options_of_what_is_done_are_no_strangers(schema, typed):
    assert naming.options_of_other_mode(schema, "Interpolate", typed) == []


def test_a_script_that_was_not_told_what_to_do_says_what_there_is():
    (error,) = naming.missing_mode({"k1": "???", "k2": "???", "start": None}, "Interpolate")
    assert error == (
        "k1=... and k2=..., or start=... and end=..., or plane=... says what to do; --help says "
        "what each means"
    )
    for told in ({"k1": 0}, {"end": "b"}, {"plane": []}):
        assert naming.missing_mode(told, "Interpolate") == []
