import re

import pytest

from isthmus.models import layers


def test_a_value_that_is_allowed_passes():
    layers.check_one_of("stem", "cifar", ("imagenet", "cifar"))
    layers.check_at_least("width", 1, 1)
    layers.check_probability("dropout", 0)
    assert layers.num_features((3, 4, 5)) == 60
    assert layers.image_sizes([3, 8, 9], smallest=8) == (3, 8, 9)


def test_a_value_outside_the_choice_is_refused():
    message = "stem: must be one of imagenet, cifar, got 'mnist'"
    with pytest.raises(ValueError, match=f"^{message}$"):
        layers.check_one_of("stem", "mnist", ("imagenet", "cifar"))


def test_a_number_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="^width: must be at least 1, got 0$"):
        layers.check_at_least("width", 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1, float("nan")])
def test_no_probability_is_refused(value):
    message = f"dropout: must be in [0, 1), got {value}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.check_probability("dropout", value)


@pytest.mark.parametrize("input_shape", [(), (0,), (3, 0, 2)])
def test_inputs_without_a_number_are_refused(input_shape):
    message = f"input_shape: must be sizes of at least 1, got {input_shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.num_features(input_shape)


@pytest.mark.parametrize("input_shape", [(784,), (28, 28), (1, 3, 28, 28)])
def test_an_image_of_another_rank_is_refused(input_shape):
    message = f"input_shape: must be (channels, height, width), got {input_shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.image_sizes(input_shape)


@pytest.mark.parametrize("input_shape", [(0, 12, 12), (1, 12, 11), (1, 11, 12)])
def test_an_image_that_is_too_small_is_refused(input_shape):
    message = (
        "input_shape: must be (channels, height, width) with height and width of at least 12, "
        f"got {input_shape}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.image_sizes(input_shape, smallest=12)
