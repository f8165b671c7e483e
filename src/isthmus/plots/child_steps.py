"""How good children and their averages are after every child step: a panel a spawn step."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots import rows, style

EACH_CHILD, MEAN_CHILD, ONLY_CHILD = "each child", "mean child", "child"
COLUMNS = ["curve", "kind", "num_models", *rows.MOMENT]
COLUMNS += ["model", "bn", "split", "metric", "seeds", "value"]


def table(
    averages: pd.DataFrame,
    split: str = "test",
    metric: str = "accuracy",
    model: str = "plain",
    bn: str = "reset",
) -> pd.DataFrame:
    """What the figure shows: each child, and means over children and over averages of one sort.

    Args:
        averages: as `spawn.py` writes it.
        split: train, val or test.
        metric: accuracy (fraction) or loss (nats).
        model: plain, or an averaged model tracked in training: ema_0.999, swa, latest_5.
        bn: what became of the batch-norm statistics of averages: reset, average or keep.

    Returns:
        A row a point. `curve` is its name in the legend, and `seeds` lists the networks that
        `value` is the mean of: "1 2 3" are three children, "1-2-3" is one average of three.

    Raises:
        ValueError: there is nothing to draw; with what there is.
    """
    if metric not in style.UNITS:
        raise ValueError(f"metric: must be {' or '.join(style.UNITS)}, got {metric}")
    found = rows.select(averages, split, model, bn)
    found = found.assign(metric=metric, value=found[metric])
    if found["value"].isna().all():
        raise ValueError(
            f"nothing to draw: no {metric} of split {split}, model {model} is a number"
        )
    curves = curve_names(found)
    sorts = zip(found["kind"], found["num_models"], strict=True)
    found = found.assign(curve=[curves[sort] for sort in sorts])
    keys = [column for column in COLUMNS if column not in ("seeds", "value")]
    means = found.groupby(keys, as_index=False).agg({"seeds": rows.listed, "value": mean})
    each = found[found["curve"] == MEAN_CHILD].assign(curve=EACH_CHILD)
    drawn = pd.concat([each, means])[COLUMNS]
    names = pd.Categorical(drawn["curve"], list(dict.fromkeys([EACH_CHILD, *curves.values()])))
    order = ["spawn_step", "curve", "child_step", "seeds"]
    drawn = drawn.assign(curve=names).sort_values(order, ignore_index=True)
    return drawn.astype({"curve": str})


def mean(values: pd.Series) -> float:
    """The mean of all values: not a number if one of them is none."""
    return float(values.mean(skipna=False))


def curve_names(found: pd.DataFrame) -> dict[tuple[str, int], str]:
    """Curve of each kind and number of networks, in the order of the legend."""
    names, children = {}, found.loc[found["kind"] == "child", "seeds"].nunique()
    for kind in ("child", "across", *style.BACK):
        counts = sorted(set(found.loc[found["kind"] == kind, "num_models"]))
        for count in counts:
            if kind == "child":
                names[kind, count] = MEAN_CHILD if children > 1 else ONLY_CHILD
            elif kind == "across":
                names[kind, count] = f"across (n = {count})"
            else:  # the number may grow with the child step
                names[kind, count] = f"{kind} (m = {style.span(counts[0], counts[-1])})"
    return names


def draw(drawn: pd.DataFrame) -> Figure:
    """A panel a spawn step: children thin, their mean bold, averages in the colours of their kind.

    Args:
        drawn: by `table`.
    """
    first, per_epoch = drawn.iloc[0], style.iterations_per_epoch(drawn)
    with style.look():
        spawn_steps = sorted(set(drawn["spawn_step"]))
        figure, panels = style.grid(len(spawn_steps))
        for axes, spawn_step in zip(panels, spawn_steps, strict=True):
            draw_curves(axes, drawn[drawn["spawn_step"] == spawn_step])
            axes.set_title(f"spawn step {style.moment(spawn_step, per_epoch)}")
            style.step_axis(axes, drawn["child_step"], per_epoch)
        if first["metric"] == "loss" and (drawn["value"] > 0).any():
            style.loss_axis(panels[0])  # the y axes are one
        figure.supxlabel(style.CHILD_STEP)
        figure.supylabel(f"{first['split']} {first['metric']} ({style.UNITS[first['metric']]})")
        style.legend(figure, panels, title=about(drawn))
    return figure


def draw_curves(axes: Axes, panel: pd.DataFrame) -> None:
    """The curves of one spawn step."""
    for curve, points in panel.groupby("curve", sort=False):
        if curve == EACH_CHILD:
            for _, child in points.groupby("seeds"):
                axes.plot(child["child_step"], child["value"], **style.EACH_CHILD, label=curve)
        else:
            look = style.line(points["kind"].iloc[0], points["num_models"].iloc[0])
            axes.plot(points["child_step"], points["value"], **look, label=curve)


def about(drawn: pd.DataFrame) -> str:
    """Which networks the figure shows, in words."""
    averages = drawn.loc[drawn["kind"] != "child", "bn"]
    bn = averages.iloc[0] if len(averages) else drawn["bn"].iloc[0]
    return f"model {drawn['model'].iloc[0]}, batch norm: {bn}"
