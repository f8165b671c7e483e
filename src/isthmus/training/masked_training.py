"""Masked training: pruned weights stay 0; and the mask that saved weights were trained with."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from isthmus.store import files, fingerprints, reading
from isthmus.training import masks
from isthmus.training.masks import Mask
from isthmus.training.session import Session


class Masking:
    """Keeps the pruned weights of a network at 0; a `loop.Constraint`.

    Their gradients are set to 0 before anything reads them: they do not count in the clipped norm,
    in momentum, or in Adam's moments.

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
        """Set the gradients of pruned weights to 0."""
        pairs = zip(self._weights, self._kept, strict=True)
        trained = [(w.grad, kept) for w, kept in pairs if w.grad is not None]
        if trained:  # else all of these layers are frozen
            torch._foreach_mul_([g for g, _ in trained], [kept for _, kept in trained])

    @torch.no_grad()
    def on_weights(self) -> None:
        """Set pruned weights to 0."""
        if self._weights:
            torch._foreach_mul_(self._weights, self._kept)


@torch.no_grad()
def mask_session_(session: Session, mask: Mask) -> None:
    """Set pruned weights to 0 in the whole state of a session, in place.

    That is in the weights, the optimizer's buffers (momentum), and averaged models.
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


def masking_from_file(file: str | None) -> Callable[[nn.Module], Masking] | None:
    """A function that makes the `Masking` of saved weights; None if they were not pruned.

    Args:
        file: of weights; None for none.

    Raises:
        FileNotFoundError, ValueError: see `read_mask`.
    """
    mask = read_mask(file)
    if mask is None:
        return None
    return lambda model: Masking(
        model, masks.adapt_to_output_layer(mask, model, masks.prunable_layers(model).output)
    )


def read_mask(file: str | None) -> Mask | None:
    """Read the mask that saved weights were trained with; None if they were not pruned.

    Args:
        file: of weights, as typed after `pretrain.weights=`; None for none.

    Raises:
        FileNotFoundError: the file, or the mask that it names, does not exist.
        ValueError: it is not a file of weights, the mask is another one than when the weights were
            saved, or they name a path.
    """
    if file is None:
        return None
    try:
        metadata = files.load_metadata(Path(file))
    except ValueError as error:
        raise ValueError(f"pretrain.weights={error}") from error
    reference = metadata.get("mask")
    if reference is None:
        return None
    # In the folder above, as saved, or in the same one: metadata must not lead elsewhere.
    name = reference["file"].removeprefix("../")
    reading.check_file_name(name, f"{file}: its mask")
    path = Path(file).parent / reference["file"]
    mask = masks.load_mask(path)
    if fingerprints.file_digest(str(path)) != reference["digest"]:
        raise ValueError(f"{path} is not the mask that {file} was trained under")
    return mask
