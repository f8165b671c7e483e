"""The outcome of a study of branches in a few lines."""

import statistics

from isthmus.branching import cells
from isthmus.branching.cells import Row
from isthmus.branching.legs import Legs
from isthmus.branching.plan import Request
from isthmus.branching.tree import Tree


def of(tree: Tree, request: Request, legs: Legs | None = None) -> list[str]:
    """What a study found, as tables of text.

    Args:
        tree: with its tables.
        request: whose children and batch-norm statistics are shown.
        legs: of splitting and merging, if there are any.
    """
    seeds = set(map(str, request.child_seeds))
    rows = [
        row
        for row in cells.read_rows(tree.averages)
        if row["bn"] == request.bn and seeds.issuperset(row["seeds"].split("-"))
    ]
    return ([_branches(rows)] if rows else []) + ([_legs(legs)] if legs else [])


def _branches(rows: list[Row]) -> str:
    """Accuracy of children and averages at the last child step of each spawn step, as a table.

    On the test split, or the last one that was evaluated; of plain networks, or the first of the
    averaged models.
    """
    split = max((row["split"] for row in rows), key=cells.SPLITS.index)
    models = {row["model"] for row in rows}
    model = "plain" if "plain" in models else min(models)
    rows = _last([row for row in rows if (row["split"], row["model"]) == (split, model)])
    kinds = sorted({_kind(row) for row in rows}, key=_place)
    names = [f"{kind} {number}".rstrip() for kind, number in kinds]
    head = ["spawned at", "compared at", *names]
    lines = [
        f"mean {split} accuracy of {model} children, and of averages of so many networks "
        f"(bn={rows[0]['bn']})"
    ]
    lines.append("  ".join(head))
    for spawn_step in sorted({int(row["spawn_step"]) for row in rows}):
        here = [row for row in rows if int(row["spawn_step"]) == spawn_step]
        moments = [f"{here[0][name]}ep" for name in ("spawn_epoch", "child_epoch")]
        entries = [*moments, *(_accuracy(here, kind) for kind in kinds)]
        lines.append("  ".join(f"{e:>{len(h)}}" for e, h in zip(entries, head, strict=True)))
    return "\n".join(lines)


def _legs(legs: Legs) -> str:
    """Accuracy of the parent, the children and their average in each leg, as a table."""
    rows = cells.read_rows(legs.table)
    split = max((row["split"] for row in rows), key=cells.SPLITS.index)
    lines = [f"{split} accuracy", "leg  parent  children  average"]
    for leg in range(legs.num_legs):
        means = []
        for role in ("parent", "child", "average"):
            which = (str(leg), role, split, legs.bn)
            here = [r for r in rows if (r["leg"], r["role"], r["split"], r["bn"]) == which]
            means.append(statistics.fmean(float(row["accuracy"]) for row in here))
        lines.append(f"{leg:>3}  {means[0]:>6.4f}  {means[1]:>8.4f}  {means[2]:>7.4f}")
    return "\n".join(lines)


def _last(rows: list[Row]) -> list[Row]:
    """The rows of the last child step of each spawn step."""
    last: dict[str, int] = {}
    for row in rows:
        spawn_step, child_step = row["spawn_step"], int(row["child_step"])
        last[spawn_step] = max(last.get(spawn_step, 0), child_step)
    return [row for row in rows if int(row["child_step"]) == last[row["spawn_step"]]]


def _kind(row: Row) -> tuple[str, str]:
    number = "" if row["kind"] == "child" else row["num_models"]
    return row["kind"], number


def _place(kind: tuple[str, str]) -> tuple[int, int]:
    return cells.KINDS.index(kind[0]), int(kind[1] or 0)


def _accuracy(rows: list[Row], kind: tuple[str, str]) -> str:
    """The mean over all of a kind, such as the children of one spawn step."""
    values = [float(row["accuracy"]) for row in rows if _kind(row) == kind]
    return f"{statistics.fmean(values):.4f}" if values else ""
