"""Keeps pruned weights at 0 during training, and reads the mask that weights were trained under."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from isthmus.store import files, fingerprints, reading
from isthmus.training import masks
from isthmus.training.masks import Mask
from isthmus.training.session import Session


class Masking:
    """Keeps the weights of one network that have no place at 0, a `loop.Constraint`.

    Their gradients are 0 before anything reads them: they add nothing to the norm that is clipped,
    to momentum, nor to Adam's moments.

    Args:
        model: the network, on its device and in its memory format.
        mask: of its layers.

    Raises:
        ValueError: it is the mask of another model.
    """

    def __init__(self, model: nn.Module, mask: Mask) -> None:
        parameters = dict(model.named_parameters())
        masks.check_mask(mask, {name: parameter.shape for name, parameter in parameters.items()})
        pruned = [name for name, kept in mask.items() if not kept.all()]
        self._weights: list[Tensor] = [parameters[name] for name in pruned]
        # In the type and memory format of the weights: a product with booleans is 7 times as slow.
        self._kept = [torch.empty_like(parameters[name]).copy_(mask[name]) for name in pruned]

    @torch.no_grad()
    def on_gradients(self) -> None:
        """Take the gradients of pruned weights away."""
        pairs = zip(self._weights, self._kept, strict=True)
        trained = [(w.grad, kept) for w, kept in pairs if w.grad is not None]
        if trained:  # else all of these layers are frozen
            torch._foreach_mul_([g for g, _ in trained], [kept for _, kept in trained])

    @torch.no_grad()
    def on_weights(self) -> None:
        """Put pruned weights at 0, whatever an optimizer did to them."""
        if self._weights:
            torch._foreach_mul_(self._weights, self._kept)


@torch.no_grad()
def mask_session_(session: Session, mask: Mask) -> None:
    """Take pruned weights out of all that a session remembers, in place.

    That is the weights, what the optimizer keeps of each (momentum), and averaged models.
    """
    weights = masks.apply_mask(session.model.state_dict(), mask)
    session.model.load_state_dict(weights)
    parameters, state = dict(session.model.named_parameters()), session.training.optimizer.state
    for name, kept in mask.items():
        for value in state.get(parameters[name], {}).values():
            if isinstance(value, Tensor) and value.shape == kept.shape:
                value.masked_fill_(~kept.to(value.device), 0)
    if session.averages:
        session.averages.load_state_dict(masks.apply_mask(session.averages.state_dict(), mask))


def masking_of_file(file: str | None) -> Callable[[nn.Module], Masking] | None:
    """What keeps a network at 0 where saved weights have no place; None where they all have one.

    Args:
        file: of weights; None for none.

    Raises:
        FileNotFoundError: see `mask_of_file`.
        ValueError: likewise.
    """
    mask = read_mask(file)
    if mask is None:
        return None
    return lambda model: Masking(
        model, masks.adapt_to_output_layer(mask, model, masks.prunable_layers(model).output)
    )


def read_mask(file: str | None) -> Mask | None:
    """The mask that saved weights were trained under; None where they all have a place.

    Args:
        file: of weights, as typed after `pretrain.weights=`; None for none.

    Raises:
        FileNotFoundError: it is not there, nor the mask that it names.
        ValueError: it is not a file of weights, the mask is another one than when the weights were
            saved, or they name a path.
    """
    if file is None:
        return None
    try:
        metadata = files.load_metadata(Path(file))
    except ValueError as error:
        raise ValueError(f"pretrain.weights={error}") from error
    named = metadata.get("mask")
    if named is None:
        return None
    # In the folder above, as it was saved, or beside: what weights name must not lead elsewhere.
    name = named["file"].removeprefix("../")
    reading.check_file_name(name, f"{file}: its mask")
    path = Path(file).parent / named["file"]
    mask = masks.load_mask(path)
    if fingerprints.file_digest(str(path)) != named["digest"]:
        raise ValueError(f"{path} is not the mask that {file} was trained under")
    return mask
