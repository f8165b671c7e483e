"""A main branch, and branches that leave it, trained as far as they are to be compared."""

from collections.abc import Sequence

from isthmus import steps
from isthmus.branching.family import Family, Snapshots
from isthmus.branching.plan import Request
from isthmus.branching.wanted import as_steps
from isthmus.training.variation import without_effect

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
        ValueError: training stopped before a moment of comparison, or a branch would be the main
            one again.
    """
    session = family.session
    _check_seeds(family, seeds)
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


def _check_seeds(family: Family, seeds: Sequence[int]) -> None:
    """Refuse branches whose seeds are the main one's in all streams of chance with an effect.

    Raises:
        ValueError: naming the first such seed.
    """
    origins = family.origins
    streams = [name for name in origins.vary if not without_effect(family.session, name)]
    for seed in seeds:
        if all(getattr(origins.seeds, stream) == seed for stream in streams):
            raise ValueError(
                f"child_seeds=[{','.join(map(str, seeds))}]: with seed {seed} the branch is the "
                f"main one again; of vary=[{','.join(origins.vary)}], only "
                f"[{','.join(streams)}] has an effect"
            )
