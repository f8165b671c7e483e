from dataclasses import replace
from functools import partial

import pytest
import torch

from isthmus.store import files
from isthmus.store.files import Run
from isthmus.training.fit import fit
from isthmus.training.options import Pretrain, Pretrained
from isthmus.training.pretraining import build_origin, check_inputs, fit_weights, pretrain
from isthmus.training.session import Session
from tests import toys

make = partial(Session, toys.recipe(), toys.data(), toys.SEEDS, toys.RUNTIME)


def weights(run, iteration):
    return files.load_weights(run.weights(iteration))[0]


def test_the_weights_at_the_end_of_a_pretraining_are_what_comes_next(tmp_path):
    run = Run(tmp_path)
    fit(run, make)
    assert toys.equal(pretrain(run, None), weights(run, 9))


def test_a_pretraining_that_was_not_made_is_made_first(tmp_path):
    run = Run(tmp_path / "pretrain")
    first = pretrain(run, make)
    assert run.read_result()["iteration"] == 9
    assert toys.equal(first, weights(run, 9))

    def again():
        raise AssertionError("it was trained before")

    assert toys.equal(pretrain(run, again), first)


def begin_with(run, file=None, **parts):
    options = toys.options(Pretrained, pretrain=Pretrain(weights=file, **parts))
    return build_origin(run, options, toys.data())


def test_nothing_comes_before_a_training_unless_it_is_asked_for(tmp_path):
    assert begin_with(Run(tmp_path)) is None


def test_a_file_lends_its_weights(tmp_path):
    run = Run(tmp_path)
    fit(run, make)
    given = begin_with(Run(tmp_path / "pretrain"), file=str(run.weights(9)))
    assert toys.equal(given(weights(run, 9)), weights(run, 9))
    with pytest.raises(FileNotFoundError, match="no checkpoint .*step_7.safetensors; that folder"):
        begin_with(run, file=str(run.weights(7)))


def test_weights_of_other_classes_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    run = Run(tmp_path)
    fit(run, make)
    begin_with(Run(tmp_path / "pretrain"), file=str(run.weights(9)))
    assert "pretrain.weights" not in caplog.text
    options = toys.options(Pretrained, pretrain=Pretrain(weights=str(run.weights(9))))
    build_origin(run, options, replace(toys.data(), class_names=("c", "b", "a")))
    (line,) = caplog.messages[-1:]
    assert "classes of its training: ['a', 'b', 'c']; here: ['c', 'b', 'a']" in line


def test_a_training_that_was_made_before_needs_no_data(tmp_path):
    run = Run(tmp_path)
    fit(run, make)
    given = begin_with(run, dataset={"root": "not looked at"})
    assert toys.equal(given(weights(run, 9)), weights(run, 9))


def test_data_with_other_inputs_is_refused():
    check_inputs("retrain", toys.data(), (2, 4, 4))
    message = r"^retrain.dataset: has inputs of shape \[2, 4, 4\], and dataset of shape \[3, 4, "
    with pytest.raises(ValueError, match=message):
        check_inputs("retrain", toys.data(), (3, 4, 4))


LAYERS = ("body.weight", "body.bias", "output.weight", "output.bias")


def layers(classes, features=4, fill=0.0):
    shapes = dict(
        zip(LAYERS, [(features, 2), (features,), (classes, features), (classes,)], strict=True)
    )
    return {name: torch.full(shape, fill) for name, shape in shapes.items()}


def test_weights_of_the_same_classes_are_taken_whole():
    found = fit_weights(layers(3, fill=1.0), layers(3), "file")
    assert toys.equal(found, layers(3, fill=1.0))


def test_the_order_of_names_in_a_file_does_not_matter():
    in_file = dict(sorted(layers(3, fill=1.0).items()))
    assert toys.equal(fit_weights(in_file, layers(3), "file"), in_file)
    fresh = fit_weights(dict(sorted(layers(10, fill=1.0).items())), layers(3), "file")
    assert fresh["output.bias"].tolist() == [0.0] * 3


def test_another_number_of_classes_takes_a_fresh_output_layer_and_all_else_as_it_was():
    given = layers(10, fill=1.0)
    found = fit_weights(given, layers(3), "file")
    assert set(found) == set(LAYERS)
    for name in LAYERS:
        expected = layers(3)[name] if name.startswith("output") else given[name]
        assert torch.equal(found[name], expected)


def test_neither_of_two_networks_is_changed_by_fitting():
    given, initial = layers(10, fill=1.0), layers(3)
    fit_weights(given, initial, "file")
    assert toys.equal(given, layers(10, fill=1.0)) and toys.equal(initial, layers(3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (layers(3) | {"more": torch.zeros(1)}, "1 unexpected: more$"),
        ({name: layers(3)[name] for name in LAYERS[1:]}, "1 missing: body.weight$"),
        ({}, "4 missing: body.weight, body.bias, output.weight, output.bias$"),
    ],
    ids=["more", "less", "nothing"],
)
def test_weights_of_another_architecture_are_refused(given, message):
    with pytest.raises(ValueError, match=f"^a file: does not fit the model.* {message}"):
        fit_weights(given, layers(3), "a file")


def test_only_the_output_layer_may_have_another_shape():
    message = r"^a file: .*; 1 of another shape: body.weight \[4, 2\] instead of \[5, 2\]$"
    with pytest.raises(ValueError, match=message):
        fit_weights(layers(3), layers(10) | {"body.weight": torch.zeros(5, 2)}, "a file")
