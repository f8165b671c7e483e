"""Trains branches of levels: controls, other data, and children for instability."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from isthmus import rng, steps
from isthmus.config import parts
from isthmus.pruning import plan as pruning_plan
from isthmus.pruning.options import Prune, RandomlyPrune, RandomlyReinitialize, Retrain
from isthmus.pruning.plan import final_weights_file, mask_file
from isthmus.pruning.rewinding import restart_session
from isthmus.pruning.study import PruningStudy
from isthmus.store.files import write_json
from isthmus.training import masks
from isthmus.training.masked_training import Masking
from isthmus.training.masks import Mask, shuffle_mask
from isthmus.training.pretraining import check_inputs, fit_weights
from isthmus.training.recipe import Recipe
from isthmus.training.session import Session


@dataclass(frozen=True)
class Branch:
    """A branch: another training from a level.

    Args:
        kind: randomly_prune: as many weights are pruned, but others; randomly_reinitialize: its
            mask on fresh weights; retrain: its mask and weights, with other data or
            hyperparameters.
        folder: name of its folder in that of the level.
        words: the kind and its options, as text for logs and tables.
        options: of the kind.
        session: makes the session of retrain.
    """

    kind: str
    folder: str
    words: str
    options: RandomlyPrune | RandomlyReinitialize | Retrain
    session: Callable[[], Session] | None = None

    @classmethod
    def from_options(cls, options: Prune, main: Session) -> "Branch":
        """The branch of the options of `prune.py`, which has no children.

        Args:
            options: with the branch.
            main: session of the levels.

        Raises:
            ValueError: retrain has inputs of another shape, or a part refuses a value.
        """
        section, session = options.branch_section, None
        assert isinstance(section, RandomlyPrune | RandomlyReinitialize | Retrain)
        if isinstance(section, Retrain):
            other = options.retraining
            recipe = Recipe.from_options(other, "retrain.")
            data = parts.load_data(other.dataset, other.label_noise_seed)
            check_inputs("retrain", data, main.data.input_shape)
            session = partial(Session, recipe, data, options.stream_seeds, main.runtime)
        folder = str(options.branch_folder)
        return cls(str(options.branch), folder, options.branch_text, section, session)


class Branches:
    """Trains a branch of each level, where it is missing.

    Args:
        study: whose levels are trained.
        branch: how it differs from its level.

    Raises:
        ValueError: it would begin after its own end.
    """

    def __init__(self, study: PruningStudy, branch: Branch) -> None:
        self.study, self.branch = study, branch
        # One for all levels: the data is laid out once.
        self._other = branch.session() if branch.session else None
        if self._other is not None:
            self._initial = {k: v.clone() for k, v in self._other.model.state_dict().items()}
            self._iteration(self._other)

    def train(self, level: int) -> None:
        """Train the branch of one level; the level is complete.

        Raises:
            ValueError: its mask would empty a layer.
        """
        study, run = self.study, self.study.tree.branch(level, self.branch.folder)
        with run.lock():
            mask = self._mask(level)
            masks.check_not_empty(mask, f"branch={self.branch.kind}: level {level}")
            origin = study.origin(level, mask)
            origin |= {"branch": self.branch.words}
            if not pruning_plan.mask_file(run).exists():
                study.save_mask(run, mask, origin)
            origin |= study.mask_reference(run)
            begin = partial(self._begin, level, mask, origin)
            study.fit(run, begin, f"level {level}, {self.branch.words}")

    def _mask(self, level: int) -> Mask:
        """The mask of a branch: that of its level, unless other weights are pruned."""
        study, options = self.study, self.branch.options
        mask = study.mask(level)
        if self.branch.kind == "retrain" and self._other is not None:
            return masks.adapt_to_output_layer(mask, self._other.model, study.layers.output)
        if self.branch.kind != "randomly_prune":
            return mask
        assert isinstance(options, RandomlyPrune)
        seed = rng.derive(study.options.global_seed, "randomly_prune", options.seed, level)
        return shuffle_mask(mask, options.strategy, study.pruned, seed, study.first)

    def _begin(self, level: int, mask: Mask, origin: dict[str, Any]) -> Session:
        starts, options = self.study.starts, self.branch.options
        if self._other is not None:
            return self._begin_other(self._other, mask, origin)
        first = 0 if options.start_at != "rewind" else starts.plan.rewind
        if isinstance(options, RandomlyReinitialize):
            seeds = starts.seeds.initialization, "randomly_reinitialize", options.seed
            weights = starts.session.initial_weights(rng.derive(*seeds))
            return starts.restart_from(weights, first, mask, origin)
        assert isinstance(options, RandomlyPrune)
        others = options.strategy != "identity"  # the mask has other places than the level's
        if options.start_at == "rewind":
            return self.study.begin(level, mask, origin, dense=others)
        if options.start_at == "init":
            return starts.restart_from(starts.initial, first, mask, origin)
        return starts.restart_from(
            self.study.final_weights(0 if others else level), first, mask, origin
        )

    def _begin_other(self, session: Session, mask: Mask, origin: dict[str, Any]) -> Session:
        """The session of retrain: weights of the study, with a fresh output layer if it must be."""
        starts, is_rewound = self.study.starts, self.branch.options.start_at == "rewind"
        dense = starts.rewound_weights() if is_rewound else starts.initial
        weights = fit_weights(dense, self._initial, str(starts.tree.level(0).folder))
        keep, iteration = partial(Masking, mask=mask), self._iteration(session)
        return restart_session(session, starts.seeds, weights, iteration, keep, origin)

    def _iteration(self, session: Session) -> int:
        """Where retrain begins, counted in its own epochs."""
        if self.branch.options.start_at != "rewind":
            return 0
        plan = self.study.plan
        step = plan.text(plan.rewind)  # its own epochs may have another length
        iteration = steps.to_iteration(step, session.iterations_per_epoch)
        if iteration >= session.planned_end:
            end = steps.to_text(session.planned_end, session.iterations_per_epoch)
            raise ValueError(
                f"retrain: begins at {step}, the rewind step of levels, which is not before "
                f"its end, {end}; retrain.start_at=init begins at 0"
            )
        return iteration


@dataclass(frozen=True)
class Children:
    """Trains the missing children of levels (Frankle et al., 2020).

    A child begins exactly as its level does; a child of the dense level begins at the rewind step.
    A child whose streams of chance all have the study's seeds repeats its level.

    Args:
        study: whose levels are trained.
        folder: name of their folder in that of each level.
        words: the branch and its options, as text for logs and tables.
        seeds: one per child.
        vary: streams of chance that a child's seed feeds, in place of the study's.
    """

    study: PruningStudy
    folder: str
    words: str
    seeds: Sequence[int]
    vary: Sequence[str]

    def train(self, level: int) -> dict[int, Path]:
        """Train the children of a complete level; returns the files of their weights by seed."""
        return {seed: self._train(level, seed) for seed in self.seeds}

    def finish(self, level: int) -> None:
        """Write the summary of the branch, once all lines are measured."""
        run = self.study.tree.branch(level, self.folder)
        if not run.result.exists():
            write_json(run.result, self._origin(level, self.study.mask(level)))

    def _train(self, level: int, seed: int) -> Path:
        study, run = self.study, self.study.tree.child(level, self.folder, seed)
        with run.lock():
            mask = study.mask(level)
            origin = self._origin(level, mask) | {"child_seed": seed}
            if study.training_mask(level) is not None and not mask_file(run).exists():
                study.save_mask(run, mask, origin)
            origin |= study.mask_reference(run)
            begin = partial(self._begin, level, mask, origin)
            study.fit(run, begin, f"level {level}, child {seed}")
            return final_weights_file(run)

    def _origin(self, level: int, mask: Mask) -> dict[str, Any]:
        branch = {"branch": self.words, "vary": sorted(self.vary)}
        return self.study.origin(level, mask) | branch

    def _begin(self, level: int, mask: Mask, origin: dict[str, Any]) -> Session:
        starts = self.study.starts
        seeds = replace(starts.seeds, **dict.fromkeys(self.vary, origin["child_seed"]))
        if level == 0:
            return starts.with_seeds(seeds).rewind(self.study.training_mask(0), origin)
        return self.study.begin(level, mask, origin, seeds)
