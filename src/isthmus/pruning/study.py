"""Prunes and trains the missing levels of a study."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from isthmus import tables
from isthmus.config import parts
from isthmus.models import structure
from isthmus.pruning import plan as pruning_plan
from isthmus.pruning.options import Prune
from isthmus.pruning.plan import PruningPlan, PruningTree
from isthmus.pruning.rewinding import StartingPoints
from isthmus.pruning.strategies import SparseGlobal, prune_mask
from isthmus.state_dicts import StateDict
from isthmus.steps import Snapshots
from isthmus.store import fingerprints
from isthmus.store.files import Run
from isthmus.training import masked_training, masks, pretraining
from isthmus.training.fit import fit
from isthmus.training.masks import Mask
from isthmus.training.options import StreamSeeds
from isthmus.training.session import Session, build_session


class PruningStudy:
    """Trains the missing levels of a tree, each once, whichever job needs it.

    Args:
        tree: their folder.
        plan: the request in iterations.
        starts: with the session, in its first state.
        strategy: which weights are pruned.
        ticket: the mask of the weights that level 0 begins from; None where all have a place.

    Raises:
        ValueError: there is nothing to prune, an option matches nothing, a level would certainly
            empty a layer, or the learning rate of levels would be next to 0.
    """

    def __init__(
        self,
        tree: PruningTree,
        plan: PruningPlan,
        starts: StartingPoints,
        strategy: SparseGlobal,
        ticket: Mask | None = None,
    ) -> None:
        self.tree, self.plan, self.starts, self.strategy = tree, plan, starts, strategy
        self.options = plan.options
        self.num_steps = 0  # optimizer steps that were made
        self.layers = masks.prunable_layers(starts.session.model)
        structure.check_weights(starts.session.model)
        with parts.prefix_errors("pruning"):
            groups = strategy.groups(self.layers)
        self.pruned = [name for group in groups for name in group.layers]
        self.first = self._first_mask(ticket)
        sizes = masks.num_kept(self.first)
        sized = [({n: sizes[n] for n in g.layers}, g.fraction) for g in groups]
        masks.check_room(sized, max(plan.levels), self.fraction_text())
        if (
            self.options.resolved_rewind == "none"
            and self.options.retrain_lr is None
            and max(plan.levels)
        ):
            starts.check_last_lr()

    def fraction_text(self) -> str:
        """The option that says how much is pruned, as typed."""
        if self.options.one_shot is not None:
            return f"one_shot={self.options.one_shot}"
        return f"pruning.fraction={self.strategy.fraction}"

    def train(self, level: int) -> None:
        """Train a level; the one before is complete.

        Raises:
            ValueError: its mask would empty a layer.
        """
        run = self.tree.level(level)
        with run.lock():
            mask = self._make_mask(level)
            origin = self.origin(level, mask) | self.mask_reference(run)
            begin = partial(self.begin, level, mask, origin)
            self.fit(run, begin, f"level {level}", self.plan.snapshots(level))
        if level == 0:
            self._check_rewinding()

    def fit(
        self, run: Run, begin: Callable[[], Session], words: str, kept: Snapshots = None
    ) -> None:
        """Train a run of the tree unless it is complete; the caller holds its folder's lock."""
        self.num_steps += fit(run, begin, kept, self.options.save_predictions, label=words)

    def mask(self, level: int) -> Mask:
        """The mask of a completed level.

        Raises:
            ValueError: it is that of another model.
        """
        shapes = {n: p.shape for n, p in self.starts.session.model.named_parameters()}
        if level == 0:
            return self.first
        mask = masks.load_mask(pruning_plan.mask_file(self.tree.level(level)))
        masks.check_mask(mask, shapes)
        missing = [name for name in self.layers.sizes if name not in mask]
        if missing:
            raise ValueError(f"a mask of another model: it lacks {', '.join(missing)}")
        return {name: mask[name] for name in self.layers.sizes}  # files have an order of their own

    def final_weights(self, level: int) -> StateDict:
        """The final weights of a level."""
        file = pruning_plan.final_weights_file(self.tree.level(level))
        return self.starts.session.evaluator.load(file)

    def save_mask(self, run: Run, mask: Mask, metadata: dict[str, Any]) -> None:
        """Write the mask of a run, and what it keeps of each layer."""
        tables.write(pruning_plan.sparsity_file(run), masks.COLUMNS, masks.sparsity_table(mask))
        masks.save_mask(pruning_plan.mask_file(run), mask, metadata)

    def origin(self, level: int, mask: Mask) -> dict[str, Any]:
        """Metadata that is saved with the weights of a level."""
        return {
            "level": level,
            "strategy": self.strategy.name,
            "rewind": self.options.resolved_rewind,
            "rewind_step": self.plan.rewind,
            "density": masks.density(mask),
        }

    def mask_reference(self, run: Run) -> dict[str, Any]:
        """Metadata of weights that names the file of their mask; {} for a dense network."""
        path = pruning_plan.mask_file(run)
        if not path.exists():
            return {}
        return {"mask": {"file": f"../{path.name}", "digest": fingerprints.file_digest(str(path))}}

    def begin(
        self,
        level: int,
        mask: Mask,
        origin: dict[str, Any],
        seeds: StreamSeeds | None = None,
        dense: bool = False,
    ) -> Session:
        """The session at the beginning of a level.

        Args:
            level: 0 or more.
            mask: its own, or another one.
            origin: what is saved with the weights.
            seeds: of the streams of chance, if they are not the study's.
            dense: whether weights that are not rewound are the final ones of level 0, in place of
                those of the level before, which are 0 where a mask of other places keeps them.
        """
        starts = self.starts if seeds is None else self.starts.with_seeds(seeds)
        rewind = self.options.resolved_rewind
        if level == 0:
            return starts.begin_dense(self.training_mask(level), origin)
        if rewind == "weights":
            return starts.rewind(mask, origin)
        weights = self.final_weights(0 if dense else level - 1)
        if rewind == "lr":
            return starts.restart_from(weights, self.plan.rewind, mask, origin)
        return starts.continue_training(weights, mask, origin, self.options.retrain_lr)

    def training_mask(self, level: int) -> Mask | None:
        """The mask that a level is trained under; None where all weights have a place."""
        mask = self.mask(level)
        return None if level == 0 and masks.density(mask) == 1 else mask

    def _first_mask(self, ticket: Mask | None) -> Mask:
        """The mask of level 0."""
        model = self.starts.session.model
        shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        dense = masks.dense_mask({name: shapes[name] for name in self.layers.sizes})
        return dense | masks.adapt_to_output_layer(ticket or {}, model, self.layers.output)

    def _check_rewinding(self) -> None:
        """Refuse to rewind to a step after the early stop of level 0."""
        plan, dense = self.plan, self.tree.level(0)
        if plan.rewind > plan.start and not dense.snapshot_state(plan.rewind).exists():
            raise ValueError(
                f"rewind_step={plan.options.rewind_step}: is after the early stop of level 0 "
                f"(hparams.patience={self.starts.session.recipe.hparams.patience})"
            )

    def _make_mask(self, level: int) -> Mask:
        """The mask of a level; made from the level before if it is missing."""
        run = self.tree.level(level)
        if level == 0:
            if self.training_mask(0) is None:
                tables.write(
                    pruning_plan.sparsity_file(run), masks.COLUMNS, masks.sparsity_table(self.first)
                )
            else:
                self.save_mask(run, self.first, self.origin(0, self.first))
            return self.first
        if pruning_plan.mask_file(run).exists():
            return self.mask(level)
        with torch.no_grad():
            mask = prune_mask(
                self.strategy,
                self.layers,
                self.final_weights(level - 1),
                self.mask(level - 1),
                level,
                self.options.global_seed,
                self.first,
            )
        masks.check_not_empty(mask, f"{self.fraction_text()}: level {level}")
        self.save_mask(run, mask, self.origin(level, mask))
        return mask


def build_study(options: Prune, tree: PruningTree) -> PruningStudy:
    """The study of the options of `prune.py`, whose levels are trained or not yet.

    Raises:
        ValueError: an option is refused, or as in `PruningStudy`.
        FileNotFoundError: the weights to begin with, or the data, are not there.
    """
    strategy = options.strategy.maker()()
    options.check_strategy(strategy)
    session = build_session(options)
    session.data.require_accuracy("dataset")
    plan = PruningPlan(options, session.iterations_per_epoch, session.planned_end)
    weights = pretraining.build_origin(tree.pretrain, options, session.data)
    starts = StartingPoints(session, tree, plan, options.stream_seeds, weights)
    ticket = masked_training.read_mask(options.pretrain.weights)
    return PruningStudy(tree, plan, starts, strategy, ticket)
