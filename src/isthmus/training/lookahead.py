"""Lookahead: an optimizer around another one."""

from typing import Any

import torch
from torch import Tensor


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
