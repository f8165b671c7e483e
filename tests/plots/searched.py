"""The tables of a small search, as `tune.py` writes them."""

import pandas as pd


def trials(count: int = 20) -> pd.DataFrame:
    """A trial of number 3 failed; the others come to a value by their learning rate."""
    table = pd.DataFrame({"number": range(count)})
    table["state"] = ["failed" if number == 3 else "complete" for number in range(count)]
    lr = pd.Series([10 ** -(3 * (7 * number % count) / count) for number in range(count)])
    table["value"] = (0.9 - 0.2 * lr).where(table["state"] == "complete")
    table["seconds"], table["folder"], table["error"] = 1.0, "outputs/a", None
    table["optimizer.lr"] = lr
    table["averaged.decay"] = [(0.9, 0.99, 0.999)[number % 3] for number in range(count)]
    table["scheduler"] = [("constant", "cosine")[number % 2] for number in range(count)]
    return table


def importance() -> pd.DataFrame:
    return pd.DataFrame({"option": ["scheduler", "optimizer.lr"], "importance": [0.25, 0.75]})
