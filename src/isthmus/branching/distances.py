"""How far children are from where they began, and from each other."""

from collections.abc import Mapping, Sequence

from isthmus import state_dicts
from isthmus.branching import cells, pairs
from isthmus.branching.plan import Plan
from isthmus.branching.tree import Tree
from isthmus.runs import Run, load_weights, write_csv
from isthmus.state_dicts import StateDict


def measure(tree: Tree, plan: Plan, spawn_step: int, names: Sequence[str]) -> None:
    """Write the distances of the children of one spawn step that are not in its table yet.

    Args:
        tree: where the children lie, trained.
        plan: which of them at which child steps.
        spawn_step: an iteration of the parent.
        names: of the parameters, without running statistics.
    """
    path = tree.distance(plan.text(spawn_step))
    with Run(path.parent).locked():
        wanted = pairs.missing(tree, plan, spawn_step)
        if not wanted:
            return
        rows = {pairs.key(row): row for row in cells.read_rows(path)}
        start, initial = (load_weights(tree.parent.weights(i))[0] for i in (spawn_step, 0))
        for child_step in sorted({int(step) for step, _, _ in wanted}):
            here = [key for key in wanted if key[0] == str(child_step)]
            children = _children(tree, plan, spawn_step, child_step, here, start)
            networks = {"initialization": initial, "parent": start, **children}
            moment = _moment(plan, spawn_step, child_step)
            for key in here:
                values = (*moment, *key[1:], *_between(networks, *key[1:], names))
                rows[key] = dict(zip(pairs.PAIRS, values, strict=True))
        ordered = sorted(rows.values(), key=pairs.order)
        write_csv(path, pairs.PAIRS, [[row[name] for name in pairs.PAIRS] for row in ordered])


def _children(
    tree: Tree,
    plan: Plan,
    spawn_step: int,
    child_step: int,
    wanted: Sequence[tuple[str, str, str]],
    start: StateDict,
) -> dict[str, StateDict]:
    """The children that are measured at one child step, by their seeds."""
    seeds = {seed for _, *pair in wanted for seed in pair if seed not in pairs.ALONE}
    if child_step == 0:
        return dict.fromkeys(seeds, start)
    runs = {seed: tree.child(plan.text(spawn_step), int(seed)) for seed in sorted(seeds)}
    iteration = spawn_step + child_step
    return {seed: load_weights(run.weights(iteration))[0] for seed, run in runs.items()}


def _between(
    networks: Mapping[str, StateDict], seed: str, other: str, names: Sequence[str]
) -> tuple[str, str]:
    """L2 distance and cosine, which there is none of to the origin."""
    if other == "origin":
        return repr(state_dicts.norm(networks[seed], names).item()), ""
    pair = networks[seed], networks[other]
    l2, cosine = state_dicts.distance(*pair, names), state_dicts.cosine(*pair, names)
    return repr(l2.item()), repr(cosine.item())


def _moment(plan: Plan, spawn_step: int, child_step: int) -> tuple[str, ...]:
    per_epoch = plan.iterations_per_epoch
    epochs = (f"{round(step / per_epoch, 6):g}" for step in (spawn_step, child_step))
    return (str(spawn_step), str(child_step), *epochs)
