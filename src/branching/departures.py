"""A main branch, and branches that leave it, trained as far as they are to be compared."""

from collections.abc import Sequence

from src import steps
from src.branching.family import Family, Snapshots
from src.branching.plan import Request
from src.branching.wanted import as_steps

Departure = tuple[int, int]  # iterations: where a branch leaves, and how much later it is compared


def train(
    family: Family, departures: Sequence[Departure], seeds: Sequence[int], snapshots: Snapshots
) -> None:
    """Train what is missing of a main branch, the parent, and of the branches that leave it.

    The parent is trained to its end; it and the branches keep each moment of comparison.

    Args:
        family: of all of them.
        departures: each with a branch of every seed.
        seeds: of the branches.
        snapshots: of the parent, to keep besides.

    Raises:
        ValueError: training stopped before a moment of comparison.
    """
    session = family.session
    starts = sorted({start for start, _ in departures})
    later = sorted({further for _, further in departures})
    request = Request(
        spawn_steps=list(as_steps(starts)),
        child_seeds=list(seeds),
        child_length=as_steps(later)[-1],
        child_steps=as_steps(later),
        averages=(),
        models=("plain",),
    )
    plan = family.plan(request)
    kept = steps.to_iterations(snapshots, session.iterations_per_epoch, session.planned_end)
    compared = {sum(each) for each in departures} - {plan.end}  # whose weights are kept anyway
    family.train_parent(plan, as_steps(sorted({*kept, *compared})), option="k1")
    family.train_children(plan)
    for start, further in departures:
        total, here = start + further, plan.text(start)
        branches = [family.tree.parent, *(family.tree.child(here, seed) for seed in seeds)]
        if not all(run.weights(total).exists() for run in branches):
            raise ValueError(
                f"k1={here} k2={plan.text(further)}: training stopped early, before "
                f"{plan.text(total)} (hparams.patience={family.origins.recipe.patience})"
            )
