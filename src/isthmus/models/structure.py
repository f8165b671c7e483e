"""Structure of a network: tied tensors, reparametrized layers, checks of shapes."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def tied_names(model: nn.Module) -> dict[str, str]:
    """Names of tied tensors in a state dict: by each further name, the first name of its tensor."""
    first: dict[int, str] = {}
    names = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if first.setdefault(id(tensor), name) != name:
            names[name] = first[id(tensor)]
    return names


def reparametrized_layers(model: nn.Module) -> list[str]:
    """Names of linear and convolutional layers whose weight is computed from other tensors.

    Examples are `torch.nn.utils.weight_norm`, `spectral_norm` and `parametrize`.
    """
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, LAYERS) and "weight" not in module._parameters
    ]


def check_weights(model: nn.Module) -> None:
    """Refuse linear and convolutional layers whose weight is computed from other tensors.

    Raises:
        ValueError: naming them.
    """
    if names := reparametrized_layers(model):
        raise ValueError(
            f"model: the weight of {', '.join(names)} is made of other tensors (weight_norm, "
            f"spectral_norm or another parametrization), which this cannot take apart"
        )


def check_initialized(model: nn.Module) -> None:
    """Refuse parameters that have no shape before the first forward pass.

    Raises:
        ValueError: naming the first such module.
    """
    for name, module in model.named_modules():
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if any(is_lazy(tensor) for tensor in tensors):
            kind = type(module).__name__
            raise ValueError(
                f"model: {name or 'it'} is a {kind}, whose weights have no shape before the first "
                f"forward pass; give it its sizes ({kind.removeprefix('Lazy')})"
            )


@torch.no_grad()
def check_outputs(model: nn.Module, example: Tensor, num_outputs: int) -> None:
    """Refuse a network that does not make one number per class.

    Neither the model nor the global random state of the CPU changes.

    Args:
        model: whose forward pass is tried, in evaluation mode.
        example: (1, *input_shape), any, on the device of the model.
        num_outputs: of each example.

    Raises:
        ValueError: naming what the forward pass returns instead.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.random.fork_rng(devices=[]):
            outputs = model.eval()(example)
    finally:
        for module, mode in modes:
            module.training = mode
    kind = type(model).__name__
    if not isinstance(outputs, Tensor):
        raise ValueError(
            f"model: {kind} returns a {type(outputs).__name__}; its forward pass must return one "
            f"tensor of shape [batch, {num_outputs}]"
        )
    if outputs.shape != (1, num_outputs):
        raise ValueError(
            f"model: {kind} returns outputs of shape {['batch', *outputs.shape[1:]]} for this data "
            f"set, which needs [batch, {num_outputs}]".replace("'batch'", "batch")
        )
