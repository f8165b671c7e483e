"""One network brought close to another by permuting its hidden units."""

from torch import Tensor, nn

from isthmus.connectivity import activation_matching, combinations, groups, weight_matching
from isthmus.connectivity.permutations import permuted
from isthmus.models import structure
from isthmus.state_dicts import StateDict


def aligned(
    model: nn.Module, start: StateDict, end: StateDict, align: str, inputs: Tensor
) -> StateDict:
    """The network that computes what `end` does, with its units paired with those of `start`.

    Args:
        model: the architecture, on the device on which to compute; it is left as it is.
        start: weights of the network that stays as it is.
        end: weights to be aligned.
        align: "none": as they are; "weights": see `weight_matching.match`; "activations": see
            `activation_matching.match`.
        inputs: (examples, ...), normalized and not augmented; those of the activations.

    Raises:
        ValueError: the networks differ in architecture, or the units of this one cannot be found.
    """
    combinations.check_alike([start, end])
    if align == "none":
        return end
    try:
        structure.check_weights(model)
        found = groups.find(model, inputs)
    except ValueError as error:
        raise ValueError(f"align={align}: {error}") from error
    if align == "weights":
        permutations = weight_matching.match(start, end, found)
    else:
        permutations = activation_matching.match(model, start, end, found, inputs)
    return permuted(end, found, permutations)
