"""Checks of constructor arguments, whose messages begin with the argument's name."""

import math
from collections.abc import Sequence


def one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse a value that is none of those allowed.

    Raises:
        ValueError: `value` is not in `allowed`.
    """
    if value not in allowed:
        raise ValueError(f"{name}: must be one of {', '.join(map(str, allowed))}, got {value!r}")


def at_least(name: str, value: int, smallest: int) -> None:
    """Refuse a number below `smallest`.

    Raises:
        ValueError: `value` is below `smallest`.
    """
    if value < smallest:
        raise ValueError(f"{name}: must be at least {smallest}, got {value}")


def probability(name: str, value: float) -> None:
    """Refuse a probability outside [0, 1): at 1 nothing would be left.

    Raises:
        ValueError: `value` is outside [0, 1).
    """
    if not 0 <= value < 1:
        raise ValueError(f"{name}: must be in [0, 1), got {value}")


def num_features(input_shape: Sequence[int]) -> int:
    """Numbers in one input, of whatever rank.

    Raises:
        ValueError: `input_shape` is empty or holds a size below 1.
    """
    if len(input_shape) == 0 or min(input_shape) < 1:
        raise ValueError(f"input_shape: must be sizes of at least 1, got {tuple(input_shape)}")
    return math.prod(input_shape)


def image_sizes(input_shape: Sequence[int], smallest: int = 1) -> tuple[int, int, int]:
    """Channels, height and width of one image.

    Args:
        input_shape: (channels, height, width).
        smallest: the least height and width that leave a pixel after the last pooling.

    Raises:
        ValueError: `input_shape` has another rank, or is too small.
    """
    expected = "input_shape: must be (channels, height, width)"
    if len(input_shape) != 3:
        raise ValueError(f"{expected}, got {tuple(input_shape)}")
    channels, height, width = input_shape
    if channels < 1 or min(height, width) < smallest:
        raise ValueError(
            f"{expected} with height and width of at least {smallest}, got {tuple(input_shape)}"
        )
    return channels, height, width
