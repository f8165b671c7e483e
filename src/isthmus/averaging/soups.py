"""Which networks a mean takes, and with what shares."""

from collections.abc import Callable, Sequence

from torch import Tensor

from isthmus.state_dicts import Mean, StateDict


def ema_weights(num_models: int, decay: float) -> list[float]:
    """Shares of networks in their exponential moving average, which starts from the first.

    Args:
        num_models: at least 1.
        decay: in [0, 1), the share that the average keeps at each further network.

    Returns:
        (models,), with a sum of 1.
    """
    later = [(1 - decay) * decay**age for age in reversed(range(num_models - 1))]
    return [decay ** (num_models - 1), *later]


def greedy_soup(
    load: Callable[[int], StateDict],
    score: Callable[[dict[str, Tensor], int], float],
    scores: Sequence[float],
) -> list[int]:
    """Ingredients of a greedy soup (Wortsman et al., 2022, recipe 1).

    In order of decreasing score, the earlier of two equal ones first, each ingredient is kept if
    the mean with it scores no worse than the one without, so the soup never ends below its best
    ingredient. Memory: the sum of those kept and one network.

    Args:
        load: the network at a position, read anew at each call.
        score: of a mean and the position of its last ingredient, the higher the better.
        scores: (models,), of each ingredient alone.

    Returns:
        Positions of those kept, in the order in which they were; the best ingredient first.

    Raises:
        ValueError: there are no ingredients.
    """
    if not scores:
        raise ValueError("scores: a soup needs at least one ingredient, got none")
    first, *others = sorted(range(len(scores)), key=lambda position: -scores[position])
    kept, best, sums = [first], scores[first], Mean()
    sums.add(load(first))
    for position in others:
        value = score(sums.state_dict_with(load(position)), position)
        if value >= best:
            kept.append(position)
            best = value
            sums.add(load(position))
    return kept
