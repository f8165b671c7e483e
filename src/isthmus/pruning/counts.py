"""How many weights are pruned: whole numbers, the same on every machine. Imports no torch."""

from collections.abc import Mapping, Sequence
from fractions import Fraction


def num_pruned(num_weights: int, fraction: float, level: int) -> int:
    """Weights without a place at a level, of those that the dense network has.

    `num_weights * (1 - (1 - fraction) ** level)`, rounded to the nearest whole number and halves
    to the even one, as `torch.nn.utils.prune` rounds. It is reckoned from the dense network, not
    from the level before, so that roundings do not add up; exactly, with `fraction` as typed.

    Args:
        num_weights: of the dense network.
        fraction: in (0, 1), of what is left that each level prunes.
        level: 0 for the dense network.
    """
    kept = (1 - Fraction(repr(fraction))) ** level
    return round(num_weights * (1 - kept))


def shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """`total` shared out among layers by their sizes, in whole numbers that sum to it.

    The layers whose exact share loses most when it is rounded down get one more; of equal ones the
    first (the method of largest remainders).

    Args:
        sizes: weights by layer.
        total: at most the sum of the sizes.
    """
    whole = sum(sizes.values())
    exact = {name: Fraction(size * total, whole) for name, size in sizes.items()}
    result = {name: int(share) for name, share in exact.items()}
    left = total - sum(result.values())
    by_loss = sorted(sizes, key=lambda name: result[name] - exact[name])  # stable
    return {name: count + (name in by_loss[:left]) for name, count in result.items()}


def check_room(
    groups: Sequence[tuple[Mapping[str, int], float]], levels: int, fraction_name: str
) -> None:
    """Refuse levels that have fewer weights left than layers to keep them in.

    Args:
        groups: sizes by layer of those that are pruned as one, and at which rate.
        levels: the last level.
        fraction_name: what the rate follows from, as typed, for the message.

    Raises:
        ValueError: naming the first such level.
    """
    for level in range(1, levels + 1):
        for sizes, rate in groups:
            num_weights = sum(sizes.values())
            left = num_weights - num_pruned(num_weights, rate, level)
            if left < len(sizes):
                raise ValueError(
                    f"{fraction_name}: level {level} would keep {left} of the {num_weights} "
                    f"weights of {', '.join(sizes)}, and so empty a layer; "
                    f"at most {level - 1} levels are possible"
                )
