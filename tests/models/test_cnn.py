import pytest
import torch

from isthmus.models.cnn import CNN


def test_there_are_as_many_parameters_as_in_the_study():
    # Counted in the study's code: 3x3 convolutions 896 + 18,496, linear 1,048,832 + 32,896 + 1,290.
    model = CNN((3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_102_410


@pytest.mark.parametrize("input_shape", [(1, 4, 4), (1, 8, 8), (3, 7, 13)])
def test_other_images_pass(input_shape):
    assert CNN(input_shape, 4).eval()(torch.zeros(1, *input_shape)).shape == (1, 4)


def test_dropout_zeroes_that_fraction_of_the_hidden_units_in_training_only():
    model = CNN((3, 8, 8), 10, dropout=0.25)
    units = torch.ones(100_000)
    dropouts = [layer for layer in model.hidden if isinstance(layer, torch.nn.Dropout)]
    assert len(dropouts) == 2
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for dropout in dropouts:
            assert dropout(units).eq(0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    inputs = torch.randn(3, 3, 8, 8)
    assert model.eval()(inputs).equal(model(inputs))


def test_no_dropout_is_the_same_in_training():
    model = CNN((3, 8, 8), 10, dropout=0)
    inputs = torch.randn(3, 3, 8, 8)
    assert model(inputs).equal(model.eval()(inputs))


@pytest.mark.parametrize(
    ("input_shape", "dropout", "message"),
    [
        ((3, 3, 8), 0.5, r"input_shape: must be .* of at least 4, got \(3, 3, 8\)"),
        ((3, 8, 8), 1.5, r"dropout: must be in \[0, 1\), got 1.5"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(input_shape, dropout, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        CNN(input_shape, 10, dropout)
