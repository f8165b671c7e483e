"""Parameter groups with their own learning rates, and Lookahead."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

Rule: TypeAlias = Literal["sgd", "adam"]  # steps proportional to gradients, or of one size


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that are trained with the same learning rate.

    Args:
        name: of the layer, or of the first of several.
        parameters: their names.
        lr: learning rate over that of the optimizer.
        eps: eps over that of the optimizer, if it has one.
        first_lr: as `lr`, for the first steps; None: as for all others.
        first_steps: number of these steps.
    """

    name: str
    parameters: tuple[str, ...]
    lr: float
    eps: float = 1.0
    first_lr: float | None = None
    first_steps: int = 0


def lr_rule(make: Callable[[Any], torch.optim.Optimizer]) -> Rule:
    """Rule by which the learning rates of an optimizer scale with the width of layers.

    Args:
        make: makes it of parameters.

    Raises:
        ValueError: it is neither gradient descent nor Adam, nor lookahead around one of them.
    """
    optimizer = make([nn.Parameter(torch.zeros(1))])
    inner = optimizer.inner if isinstance(optimizer, Lookahead) else optimizer
    if isinstance(inner, torch.optim.SGD):
        return "sgd"
    if isinstance(inner, torch.optim.Adam | torch.optim.AdamW):
        return "adam"
    raise ValueError(
        f"a parametrization has learning rates for SGD and Adam, and optimizer is "
        f"{type(inner).__name__}"
    )


def build_optimizer(
    make: Callable[[Any], torch.optim.Optimizer],
    groups: Sequence[ParamGroup],
    named: Mapping[str, Tensor],
) -> torch.optim.Optimizer:
    """Build an optimizer with one parameter group for each of `groups` that is trained.

    Learning rate times weight decay is the same in all groups: a step shrinks every weight by the
    same fraction, at every width and for equivalent parametrizations. (Except where decay is part
    of a gradient that Adam normalizes.) MuSGD and MuAdam of the package `mup` do the same.

    Args:
        make: makes it of groups of parameters.
        groups: disjoint.
        named: what is trained, by name.
    """
    present = [(g, [named[n] for n in g.parameters if n in named]) for g in groups]
    present = [(group, parameters) for group, parameters in present if parameters]
    optimizer = make([{"params": parameters} for _, parameters in present])
    for entry, (group, _) in zip(optimizer.param_groups, present, strict=True):
        entry["name"], entry["scale"] = group.name, group.lr
        entry["first_steps"] = group.first_steps
        entry["first_scale"] = group.lr if group.first_lr is None else group.first_lr
        if "weight_decay" in entry:
            entry["decay"] = entry["weight_decay"]
        if "eps" in entry:
            entry["eps"] *= group.eps
    return optimizer


def set_rates_(
    optimizer: torch.optim.Optimizer, base_lrs: Iterable[float], factor: float, iteration: int
) -> None:
    """Set the learning rates of all groups for the step after `iteration` steps.

    The schedule does not change the rates of first steps that have their own.

    Args:
        optimizer: whose groups are set.
        base_lrs: one per group, as the optimizer was made with.
        factor: of the schedule.
        iteration: steps made before.
    """
    for group, base_lr in zip(optimizer.param_groups, base_lrs, strict=True):
        is_first = iteration < group.get("first_steps", 0)
        group["lr"] = base_lr * (1.0 if is_first else factor)
        if "scale" not in group:
            continue
        scale = group["first_scale" if is_first else "scale"]
        group["base_lr"], group["lr"] = group["lr"], group["lr"] * scale
        if group.get("decay"):
            group["weight_decay"] = group["decay"] / scale


def base_lr(optimizer: torch.optim.Optimizer) -> float:
    """Learning rate of the last step, without the factors of groups."""
    group = optimizer.param_groups[0]
    return float(group.get("base_lr", group["lr"]))


def set_first_lrs_(
    optimizer: torch.optim.Optimizer, lrs: Mapping[str, float], base_lrs: Iterable[float]
) -> None:
    """Replace the learning rates of the first steps by calibrated ones.

    Args:
        optimizer: whose groups are set.
        lrs: by name of the group, in place of the optimizer's rate.
        base_lrs: one per group, as the optimizer was made with.
    """
    for group, base_lr in zip(optimizer.param_groups, base_lrs, strict=True):
        if group["name"] in lrs:
            group["first_scale"] *= lrs[group["name"]] / base_lr
            group["calibrated"] = lrs[group["name"]]


def calibrated_lrs(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The calibrated learning rates by name of the group; empty if nothing was calibrated."""
    groups = optimizer.param_groups
    return {g["name"]: g["calibrated"] for g in groups if g.get("calibrated") is not None}


def has_first_steps(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the first steps have learning rates of their own."""
    return any(group.get("first_steps") for group in optimizer.param_groups)


class Lookahead(torch.optim.Optimizer):
    """Inner steps, synchronized with slow weights after each `period` (Zhang et al., 2019).

    A synchronization is `p <- alpha * p + (1 - alpha) * slow` and `slow <- p`; buffers of the inner
    optimizer, such as momentum, are unchanged. The slow weights are initialized with the parameters
    at the first step, not at construction, so that weights loaded in between count. They and the
    number of steps made are part of the state dict.
    """

    def __init__(self, inner: torch.optim.Optimizer, period: int, alpha: float) -> None:
        """Wrap `inner`, whose groups and state become those of this optimizer.

        Args:
            inner: makes the steps; must not be used directly afterwards.
            period: inner steps between two synchronizations, at least 1.
            alpha: weight of the fast point in a synchronization, in [0, 1].
        """
        self.inner = inner
        lookahead = {"period": period, "alpha": alpha, "num_steps": 0}
        super().__init__(inner.param_groups, {**inner.defaults, **lookahead})

    def step(self, closure: Any = None) -> Any:
        """Make one inner step, then synchronize if one is due; return the closure's loss."""
        # Loading a state dict replaces both of these.
        self.inner.param_groups, self.inner.state = self.param_groups, self.state
        for group in self.param_groups:
            for parameter in group["params"]:
                if "slow" not in self.state[parameter]:
                    self.state[parameter]["slow"] = parameter.detach().clone()
        loss = self.inner.step(closure)
        for group in self.param_groups:
            group["num_steps"] += 1
            if group["num_steps"] % group["period"] == 0:
                self._synchronize(group["params"], group["alpha"])
        return loss

    @torch.no_grad()
    def _synchronize(self, parameters: list[Tensor], alpha: float) -> None:
        slow = [self.state[parameter]["slow"] for parameter in parameters]
        torch._foreach_lerp_(slow, parameters, alpha)
        torch._foreach_copy_(parameters, slow)
