"""Groups of parameters with learning rates of their own, and Lookahead."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

Rule: TypeAlias = Literal["sgd", "adam"]  # steps as large as gradients are, or all of one size


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that are trained alike.

    Args:
        name: of the layer, or of the first of several.
        parameters: their names.
        lr: learning rate over that of the optimizer.
        eps: likewise, of optimizers that have one.
        first_lr: likewise, of the first steps; None: as of all others.
        first_steps: how many these are.
    """

    name: str
    parameters: tuple[str, ...]
    lr: float
    eps: float = 1.0
    first_lr: float | None = None
    first_steps: int = 0


def lr_rule(make: Callable[[Any], torch.optim.Optimizer]) -> Rule:
    """Which learning rates an optimizer needs as layers become wider.

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
    """An optimizer with a group of its own for each of `groups` that is trained.

    Learning rate times weight decay is the same in all groups: a step takes the same share off
    every weight, at every width and however a parametrization is written down. (Not so where decay
    is part of a gradient that Adam normalizes.) MuSGD and MuAdam of the package `mup` do the same.

    Args:
        make: makes it of groups of parameters.
        groups: that no two parameters are in.
        named: what is trained, by name.
    """
    present = [(g, [named[n] for n in g.parameters if n in named]) for g in groups]
    present = [(group, parameters) for group, parameters in present if parameters]
    optimizer = make([{"params": parameters} for _, parameters in present])
    for own, (group, _) in zip(optimizer.param_groups, present, strict=True):
        own["name"], own["scale"], own["first_steps"] = group.name, group.lr, group.first_steps
        own["first_scale"] = group.lr if group.first_lr is None else group.first_lr
        if "weight_decay" in own:
            own["decay"] = own["weight_decay"]
        if "eps" in own:
            own["eps"] *= group.eps
    return optimizer


def set_rates_(
    optimizer: torch.optim.Optimizer, base_lrs: Iterable[float], factor: float, iteration: int
) -> None:
    """Set the learning rates of the step that follows `iteration` steps.

    First steps with rates of their own are as large as these say, whatever the schedule.

    Args:
        optimizer: whose groups are set.
        base_lrs: one a group, as the optimizer was made with.
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
        lrs: by name of the group, in place of the optimizer's own.
        base_lrs: one a group, as the optimizer was made with.
    """
    for group, base_lr in zip(optimizer.param_groups, base_lrs, strict=True):
        if group["name"] in lrs:
            group["first_scale"] *= lrs[group["name"]] / base_lr
            group["calibrated"] = lrs[group["name"]]


def calibrated_lrs(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The calibrated learning rates by name of the group; none if nothing was calibrated."""
    groups = optimizer.param_groups
    return {g["name"]: g["calibrated"] for g in groups if g.get("calibrated") is not None}


def has_first_steps(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the first steps have learning rates of their own."""
    return any(group.get("first_steps") for group in optimizer.param_groups)


class Lookahead(torch.optim.Optimizer):
    """Inner steps that every `period` of them meet a slow copy of the weights (Zhang et al., 2019).

    There `p <- alpha * p + (1 - alpha) * slow` and `slow <- p`; buffers of the inner optimizer,
    such as momentum, stay as they are. The slow weights begin as the weights that the parameters
    hold at the first step, not at construction, so weights loaded in between count. They and the
    number of steps made are part of the state dict.
    """

    def __init__(self, inner: torch.optim.Optimizer, period: int, alpha: float) -> None:
        """Wrap `inner`, whose groups and state become those of this optimizer.

        Args:
            inner: makes the steps; not to be used by itself afterwards.
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
