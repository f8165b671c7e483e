"""Whether trainings that differ in their seeds alone can go together, and whether it pays."""

import torch
from torch import nn

from src.data.batches import TrainBatches
from src.training.lookahead import Lookahead
from src.training.session import Session
from src.training.stacked_gradients import StackedGradients

FEW, SMALL = 2, 2_000_000  # networks, and parameters of each, where together was faster
ELEMENTWISE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def misfit(session: Session) -> str | None:
    """Why sessions like this one cannot be trained together, in words; None if they can."""
    training, recipe = session.training, session.recipe
    if training.scheduler.state_dict():
        return "the schedule of each depends on its validation loss (scheduler=plateau)"
    if recipe.patience is not None:
        return f"each may stop at its own time (hparams.patience={recipe.patience})"
    if session.data.loss != "cross_entropy":
        return f"the loss of this data set is {session.data.loss}, not cross_entropy"
    if recipe.constraint is not None:
        return "each is kept where it has to be by itself (pruned weights at 0)"
    if not isinstance(session.batches, TrainBatches):
        return "the training set stays in its files"
    optimizer = training.optimizer
    inner = optimizer.inner if type(optimizer) is Lookahead else optimizer
    if type(inner) not in ELEMENTWISE:
        return f"{type(inner).__name__} is not known to treat each weight by itself"
    return _trial(session)


def _trial(session: Session) -> str | None:
    """What torch says to a forward and backward pass of several, on two images of zeros."""
    gradients = StackedGradients([session.model], [0], None, session.training.autocast)
    shape = session.data.input_shape
    inputs = torch.zeros(1, 2, *shape, device=session.device)
    labels = torch.zeros(1, 2, dtype=torch.int64, device=session.device)
    try:
        gradients(inputs, labels, iteration=0)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        if "random operation" in reason:
            return "the network draws random numbers other than those of nn.Dropout"
        return f"torch cannot compute several of these networks at once ({reason})"
    return None


def pays(session: Session, num_children: int) -> bool:
    """Whether training together was faster (bench/README.md): fully connected networks."""
    with_weights = [m for m in session.model.modules() if any(True for _ in m.parameters(False))]
    fully_connected = all(isinstance(module, nn.Linear) for module in with_weights)
    size = sum(parameter.numel() for parameter in session.model.parameters())
    return num_children >= FEW and fully_connected and size <= SMALL
