"""A parent and its children, trained where they are missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from src import steps
from src.branching.children import Children
from src.branching.plan import Plan, Request
from src.branching.tree import Tree
from src.branching.wanted import as_steps
from src.data.splits import DataSet
from src.state_dicts import StateDict
from src.steps import Step
from src.training.fit import fit
from src.training.misfit import misfit, pays
from src.training.recipe import Recipe, Runtime, Seeds
from src.training.session import Session

Snapshots = str | list[Step] | None


@dataclass(frozen=True)
class Origins:
    """What makes the members of a family what they are.

    Args:
        recipe: how the parent and its children are trained.
        data: what on.
        seeds: of the parent's streams of chance.
        vary: streams of a child that its own seed feeds, in place of the parent's.
        weights: makes what the parent begins from, of fresh weights; None for these themselves.
    """

    recipe: Recipe
    data: DataSet
    seeds: Seeds
    vary: Sequence[str] = ("data_order", "augmentation", "dropout")
    weights: Callable[[StateDict], StateDict] | None = None

    def of_child(self, child_seed: int) -> Seeds:
        """The seeds of a child."""
        return replace(self.seeds, **dict.fromkeys(self.vary, child_seed))


class Family:
    """Trains the members of a tree that are not there, each once, whoever asks for it.

    Args:
        tree: where they lie.
        origins: what they are.
        runtime: how they run.
        save_predictions: whether to keep correctness per validation example.
        together: whether to train children as one stack: True, False, or "auto", where it is
            faster.
    """

    def __init__(
        self,
        tree: Tree,
        origins: Origins,
        runtime: Runtime,
        save_predictions: bool = True,
        together: bool | str = "auto",
    ) -> None:
        self.tree, self.origins, self.runtime = tree, origins, runtime
        self.save_predictions, self.together = save_predictions, together
        self.num_steps = 0  # optimizer steps that were made
        # One for all: the data is laid out once, and what is compiled is compiled once.
        self.session = Session(
            origins.recipe, origins.data, origins.seeds, runtime, checks_schedule=False
        )
        self._initial = {k: v.clone() for k, v in self.session.model.state_dict().items()}

    def parameters(self) -> list[str]:
        """Names of the parameters, without running statistics."""
        return [name for name, _ in self.session.model.named_parameters()]

    def plan(self, request: Request) -> Plan:
        """A request in iterations.

        Raises:
            ValueError: a step lies after the end of the parent, of the children or of the schedule;
                the data set lacks a split; or children cannot be trained together.
        """
        session = self.session
        self._go_together(request.child_seeds)
        session.evaluator.check_splits(request.splits)
        plan = Plan(request, session.iterations_per_epoch, session.planned_end)
        if plan.spawn_steps:
            self.check_schedule(max(plan.spawn_steps), plan.child_length)
        return plan

    def check_schedule(self, start: int, length: int) -> None:
        """Refuse children that the schedule of the parent does not provide for.

        Args:
            start: the latest iteration at which they begin.
            length: in iterations.

        Raises:
            ValueError: naming the longest that they can be.
        """
        session = self.session
        try:
            session.training.scheduler.factor(start + length - 1)
        except ValueError as error:
            texts = [
                steps.to_text(iteration, session.iterations_per_epoch)
                for iteration in (length, start, session.planned_end - start)
            ]
            earlier = start >= session.planned_end
            shorter = "an earlier spawn step" if earlier else f"child_length={texts[2]}"
            raise ValueError(
                f"child_length={texts[0]}: the children of {texts[1]} would outlast the schedule "
                f"of the parent ({error}); try {shorter} or scheduler=constant"
            ) from error

    def train_parent(
        self,
        plan: Plan,
        snapshots: Snapshots = None,
        to_its_end: bool = False,
        option: str = "spawn_steps",
    ) -> None:
        """Train the parent to its end, keeping every spawn step.

        Args:
            plan: with the spawn steps.
            snapshots: to keep besides.
            to_its_end: whether its end is to be trained on from.
            option: that the spawn steps were typed as, for the message.

        Raises:
            ValueError: the parent stopped early, before a spawn step.
        """
        run = self.tree.parent
        with run.locked():
            extra = steps.to_iterations(snapshots, plan.iterations_per_epoch, plan.end)
            extra += [plan.end] if to_its_end else []
            self.num_steps += fit(
                run,
                self._begin_parent,
                as_steps(sorted({*plan.kept_by_parent, *extra})),
                self.save_predictions,
                words="parent",
            )
        late = [step for step in plan.spawn_steps if not run.snapshot_state(step).exists()]
        if late:
            raise ValueError(
                f"{option}: {', '.join(map(plan.text, late))} lies after the early stop of the "
                f"parent (hparams.patience={self.origins.recipe.patience})"
            )

    def train_children(self, plan: Plan, spawn_step: int) -> None:
        """Train the children of one spawn step to the length asked for.

        Raises:
            ValueError: they are to be trained together, and cannot be.
        """
        begin = partial(self._begin_children, plan)
        together, predictions = self._go_together, self.save_predictions
        children = Children(self.tree, plan, spawn_step, begin, together, predictions)
        self.num_steps += children.train()

    def _begin_parent(self) -> Session:
        weights: StateDict = self._initial
        if self.origins.weights is not None:
            weights = self.origins.weights(self._initial)
        self.session.restart(self.origins.seeds, weights)
        return self.session

    def _begin_children(self, plan: Plan, spawn_step: int, seeds: Sequence[int]) -> list[Session]:
        """A session for each child: the one of the family if there is one child."""
        sessions = [self.session]
        if len(seeds) > 1:
            sessions = [self.session.twin() for _ in seeds]
        for seed, session in zip(seeds, sessions, strict=True):
            origin = {
                "spawn_step": spawn_step,
                "child_seed": seed,
                "vary": list(self.origins.vary),
                **({"together": list(seeds)} if len(seeds) > 1 else {}),
            }
            end = spawn_step + plan.child_length
            session.restart(self.origins.of_child(seed), self._initial, end, origin)
            session.load_snapshot(self.tree.parent, spawn_step)
        return sessions

    def _go_together(self, seeds: Sequence[int]) -> list[int]:
        """Which of several children, begun now, are to be trained together.

        Not the one that is the parent's continuation: in a stack it would be so only up to
        rounding.
        """
        seeds = [seed for seed in seeds if self.origins.of_child(seed) != self.origins.seeds]
        if not self.together or len(seeds) < 2:
            return []
        if self.together == "auto" and not pays(self.session, len(seeds)):
            return []
        reason = misfit(self.session)
        if reason is not None and self.together != "auto":
            raise ValueError(f"spawn.together=true: {reason}")
        return seeds if reason is None else []
