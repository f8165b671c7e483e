"""Losses and gradients of several networks of one architecture, each on a batch of its own."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from src.models.norms import NORMS
from src.training import given_dropout
from src.training.given_dropout import Rehearsal

Named: TypeAlias = dict[str, Tensor]


def stack_of(models: Sequence[nn.Module]) -> nn.Module:
    """A copy of the first of `models` whose parameters and buffers hold those of all of them.

    Returns:
        A module that only holds tensors, each (models, *shape), under their names; its forward
        pass is for one network's weights at a time, by `functional_call`.
    """
    stack = copy.deepcopy(models[0])
    each = [tensors_of(model) for model in models]
    for name, tensor in tensors_of(stack).items():
        tensor.data = torch.stack([tensors[name].detach() for tensors in each])
    return stack


def tensors_of(model: nn.Module) -> Named:
    """Parameters and buffers by name, those that no state dict holds too."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


class StackedGradients:
    """The forward and backward pass of several networks at once.

    Written for one network, batched by `torch.vmap`, and for full batches captured once as a flat
    graph of torch's operators: the Python of `vmap` and of modules, which takes longer than the
    operators of a small network, is then gone from each step.

    Args:
        models: of one architecture, on one device; left as they are.
        dropout_seeds: (models).
        batch_size: of the batches to capture; others, the last of an epoch, are too rare for it.
        autocast: type of the matrix products, or None for the weights' own.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        dropout_seeds: Sequence[int],
        batch_size: int | None,
        autocast: torch.dtype | None,
    ) -> None:
        self.seeds, self.batch_size, self.autocast = list(dropout_seeds), batch_size, autocast
        self.stack = stack_of(models).train()
        self._plain = models[0]  # to be rehearsed with, on copies
        self._masks = given_dropout.give_masks_(self.stack)
        if autocast is not None and next(self.stack.parameters()).device.type == "cpu":
            _widen_norms_(self.stack)
        named = dict(self.stack.named_parameters())
        self.parameters = {name: p for name, p in named.items() if p.requires_grad}
        self._trained = {name: p.detach() for name, p in self.parameters.items()}
        self._frozen = {name: p.detach() for name, p in named.items() if not p.requires_grad}
        self._buffers = dict(self.stack.named_buffers())
        self._captured: Callable[..., Any] | None = None
        self._rehearsals: dict[int, Rehearsal] = {}  # by batch size

    def __call__(self, inputs: Tensor, labels: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
        """Set the gradients of `parameters`, and update the buffers.

        Args:
            inputs: (models, batch, *input_shape).
            labels: (models, batch).
            iteration: optimizer steps made before, which dropout depends on.

        Returns:
            Loss, (models,), mean cross-entropy in nats; and correct, (models,), examples whose
            class has the highest logit.
        """
        size = labels.shape[1]
        if size not in self._rehearsals:
            rehearsal = given_dropout.rehearse(self._plain, inputs[0], self.autocast)
            self._rehearsals[size] = rehearsal
        used, dropouts = self._rehearsals[size].used, self._rehearsals[size].dropouts
        masks = given_dropout.draw(dropouts, self.seeds, iteration, inputs.device)
        arguments = (self._trained, self._frozen, self._buffers, masks, inputs, labels)
        compute = self._capture(arguments) if size == self.batch_size else self._together
        with torch.no_grad():
            gradients, (losses, correct, buffers) = compute(*arguments)
            for name, buffer in self._buffers.items():
                buffer.copy_(buffers[name])
        for name, parameter in self.parameters.items():
            # An optimizer passes over what the logits do not depend on: not even weight decay.
            parameter.grad = _laid_out(gradients[name], parameter) if name in used else None
        return losses, correct

    def _capture(self, arguments: tuple[Any, ...]) -> Callable[..., Any]:
        if self._captured is None:
            self._captured = make_fx(self._together)(*arguments)
        return self._captured

    def _together(self, *arguments: Any) -> Any:
        """Gradients of all, and what else `_of_one` returns: see there."""
        return torch.vmap(torch.func.grad(self._of_one, has_aux=True))(*arguments)

    def _of_one(
        self,
        trained: Named,
        frozen: Named,
        buffers: Named,
        masks: list[Tensor],
        inputs: Tensor,
        labels: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Named]]:
        """Loss of one network, and what else there is to know from its forward pass."""
        self._masks[:] = masks
        # The network updates them in place, which a function of `torch.func.grad` may only do to
        # what it made itself.
        buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        device, enabled = inputs.device.type, self.autocast is not None
        with torch.autocast(device, self.autocast, enabled, cache_enabled=False):
            logits = functional_call(self.stack, {**trained, **frozen, **buffers}, (inputs,))
        logits = logits.float()  # (batch, classes)
        # `F.cross_entropy` as vmap would take it apart is thrice as many operators.
        log_probabilities = torch.log_softmax(logits, dim=1)
        loss = -log_probabilities.gather(1, labels.unsqueeze(1)).mean()
        correct = (logits.argmax(dim=1) == labels).sum()
        return loss, (loss, correct, buffers)


def _widen_norms_(model: nn.Module) -> None:
    """Let normalization round its outputs to the type of its inputs, but compute in float32.

    So do torch's kernels; those for CPUs refuse, batched by vmap, weights of another type.
    """
    for module in model.modules():
        if isinstance(module, NORMS):
            module.forward = _widened(module.forward)  # type: ignore[method-assign, assignment]


def _widened(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def widened(inputs: Tensor) -> Tensor:
        return forward(inputs.float()).to(inputs.dtype)

    return widened


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """With the strides of the parameter, on which fused optimizers rely."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
