"""Small tables of an extraction, as `extract.py` writes them."""

import pandas as pd


def merges(layers=(1,), num_units=4):
    rows = [(0, 0, 1, 0, 1e-4, 0), (2, 0, 3, 0, 0.0, 1), (0.5, 1e-4, 2.5, 0.0, 0.7, -1)]
    columns = ["left", "left_height", "right", "right_height", "height", "cluster"]
    one = pd.DataFrame(rows, columns=columns).assign(cut=0.01, num_shown=4, num_units=num_units)
    return pd.concat([one.assign(layer=layer) for layer in layers], ignore_index=True)


def counts(layers=(1,)):
    rows = [(1e-9, 1), (1e-4, 2), (0.3, 1)]
    one = pd.DataFrame(rows, columns=["height", "large"])
    one = one.assign(cut=0.01, plateau_start=1e-4, plateau_end=0.3, limit=0.5)
    return pd.concat([one.assign(layer=layer) for layer in layers], ignore_index=True)


def matrix(layers=(1,), size=3):
    rows = [(r, c, 0.0 if r == c else 0.1 * (r + c)) for r in range(size) for c in range(size)]
    one = pd.DataFrame(rows, columns=["row", "column", "distance"])
    one = one.assign(row_cluster=0, num_shown=size, num_units=50)
    return pd.concat([one.assign(layer=layer) for layer in layers], ignore_index=True)


def clusters(layers=(1,)):
    rows = [(0, 9, 9, 0.02, True, 3.0), (1, 8, 8, 0.001, True, 2.0), (-1, 7, 7, 0.9, False, None)]
    columns = ["cluster", "size", "num_students", "angle", "kept", "winner"]
    one = pd.DataFrame(rows, columns=columns).assign(beta=0.5)
    return pd.concat([one.assign(layer=layer) for layer in layers], ignore_index=True)


def comparison():
    rows = [(1, 0, 2.0, 1e-9, 1e-5), (1, 1, None, None, None), (2, 0, 0.0, 0.0, 1e-3)]
    return pd.DataFrame(
        rows, columns=["layer", "unit", "found_unit", "distance_in", "distance_out"]
    )


def excess(some=True):
    rows = [(1, 4, 0, 0.2, 0.01)] if some else []
    columns = ["layer", "found_unit", "nearest_unit", "distance_in", "length_out"]
    return pd.DataFrame(rows, columns=columns)


def losses(students=2):
    rows = [(epoch, n, 10.0 ** -(epoch + n), 1e-3) for n in range(students) for epoch in (1, 2)]
    return pd.DataFrame(rows, columns=["epoch", "student", "loss", "lr"])
