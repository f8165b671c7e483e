"""Other masks with as many weights: is it which weights are left that matters, or how many?"""

from collections.abc import Sequence

import torch

from isthmus import chance
from isthmus.pruning import counts
from isthmus.pruning.masks import Mask, num_kept


def shuffled(
    mask: Mask, strategy: str, pruned: Sequence[str], seed: int, first: Mask | None = None
) -> Mask:
    """A mask that keeps as many weights in other places.

    Args:
        mask: of a level.
        strategy: "layerwise" shuffles the places within each layer; "global" over all layers
            together; "even" gives each layer the same density, in random places; "identity" leaves
            them where they are.
        pruned: layers whose places are shuffled; the others stay as they are.
        seed: of the shuffle.
        first: the mask of level 0 where that is a ticket, among whose places others are drawn;
            None: it has all weights.

    Raises:
        ValueError: `strategy` is another one.
    """
    parts = {name: mask[name] for name in mask if name in pruned}
    places = {
        name: (torch.ones_like(part) if first is None else first[name]).flatten().nonzero()[:, 0]
        for name, part in parts.items()
    }
    kept, sizes = num_kept(parts), {name: len(own) for name, own in places.items()}
    if strategy == "identity":
        return dict(mask)
    if strategy == "global":
        left = torch.cat([parts[name].flatten()[places[name]] for name in parts])
        order = torch.randperm(len(left), generator=chance.generator(seed, "global"))
        pieces = left[order].split(list(sizes.values()))
        drawn = {name: places[name][piece] for name, piece in zip(parts, pieces, strict=True)}
    elif strategy in ("layerwise", "even"):
        counted = counts.shares(sizes, sum(kept.values())) if strategy == "even" else kept
        drawn = {
            name: places[name][
                torch.randperm(sizes[name], generator=chance.generator(seed, strategy, name))
            ][: counted[name]]
            for name in parts
        }
    else:
        raise ValueError(f"strategy: must be layerwise, global, even or identity, got {strategy}")
    result = dict(mask)
    for name, part in parts.items():
        flat = torch.zeros(part.numel(), dtype=torch.bool)
        flat[drawn[name]] = True
        result[name] = flat.view(part.shape)
    return result
