import pytest

from isthmus.training import options

VALUES = {
    "maximize_averaged": True,
    "averaged": {"_target_": "x"},
    "dataset": {"val_fraction": 0.2},
}


def evaluation(**accuracies):
    return {name: {"val": {"accuracy": value, "loss": 1.0}} for name, value in accuracies.items()}


def test_a_search_that_has_what_it_compares_by_can_run():
    assert options.tune_errors(VALUES) == []
    assert options.tune_errors({**VALUES, "averaged": None, "maximize_averaged": False}) == []


@pytest.mark.parametrize("averaged", [None, {}])
def test_a_search_by_an_average_needs_one(averaged):
    (error,) = options.tune_errors({**VALUES, "averaged": averaged})
    assert error.startswith("maximize_averaged=true: there is no averaged model with averaged=none")


def test_a_search_needs_a_validation_split():
    errors = options.tune_errors({**VALUES, "averaged": None, "dataset": {"val_fraction": 0}})
    assert len(errors) == 2
    assert errors[1].startswith("dataset.val_fraction=0: must be positive")


def test_a_trial_comes_to_the_accuracy_of_its_averaged_model_or_of_the_plain_one():
    one = evaluation(plain=0.5, best=0.9, **{"ema_0.9": 0.7})
    assert options.objective(one, True) == 0.7
    assert options.objective(one, False) == 0.5
    several = evaluation(plain=0.5, best=0.9, **{"ema_0.9": 0.7, "ema_0.99": 0.8})
    assert options.objective(several, True) == 0.8
