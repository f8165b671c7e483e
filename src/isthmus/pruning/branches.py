"""What becomes of a level that is made otherwise: ablations of what makes a winning ticket."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from isthmus import chance, steps
from isthmus.pruning import masks, tree
from isthmus.pruning.masking import Masking
from isthmus.pruning.masks import Mask
from isthmus.pruning.shuffles import shuffled
from isthmus.pruning.starts import restarted
from isthmus.pruning.study import Study
from isthmus.training.pretrained import fitting
from isthmus.training.session import Session


@dataclass(frozen=True)
class Branch:
    """What is made of a level.

    Args:
        kind: randomly_prune: other weights are pruned, as many; randomly_reinitialize: its mask on
            fresh weights; retrain: its mask and weights, with other data or hyperparameters.
        folder: name of its folder in that of the level.
        words: the kind and its options, for a person.
        options: of the kind, as plain Python.
        session: makes the session of retrain.
    """

    kind: str
    folder: str
    words: str
    options: dict[str, Any]
    session: Callable[[], Session] | None = None


class Branches:
    """Trains a branch of each level that has none yet.

    Args:
        study: whose levels are trained.
        branch: what is made of them.

    Raises:
        ValueError: it would begin after its own end.
    """

    def __init__(self, study: Study, branch: Branch) -> None:
        self.study, self.branch = study, branch
        # One for all levels: the data is laid out once.
        self._other = branch.session() if branch.session else None
        if self._other is not None:
            self._initial = {k: v.clone() for k, v in self._other.model.state_dict().items()}
            self._iteration(self._other)

    def train(self, level: int) -> None:
        """Train the branch of one level, which is trained.

        Raises:
            ValueError: its mask would empty a layer.
        """
        study, run = self.study, self.study.tree.branch(level, self.branch.folder)
        with run.locked():
            mask = self._mask(level)
            masks.check_not_empty(mask, f"branch={self.branch.kind}: level {level}")
            origin = study.origin(level, mask)
            origin |= {"branch": self.branch.words}
            if not tree.mask_of(run).exists():
                study.save_mask(run, mask, origin)
            origin |= study.named(run)
            begin = partial(self._begin, level, mask, origin)
            study.fit(run, begin, f"level {level}, {self.branch.words}")

    def _mask(self, level: int) -> Mask:
        """The mask of a branch: that of its level but where others are pruned."""
        study, options = self.study, self.branch.options
        mask = study.mask(level)
        if self.branch.kind == "retrain" and self._other is not None:
            return masks.fitted(mask, self._other.model, study.layers.output)
        if self.branch.kind != "randomly_prune":
            return mask
        seed = chance.derive(study.rules.seed, "randomly_prune", options["seed"], level)
        return shuffled(mask, options["strategy"], study.pruned, seed, study.first)

    def _begin(self, level: int, mask: Mask, origin: dict[str, Any]) -> Session:
        starts, options = self.study.starts, self.branch.options
        if self._other is not None:
            return self._begin_other(self._other, mask, origin)
        first = 0 if options["start_at"] != "rewind" else starts.plan.rewind
        if self.branch.kind == "randomly_reinitialize":
            seeds = starts.seeds.initialization, "randomly_reinitialize", options["seed"]
            weights = starts.session.initialized(chance.derive(*seeds))
            return starts.fresh(weights, first, mask, origin)
        others = options["strategy"] != "identity"  # places than those that the level was pruned in
        if options["start_at"] == "rewind":
            return self.study.begin(level, mask, origin, dense=others)
        if options["start_at"] == "init":
            return starts.fresh(starts.initial, first, mask, origin)
        return starts.fresh(self.study.final(0 if others else level), first, mask, origin)

    def _begin_other(self, session: Session, mask: Mask, origin: dict[str, Any]) -> Session:
        """The session of retrain: weights of the study, the output layer fresh where it must be."""
        starts, again = self.study.starts, self.branch.options["start_at"] == "rewind"
        dense = starts.rewound_weights() if again else starts.initial
        weights = fitting(dense, self._initial, str(starts.tree.level(0).folder))
        keep, iteration = partial(Masking, mask=mask), self._iteration(session)
        return restarted(session, starts.seeds, weights, iteration, keep, origin)

    def _iteration(self, session: Session) -> int:
        """Where retrain begins, counted in its own epochs."""
        if self.branch.options["start_at"] != "rewind":
            return 0
        plan = self.study.plan
        step = plan.text(plan.rewind)
        iteration = steps.to_iteration(step, session.iterations_per_epoch)
        if iteration >= session.planned_end:
            end = steps.to_text(session.planned_end, session.iterations_per_epoch)
            raise ValueError(
                f"retrain: begins at {step}, where levels are rewound to, and that is not before "
                f"its end, {end}; retrain.start_at=init begins at 0"
            )
        return iteration
