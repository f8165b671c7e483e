import pytest

from isthmus.config import suggestions
from isthmus.connectivity.options import Interpolate
from isthmus.extraction.options import Extract
from isthmus.training.options import TrainScript

TRAIN = suggestions.option_names(TrainScript)


def test_all_that_can_be_typed_has_its_full_name():
    names = {
        "model",
        "model.init",
        "model.width",
        "optimizer.lr",
        "hparams.epochs",
        "seeds.dropout",
    }
    assert names <= TRAIN.keys()
    assert not {"typed", "model.num_classes", "optimizer.parameters"} & TRAIN.keys()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("models", ["model"]),
        ("lr", ["optimizer.lr"]),
        ("learning_rate", ["optimizer.lr"]),
        ("optimiser.lr", ["optimizer.lr"]),
        ("model.widht", ["model.width"]),
        ("hparams.lr", ["optimizer.lr"]),
        ("batchsize", ["hparams.batch_size"]),
        ("xyz", []),
    ],
)
def test_the_nearest_option_has_its_section_before_it(typed, meant):
    assert suggestions.nearest_options(typed, TRAIN) == meant


def test_an_option_is_suggested_for_other_words_for_it():
    assert suggestions.nearest_options("seed", TRAIN)[0] == "global_seed"
    extract = suggestions.option_names(Extract)
    assert suggestions.nearest_options("dataset", extract) == ["extraction.datagen"]
    assert suggestions.nearest_options("gamma", extract) == ["extraction.gamma"]


def test_options_of_one_letter_less_come_before_others_of_that_name():
    names = suggestions.option_names(Interpolate)
    assert suggestions.nearest_options("k", names) == ["k1", "k2", "dataset.k"]


def test_at_most_three_names_are_suggested_and_only_those_as_good_as_the_best():
    many = ["aaaa1", "aaaa2", "aaaa3", "aaaa4", "aazz"]
    assert suggestions.nearest("aaaa", many) == ["aaaa1", "aaaa2", "aaaa3"]
    assert suggestions.nearest("EMA", ["ema", "swa"]) == ["ema"]
    assert suggestions.nearest("q", []) == []


def test_a_suggestion_ends_a_message_and_is_empty_without_names():
    assert suggestions.question([]) == ""
    assert suggestions.question(["a", "b"]) == "; did you mean a or b?"


def test_scripts_with_an_option_are_named_as_typed():
    assert suggestions.scripts_with("checkpoint") == ["eval.py"]
    assert suggestions.scripts_with("spawn_steps.x") == ["spawn.py"]
    assert suggestions.scripts_with("xyz") == []
