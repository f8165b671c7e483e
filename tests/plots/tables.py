"""Small tables of a study, as `spawn.py` writes them."""

import pandas as pd

AVERAGES = "spawn_step child_step seeds kind model num_models bn split accuracy".split()
PER_EPOCH = 4  # iterations


def averages(*rows: tuple) -> pd.DataFrame:
    """A table of averages from rows of `AVERAGES`; the loss is ten times the error."""
    table = pd.DataFrame(rows, columns=AVERAGES)
    return table.assign(
        spawn_epoch=table["spawn_step"] / PER_EPOCH,
        child_epoch=table["child_step"] / PER_EPOCH,
        loss=10 * (1 - table["accuracy"]),
    )


def child(spawn_step: int, child_step: int, seed: int, accuracy: float) -> tuple:
    return spawn_step, child_step, str(seed), "child", "plain", 1, "keep", "test", accuracy


def average(
    spawn_step: int, child_step: int, seeds: str, kind: str, num_models: int, accuracy: float
) -> tuple:
    return spawn_step, child_step, seeds, kind, "plain", num_models, "reset", "test", accuracy


def study(spawn_steps=(0, 8), child_steps=(0, 1, 4, 16), seeds=(1, 2, 3)) -> pd.DataFrame:
    """Every kind of average of every child, with accuracies that have no meaning."""
    rows = []
    for spawn_step in spawn_steps:
        for place, child_step in enumerate(child_steps):
            cell, level = (spawn_step, child_step), 0.1 + 0.02 * place
            rows += [child(*cell, seed, level + seed / 100) for seed in seeds]
            for n in range(2, len(seeds) + 1):
                joined = "-".join(map(str, seeds[:n]))
                rows.append(average(*cell, joined, "across", n, level + n / 50))
            for kind, m in (
                ("back", 2),
                ("back_plus_one", min(2 + place, 3)),
                ("back_plus_three", min(2 + place, 5)),
                ("back_all", 2 + place),
            ):
                rows += [average(*cell, str(seed), kind, m, level - m / 100) for seed in seeds]
    return averages(*rows)


def distances(spawn_steps=(0, 8), child_steps=(0, 1, 4), seeds=(1, 2)) -> pd.DataFrame:
    """Distances that are the seed plus a number of their own; no siblings of one child."""
    cells = [(t, k, s) for t in spawn_steps for k in child_steps for s in seeds]
    table = pd.DataFrame(cells, columns=["spawn_step", "child_step", "seed"])
    table["spawn_epoch"] = table["spawn_step"] / PER_EPOCH
    table["child_epoch"] = table["child_step"] / PER_EPOCH
    for place, other in enumerate(("origin", "initialization", "parent", "siblings")):
        alone = other == "siblings" and len(seeds) == 1
        table[f"l2_{other}"] = None if alone else table["seed"] + 10.0 * place
        if other != "origin":
            table[f"cosine_{other}"] = None if alone else table["seed"] / 10 + 0.1 * place
    return table.astype({"l2_siblings": float, "cosine_siblings": float})
