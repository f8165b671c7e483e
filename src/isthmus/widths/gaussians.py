"""Standard Gaussians, the same for every parametrization of one network and one seed."""

import torch
from torch import Tensor, nn

from isthmus import chance

# Variance that keeps activations of one size from layer to layer (Hajjar et al., 2021).
VARIANCES: dict[type[nn.Module], float] = {nn.ReLU: 2.0, nn.GELU: 4.0, nn.ELU: 1.0, nn.Tanh: 1.0}
OTHER = 2.0


def draw(name: str, shape: torch.Size, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Independent standard Gaussians for a parameter, on the CPU, of float32 precision.

    They depend on the seed and on the name and shape of the parameter alone: those of other layers
    and what they are scaled with make no difference.
    """
    stream = chance.generator(seed, "initialization", name)
    return torch.empty(shape, dtype=torch.float32).normal_(generator=stream).to(dtype)


def deviation(model: nn.Module) -> float:
    """Standard deviation that goes with the activation of a network; a functional one is ReLU."""
    found = (VARIANCES.get(type(module)) for module in model.modules())
    return next((variance for variance in found if variance is not None), OTHER) ** 0.5
