"""How far children are from where they began, and from each other."""

from collections.abc import Sequence

from src import state_dicts
from src.branching import cells, pairs
from src.branching.plan import Plan
from src.branching.tree import Tree
from src.runs import load_weights, write_csv
from src.state_dicts import StateDict


def measure(tree: Tree, plan: Plan, spawn_step: int, names: Sequence[str]) -> None:
    """Write the distances of the children of one spawn step that are not in its table yet.

    Args:
        tree: where the children lie, trained.
        plan: which of them at which child steps.
        spawn_step: an iteration of the parent.
        names: of the parameters, without running statistics.
    """
    path = tree.distance(plan.text(spawn_step))
    rows = {pairs.key(row): row for row in cells.read_rows(path)}
    wanted = pairs.missing(tree, plan, spawn_step)
    if not wanted:
        return
    start, initial = (load_weights(tree.parent.weights(i))[0] for i in (spawn_step, 0))
    fixed: dict[str, StateDict] = {"initialization": initial, "parent": start}
    for child_step in sorted({int(step) for step, _, _ in wanted}):
        here = [key for key in wanted if key[0] == str(child_step)]
        seeds = {seed for _, *pair in here for seed in pair if seed not in pairs.ALONE}
        children = {
            seed: start
            if child_step == 0
            else load_weights(
                tree.child(plan.text(spawn_step), int(seed)).weights(spawn_step + child_step)
            )[0]
            for seed in seeds
        }
        for key in here:
            _, seed, other = key
            weights = children[seed]
            if other == "origin":
                l2, cosine = state_dicts.norm(weights, names).item(), ""
            else:
                against = fixed[other] if other in fixed else children[other]
                l2 = state_dicts.distance(weights, against, names).item()
                cosine = repr(state_dicts.cosine(weights, against, names).item())
            moment = _moment(plan, spawn_step, child_step)
            values = (*moment, seed, other, repr(l2), cosine)
            rows[key] = dict(zip(pairs.PAIRS, values, strict=True))
    ordered = sorted(rows.values(), key=pairs.order)
    write_csv(path, pairs.PAIRS, [[row[name] for name in pairs.PAIRS] for row in ordered])


def _moment(plan: Plan, spawn_step: int, child_step: int) -> tuple[str, ...]:
    per_epoch = plan.iterations_per_epoch
    epochs = (f"{round(step / per_epoch, 6):g}" for step in (spawn_step, child_step))
    return (str(spawn_step), str(child_step), *epochs)
