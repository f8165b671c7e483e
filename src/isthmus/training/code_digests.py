"""Digests of the source files behind a training, to detect changed code on resume."""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from isthmus.config import schema
from isthmus.training.session import Session

GROUPS = ("model", "dataset", "optimizer", "scheduler", "averaged", "parametrization")


def code_digests(session: Session) -> dict[str, str]:
    """Ten hexadecimal digits for the source of each module that a part comes from.

    The modules that the recipe names, and those of the classes of the network, the optimizer,
    the schedule and the averages: code of `isthmus` and of the user, not of installed packages.
    """
    digests = {name: _digest(name) for name in sorted(_modules(session))}
    return {name: digest for name, digest in digests.items() if digest is not None}


def changed_modules(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Names of the modules of `before` whose source differs now, or that are gone."""
    return [name for name, digest in before.items() if now.get(name) != digest]


def _modules(session: Session) -> set[str]:
    config, training = session.recipe.metadata.get("config", {}), session.training
    parts = [schema.make_part(group, config.get(group)) for group in GROUPS]
    targets = (part.full_target() for part in parts if part)
    parts_in_use: Iterable[Any] = [
        *session.model.modules(),
        training.optimizer,
        training.scheduler,
        session.averages,
        session.parametrization,
    ]
    kinds = (kind for part in parts_in_use for kind in type(part).__mro__)
    return {target.rpartition(".")[0] for target in targets} | {k.__module__ for k in kinds}


def _digest(module: str) -> str | None:
    """Digest of a module's source; None if it has none, or is of an installed package."""
    path = _source(module)
    if path is None or {"site-packages", "dist-packages"} & set(path.parts):
        return None
    if path.is_relative_to(Path(inspect.__file__).parent):  # Python's own
        return None
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=5).hexdigest()
    except OSError:
        return None


def _source(module: str) -> Path | None:
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(module) if module else None
        except (ImportError, ValueError):
            spec = None
        file = spec.origin if spec else None
    return Path(file) if file and file.endswith(".py") else None
