"""Other masks with as many weights: is it which weights are left that matters, or how many?"""

from collections.abc import Sequence

import torch

from src import chance
from src.pruning import counts
from src.pruning.masks import Mask, num_kept


def shuffled(mask: Mask, strategy: str, pruned: Sequence[str], seed: int) -> Mask:
    """A mask that keeps as many weights in other places.

    Args:
        mask: of a level.
        strategy: "layerwise" shuffles the places within each layer; "global" over all layers
            together; "even" gives each layer the same density, in random places; "identity" leaves
            them where they are.
        pruned: layers whose places are shuffled; the others stay as they are.
        seed: of the shuffle.

    Raises:
        ValueError: `strategy` is another one.
    """
    parts = {name: mask[name] for name in mask if name in pruned}
    kept, sizes = num_kept(parts), {name: part.numel() for name, part in parts.items()}
    if strategy == "identity":
        return dict(mask)
    if strategy == "global":
        whole = torch.cat([part.flatten() for part in parts.values()])
        places = torch.randperm(len(whole), generator=chance.generator(seed, "global"))
        pieces = whole[places].split(list(sizes.values()))
        shapes = [part.shape for part in parts.values()]
        found = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return mask | dict(zip(parts, found, strict=True))
    if strategy not in ("layerwise", "even"):
        raise ValueError(f"strategy: must be layerwise, global, even or identity, got {strategy}")
    wanted = counts.shares(sizes, sum(kept.values())) if strategy == "even" else kept
    result = dict(mask)
    for name, part in parts.items():
        places = torch.randperm(sizes[name], generator=chance.generator(seed, strategy, name))
        flat = torch.zeros(sizes[name], dtype=torch.bool)
        flat[places[: wanted[name]]] = True
        result[name] = flat.view(part.shape)
    return result
