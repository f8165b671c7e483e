"""Checks whether options have an effect on a network, which only the built network can say."""

import copy
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from isthmus import machine
from isthmus.config import schema
from isthmus.config.schema import Section
from isthmus.config.signatures import Argument
from isthmus.models.layers import NORMS
from isthmus.training import batch_norm
from isthmus.vocabulary import STREAMS

if TYPE_CHECKING:  # which imports this module
    from isthmus.training.session import Session

log = logging.getLogger(__name__)


def log_modes_without_effect(options: Section, model: nn.Module) -> None:
    """Log one line per option about normalization that a network without it leaves unused.

    Args:
        options: of a script; those that have their defaults are not logged.
        model: the network that they are for.
    """
    for line in _unused_modes(schema.to_values(options), type(options), model):
        _log_in_first_process(line)


def log_seeds_without_effect(options: Section, session: "Session") -> None:
    """Log one line per seed of a stream from which a training draws nothing.

    Args:
        options: of the training.
        session: of it.
    """
    seeds = schema.to_values(options)["seeds"]
    for stream in STREAMS:
        reason = reason_without_effect(session, stream) if seeds[stream] is not None else None
        if reason is not None:
            _log_in_first_process(f"seeds.{stream}={seeds[stream]}: has no effect, {reason}")


def _unused_modes(values: dict[str, Any], cls: type[Section], model: nn.Module) -> Iterator[str]:
    name = type(model).__name__
    averaged = schema.part_value("averaged", values.get("averaged"), "bn")
    modes = {"averaged.bn": (averaged, "average")}
    for section, fields in _sections(cls).items():
        if "bn" in fields:
            mode = (values[section] if section else values)["bn"]
            modes[f"{section}.bn".lstrip(".")] = (mode, fields["bn"].default)
    for option, (mode, default) in modes.items():
        if mode not in (None, default) and not batch_norm.has_batch_norm(model):
            yield f"{option}={mode}: has no effect, {name} has no batch normalization"
    init = schema.part_value("model", values["model"], "bn_init") if "model" in values else None
    if init not in (None, "ones") and not any(isinstance(m, NORMS) for m in model.modules()):
        yield f"model.bn_init={init}: has no effect, {name} has no normalization"


def _sections(cls: type[Section]) -> dict[str, dict[str, Argument]]:
    """The fields of options, under "", and of their sections by name."""
    fields = schema.fields(cls)
    nested = {name: schema.section_class(argument) for name, argument in fields.items()}
    return {"": fields} | {name: schema.fields(each) for name, each in nested.items() if each}


def _log_in_first_process(line: str) -> None:
    if machine.is_first():
        log.info(line)


def check_variation(session: "Session", vary: Sequence[str]) -> None:
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


def reason_without_effect(session: "Session", stream: str) -> str | None:
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
def draws_random_numbers(session: "Session") -> bool:
    """Whether the network draws random numbers in training, by dropout or otherwise.

    Detected from the generator's state, so that `F.dropout` and custom layers count, too.
    """
    model = copy.deepcopy(session.model).cpu().train()
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        model(torch.zeros(2, *session.data.input_shape))
        return not torch.get_rng_state().equal(before)
