"""Jobs of sweeps, and tables as runs of them write them."""

import json
from pathlib import Path

import pandas as pd

STEPS = (0, 1, 2)


def metrics(widths=(16, 32, 64), seeds=(1, 2), depths=(2, 3), names=("mup", "ntk")):
    """Outputs m^-1/2 and changes m^0 at first, for both names."""
    rows = []
    for name in names:
        for depth in depths:
            for width in widths:
                for seed in seeds:
                    given = {"parametrization": name, "depth": depth, "width": width, "seed": seed}
                    told = {"slope_output": -0.5, "slope_output_change": 0.0}
                    rows += [given | {"step": 0, "metric": m, "value": v} for m, v in told.items()]
                    for step in STEPS:
                        values = {"output": width**-0.5 * seed, "output_change": step * 0.1 * seed}
                        values["examples_loss"] = 2.3 - 0.1 * step
                        for metric, value in values.items():
                            rows.append(given | {"step": step, "metric": metric, "value": value})
    return pd.DataFrame(rows)


def ranks(kinds=("weight", "change", "activation")):
    """Ranks of two layers at two steps."""
    rows = []
    for name in ("mup", "ipllr"):
        for seed in (1, 2):
            for step in (0, 10):
                for kind in kinds:
                    for place, layer in enumerate(("hidden.0", "hidden.1", "output")):
                        for rank in ("trace", "frobenius"):
                            rows.append(
                                {
                                    "parametrization": name,
                                    "seed": seed,
                                    "step": step,
                                    "metric": f"rank_{rank}_{kind}_{layer}",
                                    "value": float(seed + place + 10 * (rank == "trace")),
                                }
                            )
    return pd.DataFrame(rows)


def job(folder: Path, num: int, overrides: list[str], table=None, loss=None, **more) -> dict:
    """A job of a sweep, with its files; one without a loss has diverged.

    Args:
        table: metrics.csv, or the function where `name` says so.
    """
    run = folder / f"run_{num}"
    run.mkdir()
    if table is not None:
        table.to_csv(run / more.get("name", "metrics.csv"), index=False)
    if loss is not None:
        evaluation = {"plain": {"train": {"loss": loss}, "test": {"loss": loss, "accuracy": 0.5}}}
        (run / "result.json").write_text(json.dumps({"evaluation": evaluation}))
    status = "diverged" if loss is None else "done"
    return {"job": num, "overrides": overrides, "folder": str(run), "status": status}
