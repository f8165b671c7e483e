"""The children of one spawn step, trained one after the other or together."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from src.branching.plan import Plan
from src.branching.tree import Tree, text
from src.branching.wanted import as_steps
from src.runs import Run
from src.training.fit import fit
from src.training.fit_together import fit_together, replay_together
from src.training.leg import Leg
from src.training.session import Session

Group = tuple[int, ...]  # child seeds that are trained together; of one: by itself

# Makes the sessions of a group, each where its child begins.
Begin = Callable[[int, Group], list[Session]]


class Children:
    """Trains the children of one spawn step that are not there.

    Children that were begun together go on together, and their snapshots are replayed together,
    because a network in a stack is only up to rounding what it is by itself.

    Args:
        tree: where they lie.
        plan: what is asked for.
        spawn_step: an iteration of the parent, which is trained.
        begin: makes sessions of children, from the spawn step and their seeds.
        go_together: which of the children that are not begun are to be trained together.
        save_predictions: whether to keep correctness per validation example.
    """

    def __init__(
        self,
        tree: Tree,
        plan: Plan,
        spawn_step: int,
        begin: Begin,
        go_together: Callable[[Sequence[int]], Sequence[int]],
        save_predictions: bool,
    ) -> None:
        self.tree, self.step_text = tree, plan.text(spawn_step)
        self.seeds = plan.request.child_seeds
        self.begin = partial(begin, spawn_step)
        self.go_together, self.save_predictions = go_together, save_predictions
        self.end = spawn_step + plan.child_length
        self.wanted = plan.kept_by_child(spawn_step)
        self.num_steps = 0

    def train(self) -> int:
        """Train all of them; returns how many optimizer steps were made."""
        for group in self._groups(self.seeds):
            self._train(group)
        return self.num_steps

    def _train(self, group: Group) -> None:
        with self._locked(group):
            if self._groups(group) == [group]:
                self.num_steps += self._fit(group) if len(group) > 1 else self._fit_one(*group)
                return
        for other in self._groups(group):  # another job has begun some of them meanwhile
            self._train(other)

    def _groups(self, seeds: Sequence[int]) -> list[Group]:
        """Who is trained with whom: as they were begun, and the others as is asked for."""
        begun = {seed: group for group in self._under_way() for seed in group}
        fresh = []
        for seed in seeds:
            run = self.run(seed)
            result = run.read_result()
            if seed in begun:
                continue
            if result is not None:
                begun[seed] = tuple(result.get("together", [seed]))
            elif run.state.exists():
                begun[seed] = (seed,)
            else:
                fresh.append(seed)
        group = tuple(self.go_together(fresh))
        begun |= dict.fromkeys(group, group)
        return list(dict.fromkeys(begun.get(seed, (seed,)) for seed in seeds))

    def _under_way(self) -> list[Group]:
        """Groups that were begun and not finished."""
        files = sorted((self.tree.folder / "children" / self.step_text).glob("together_*.pt"))
        names = (path.stem.removeprefix("together_") for path in files)
        return [tuple(map(int, name.split("-"))) for name in names]

    @contextlib.contextmanager
    def _locked(self, group: Group) -> Iterator[None]:
        with contextlib.ExitStack() as locks:
            for seed in sorted(group):  # in one order, so that no two jobs wait for each other
                locks.enter_context(self.run(seed).locked())
            yield

    def _fit_one(self, seed: int) -> int:
        return fit(
            self.run(seed),
            lambda: self.begin((seed,))[0],
            as_steps(self.wanted),
            self.save_predictions,
            end=self.end,
            words=self._words(seed),
        )

    def _fit(self, group: Group) -> int:
        runs, num_steps = [self.run(seed) for seed in group], 0
        words = f"children {', '.join(map(str, group))} of {self.step_text}"
        request = as_steps(self.wanted)
        state = runs[0].folder.with_name(f"together_{text(group)}.pt")
        for leftover in state.parent.glob(f".{state.name}.*.tmp"):  # of a job that was killed
            leftover.unlink()
        if state.exists() or not all(run.has_reached(self.end) for run in runs):
            legs = [
                Leg(run, session, request, self.save_predictions, self._words(seed))
                for seed, run, session in zip(group, runs, self.begin(group), strict=True)
            ]
            num_steps += fit_together(legs, state, words)
        missing = {i for run in runs for i in run.missing_snapshots(request, self.end)}
        if missing:
            num_steps += replay_together(runs, partial(self.begin, group), sorted(missing), words)
        return num_steps

    def _words(self, seed: int) -> str:
        return f"child {seed} of {self.step_text}"

    def run(self, seed: int) -> Run:
        """The run of a child."""
        return self.tree.child(self.step_text, seed)
