"""Checks whether the random streams of `vary` have an effect on a training."""

import copy
import logging
from collections.abc import Sequence

import torch

from isthmus.training.session import Session

log = logging.getLogger(__name__)


def check_variation(session: Session, vary: Sequence[str]) -> None:
    """Refuse children whose seeds would have no effect, so that all would be one network.

    Log the streams that have no effect if others have one.

    Args:
        session: of the network and the data that they are trained with.
        vary: random streams that depend on the seed of a child.

    Raises:
        ValueError: naming the option `vary`, and why none of the streams has an effect.
    """
    reasons = {
        stream: reason for stream in vary if (reason := reason_without_effect(session, stream))
    }
    listed = ", ".join(f"{stream} ({reason})" for stream, reason in reasons.items())
    if reasons and len(reasons) == len(vary):
        raise ValueError(
            f"vary=[{','.join(vary)}]: nothing varies, all children would be one network; "
            f"without effect: {listed}"
        )
    if reasons:
        log.info("vary=[%s]: without effect: %s", ",".join(vary), listed)


def reason_without_effect(session: Session, stream: str) -> str | None:
    """Why another seed of a random stream changes nothing but rounding; None if it changes more.

    Args:
        session: of the training.
        stream: data_order, augmentation or dropout.
    """
    if stream == "augmentation":
        augmentation = session.data.augmentation
        changes = augmentation and any(vars(augmentation).values())
        return None if changes else "training images are not augmented"
    if stream == "dropout":
        return None if draws_random_numbers(session) else "the network has no dropout"
    size = session.recipe.hparams.batch_size
    whole = size >= len(session.data.train)
    if not whole or draws_random_numbers(session):  # which examples share what is drawn
        return None
    return f"hparams.batch_size={size}: each batch is the whole training set"


@torch.no_grad()
def draws_random_numbers(session: Session) -> bool:
    """Whether the network draws random numbers in training, by dropout or otherwise.

    Detected from the generator's state, so that `F.dropout` and custom layers count, too.
    """
    model = copy.deepcopy(session.model).cpu().train()
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        model(torch.zeros(2, *session.data.input_shape))
        return not torch.get_rng_state().equal(before)
