"""The tensors of a network in training, as lists that one call of torch updates."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

PACKED_BELOW = 4096  # elements; measured: 1.2 times (one average) to 1.4 times (five) as fast


class LiveTensors:
    """The floating-point tensors of a model's state dict: weights, frozen or not, and statistics.

    A `list[Tensor]` of this module holds one value for all of them, in float32 whatever the
    model's type (in bfloat16 nearly every small update would round to nothing): the large ones
    one by one, then all small ones packed into a vector, because each tensor of a list costs time.

    The model's tensors are remembered, not looked up each time, so they have to stay where they
    are in memory. Optimizers, `load_state_dict` and batch norm write in place; moving the model to
    a device or memory format, or loading with `assign=True`, does not, and `state_dict` refuses.
    """

    def __init__(self, model: nn.Module) -> None:
        """Remember the tensors of `model`, which stays on its device and in its format."""
        self._model = model
        live = {n: t for n, t in model.state_dict().items() if t.is_floating_point()}
        small = {n: t for n, t in live.items() if t.numel() < PACKED_BELOW and t.is_contiguous()}
        large = {n: t for n, t in live.items() if n not in small}
        self._addresses = {name: tensor.data_ptr() for name, tensor in live.items()}
        self._large_names = list(large)
        self._small_shapes = {name: tensor.shape for name, tensor in small.items()}
        self._small = [tensor.view(-1) for tensor in small.values()]
        self._values = [_as_float32(tensor) for tensor in large.values()]
        pairs = list(zip(self._values, large.values(), strict=True))
        self._converted = [value for value, tensor in pairs if value is not tensor]
        self._unconverted = [tensor for value, tensor in pairs if value is not tensor]
        if self._small:
            size = sum(tensor.numel() for tensor in self._small)
            device = self._small[0].device
            self._values.append(torch.empty(size, dtype=torch.float32, device=device))

    def read(self) -> list[Tensor]:
        """The values now, in part the model's own memory: to be read at once, not to be kept."""
        if self._converted:
            torch._foreach_copy_(self._converted, self._unconverted)
        if self._small:
            torch.cat(self._small, out=self._values[-1])
        return self._values

    def copy(self) -> list[Tensor]:
        """The values now, in memory of their own."""
        return [tensor.clone() for tensor in self.read()]

    def named_tensors(self, values: list[Tensor]) -> dict[str, Tensor]:
        """Each tensor of `values` under its name in the state dict, in the same memory."""
        named = dict(zip(self._large_names, values, strict=False))
        if self._small:
            pieces = values[-1].split([shape.numel() for shape in self._small_shapes.values()])
            for (name, shape), piece in zip(self._small_shapes.items(), pieces, strict=True):
                named[name] = piece.view(shape)
        return named

    def load(self, values: list[Tensor], saved: Mapping[str, Tensor]) -> None:
        """Overwrite `values` by what a copy of `named_tensors` of them once held."""
        for name, tensor in self.named_tensors(values).items():
            tensor.copy_(saved[name])

    def state_dict(self, values: list[Tensor]) -> dict[str, Tensor]:
        """A state dict of the model that has `values` for all that is floating-point.

        Returns:
            The keys, types and memory format of the model's own, in memory of its own; integers
            are those that the model holds now.

        Raises:
            RuntimeError: the model's tensors are no longer those that were averaged.
        """
        named = self.named_tensors(values)
        result = {}
        for name, tensor in self._model.state_dict().items():
            if tensor.data_ptr() != self._addresses.get(name, tensor.data_ptr()):
                raise RuntimeError(
                    f"{name} was moved or replaced after start(), so its average does not follow "
                    f"it: move the model first, and call start() again after replacing weights"
                )
            result[name] = named.get(name, tensor).to(tensor.dtype, copy=True)
        return result


def _as_float32(tensor: Tensor) -> Tensor:
    """The tensor itself if it is float32, else memory for its float32 copy."""
    if tensor.dtype == torch.float32:
        return tensor
    return torch.empty_like(tensor, dtype=torch.float32)
