"""Affine combinations of networks: the points of lines and planes through them."""

from collections.abc import Sequence

from torch import Tensor

from isthmus.state_dicts import StateDict


def combination(networks: Sequence[StateDict], shares: Tensor) -> dict[str, Tensor]:
    """The sum of networks, each times its share, where the shares add up to 1.

    It is computed from the network of the largest share on (the first of those, if several have
    it), as that plus each other's share of the difference from it: so a network itself, and any
    combination of equal networks, comes out exactly. Integers are those of that network.

    Args:
        networks: state dicts of one architecture, on one device.
        shares: (networks,), that add up to 1; negative ones extrapolate.

    Returns:
        A state dict whose tensors may be those of a network.
    """
    nearest = networks[int(shares.argmax())]
    combined = dict(nearest)
    for network, share in zip(networks, shares.tolist(), strict=True):
        if network is nearest or share == 0:
            continue
        for name, tensor in nearest.items():
            if tensor.is_floating_point():
                combined[name] = combined[name].add(network[name] - tensor, alpha=share)
    return combined


def check_alike(networks: Sequence[StateDict]) -> None:
    """Refuse to combine networks of different architectures.

    Raises:
        ValueError: naming the first tensor that is not the same in all.
    """
    first = networks[0]
    for number, other in enumerate(networks[1:], start=2):
        for name in [*first, *(name for name in other if name not in first)]:
            shapes = [tuple(n[name].shape) if name in n else "missing" for n in (first, other)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"networks 1 and {number} are of different architectures: {name} is "
                    f"{shapes[0]} in the first and {shapes[1]} in the other"
                )
