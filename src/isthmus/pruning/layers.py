"""Which weights of a network can be pruned, and which are left alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from isthmus.models.freeze import output_layer
from isthmus.models.residual import BasicBlock, Bottleneck

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Layers:
    """The weights of a network that can be pruned.

    Args:
        sizes: numbers of weights by name of the parameter, in the order of the network.
        output: the parameter among them that gives the logits; None if there is none.
        residual: whether the network has residual blocks.
    """

    sizes: dict[str, int]
    output: str | None
    residual: bool

    def ignored(self, patterns: Sequence[str] | None) -> list[str]:
        """Layers that are not pruned.

        Args:
            patterns: names of layers or parameters, or patterns such as "stages.2.*"; None for the
                output layer, or nothing in a residual network, as in Frankle et al. (2020).

        Raises:
            ValueError: a pattern matches nothing, or nothing is left to prune.
        """
        if patterns is None:
            found = [] if self.residual or self.output is None else [self.output]
        else:
            found = [name for name in self.sizes if any(_matches(name, p) for p in patterns)]
        for pattern in patterns or []:
            if not any(_matches(name, pattern) for name in self.sizes):
                raise ValueError(
                    f"ignore: {pattern!r} matches no layer; there are {', '.join(self.sizes)}"
                )
        if len(found) == len(self.sizes):
            raise ValueError(
                f"ignore: {', '.join(found) or 'this network'} leaves nothing to prune; "
                f"there are {', '.join(self.sizes) or 'no layers of weights'}"
            )
        return found


def of(model: nn.Module) -> Layers:
    """The weights of `model` that can be pruned: those of linear layers and convolutions.

    Biases and what belongs to normalization are not, as in Frankle & Carbin (2019). A weight that
    two layers share counts once.
    """
    parameters = dict(model.named_parameters())
    names = [
        f"{prefix}.weight" if prefix else "weight"
        for prefix, module in model.named_modules()
        if isinstance(module, PRUNABLE)
    ]
    sizes = {name: parameters[name].numel() for name in names if name in parameters}
    blocks = any(isinstance(module, BasicBlock | Bottleneck) for module in model.modules())
    return Layers(sizes, _output(model, sizes), blocks)


def _output(model: nn.Module, sizes: dict[str, int]) -> str | None:
    try:
        name = f"{output_layer(model)}.weight".lstrip(".")
    except ValueError:  # no linear layer
        return None
    return name if name in sizes else None


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatchcase(part, pattern) for part in (name, name.rpartition(".")[0]))
