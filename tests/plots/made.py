"""Small folders of runs, as the scripts leave them."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from isthmus.plots import widths
from tests.plots import connected, extractions, searched, wide_tables
from tests.plots import tables as plots_tables
from tests.plots.test_pruning import KEPT, barriers, study

PER_EPOCH = 4  # iterations
NUM_EPOCHS, NUM_EXAMPLES = 6, 40
MODELS = ("plain", "ema_0.9", "ema_0.99")
INDICES = np.arange(3, 3 + 2 * NUM_EXAMPLES, 2)  # of the validation examples, in the training set


def config(folder: Path, choices: dict, values: dict, typed: list[str], script="train") -> None:
    """What Hydra leaves in the folder of a job."""
    hydra = {"hydra": {"runtime": {"choices": choices}, "job": {"name": script}}}
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    for name, content in (("config", values), ("hydra", hydra), ("overrides", typed)):
        (folder / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(content))


def correct(seed: int, models=MODELS, num_epochs=NUM_EPOCHS) -> dict[str, np.ndarray]:
    """Who is right after every epoch, the untrained network's first: (epochs + 1, examples)."""
    chance = np.random.default_rng(seed)
    return {
        model: chance.random((num_epochs + 1, NUM_EXAMPLES)) < 0.5 + 0.1 * place
        for place, model in enumerate(models)
    }


def metrics(seed=1, models=MODELS, num_epochs=NUM_EPOCHS, shift=0.0) -> pd.DataFrame:
    """Numbers of a training: accuracy grows with the epoch, the model, the seed and `shift`."""
    lines: list[tuple] = []
    for epoch in range(num_epochs + 1):
        for place, model in enumerate(models):
            accuracy = 0.1 * epoch + 0.02 * place + 0.01 * seed + shift
            lines.append((epoch, "val", model, "accuracy", accuracy))
            lines.append((epoch, "", model, "weight_norm", 10.0 + epoch))
            if model != "plain":
                lines.append((epoch, "", model, "weight_distance", 1.0 * place * epoch))
    for place, model in enumerate(models):
        accuracy = 0.5 + 0.02 * place + 0.01 * seed + shift
        lines.append((num_epochs, "test", model, "final_loss", 1 - accuracy))
        lines.append((num_epochs, "test", model, "final_accuracy", accuracy))
    table = pd.DataFrame(lines, columns=["epoch", "split", "model", "metric", "value"])
    table.insert(0, "step", table["epoch"] * PER_EPOCH)
    return table


def training(folder: Path, seed=1, scheduler="constant", lr=0.1, **others) -> Path:
    """The folder of a training that is done."""
    folder.mkdir(parents=True, exist_ok=True)
    models, num_epochs = others.get("models", MODELS), others.get("num_epochs", NUM_EPOCHS)
    shift = others.get("shift", 0.0) + (0.1 if scheduler == "multistep" else 0) - lr / 10
    metrics(seed, models, num_epochs, shift).to_csv(folder / "metrics.csv", index=False)
    arrays = {"indices": INDICES}
    for model, bits in correct(seed, models, num_epochs).items():
        arrays |= {f"correct/{model}": bits, f"steps/{model}": PER_EPOCH * np.arange(len(bits))}
    np.savez_compressed(folder / "predictions.npz", **arrays)
    choices = {"scheduler": scheduler, "model": "mlp", "dataset": "digits", "averaged": "ema"}
    values = {
        "dataset": {"_target_": "isthmus.data.digits.Digits", "root": "data"},
        "model": {"_target_": "isthmus.models.mlp.MLP", "width": [16]},
        "optimizer": {"lr": lr},
        "scheduler": {"warmup": "0ep"} | ({"gamma": 0.1} if scheduler == "multistep" else {}),
        "averaged": {"decay": [0.9, 0.99]},
        "runtime": {"device": f"cuda:{seed}"},
        "global_seed": seed,
        "output_dir": f"{folder.parent.parent}",
    } | others.get("values", {})
    typed = [f"scheduler={scheduler}", f"optimizer.lr={lr}", f"global_seed={seed}"]
    config(folder, choices, values, [*typed, "model.width=[16]"])
    return folder


def trainings(root: Path, seeds=(1, 2), schedulers=("constant", "multistep"), lrs=(0.1, 0.5)):
    """A sweep over seeds, schedules and learning rates."""
    for scheduler in schedulers:
        for lr in lrs:
            for seed in seeds:
                training(root / f"train_{scheduler}_{lr}" / f"seed_{seed}", seed, scheduler, lr)
    return root


def of_spawn(folder: Path) -> Path:
    (folder / "distance").mkdir(parents=True)
    plots_tables.study((0, 8), (0, 1, 4), (1, 2)).to_csv(folder / "averages.csv", index=False)
    plots_tables.distances().to_csv(folder / "distance" / "distance.csv", index=False)
    metrics().to_csv(_made(folder / "parent") / "metrics.csv", index=False)
    return folder


def of_interpolate(folder: Path, lines: pd.DataFrame | None = None) -> Path:
    lines = connected.study((0.0, 1.0), (1.0, 3.0), splits=("test",)) if lines is None else lines
    names = ("lines", "barriers", "intervals")
    for name, table in zip(names, connected.tables(lines), strict=True):
        table.to_csv(_made(folder) / f"{name}.csv", index=False)
    return folder


def of_pair(folder: Path) -> Path:
    """One pair, aligned and not."""
    both = [connected.study((0.0,), (1.0,), align=align) for align in ("none", "weights")]
    return of_interpolate(folder, pd.concat(both))


def of_plane(folder: Path) -> Path:
    connected.plane().to_csv(_made(folder) / "plane.csv", index=False)
    connected.networks().to_csv(folder / "plane_networks.csv", index=False)
    return folder


def of_prune(folder: Path) -> Path:
    study((1,)).drop(columns="study").to_csv(_made(folder) / "levels.csv", index=False)
    barriers(seeds=(1,)).drop(columns="study").to_csv(folder / "instability.csv", index=False)
    for level, kept in KEPT.groupby("level"):
        file = _made(folder / f"level_{level}") / "sparsity.csv"
        kept.drop(columns="level").to_csv(file, index=False)
    return folder


def of_extract(folder: Path) -> Path:
    """A clustering in the folder of its students."""
    extractions.losses().to_csv(_made(folder) / "losses.csv", index=False)
    clustering = _made(folder / "clustering_1")
    for name in ("merges", "counts", "matrix", "clusters", "comparison", "excess"):
        getattr(extractions, name)().to_csv(clustering / f"{name}.csv", index=False)
    return clustering


def of_tune(folder: Path) -> Path:
    searched.trials().to_csv(_made(folder) / "trials.csv", index=False)
    searched.importance().to_csv(folder / "importance.csv", index=False)
    return folder


def of_sweeps(folder: Path) -> Path:
    """Tables of sweeps over wide networks, all in one folder."""
    numbers = wide_tables.metrics()
    rates = [0.5, 1.0, 2.0, 0.5, 1.0, 2.0]
    found = pd.DataFrame({"parametrization": "mup", "width": [8] * 3 + [16] * 3, "lr": rates})
    found = found.assign(status="done", train_loss=(found["lr"] - 1).abs() + 1 / found["width"])
    points = pd.DataFrame({"x": [0.0, 0.5, 1.0], "target": [0.0, 1.0, 0.5], "value": 0.2})
    fits = [points.assign(parametrization=name, seed=1) for name in ("mup", "ntk")]
    tables = {
        "coordinate_check": widths.coordinates_table(numbers),
        "lr_transfer": widths.lr_transfer_table(found),
        "function_fits": widths.function_fits_table(pd.concat(fits)),
        "wide_curves": widths.wide_curves_table(numbers[numbers["depth"] == 2]),
        **{f"ranks_{n}": widths.layer_ranks_table(wide_tables.ranks(), n) for n in widths.RANKS},
    }
    for name, table in tables.items():
        table.to_csv(_made(folder) / f"{name}.csv", index=False)
    return folder


def everything(root: Path) -> Path:
    """A folder of each kind."""
    trainings(root, lrs=(0.1,))
    of_spawn(root / "spawn_1" / "seed_1")
    of_interpolate(root / "interpolate_1" / "seed_1")
    of_pair(root / "interpolate_2")
    of_plane(root / "interpolate_3")
    of_prune(root / "prune_1" / "seed_1")
    of_extract(root / "extract_1" / "seed_1")
    of_tune(root / "tune_1" / "seed_1")
    of_sweeps(root / "wide_1")
    return root


def crowd(root: Path) -> Path:
    """More runs than fit side by side: settings with long names, many averages, many studies."""
    models = ("plain", *(f"ema_{decay}" for decay in (0.9, 0.95, 0.99, 0.995, 0.999, 0.9995)))
    for scheduler in ("constant", "multistep"):
        for place, lr in enumerate((0.0123456789012345, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)):
            values = {"dataset": {"val_fraction": 0.1 * (1 + place % 2)}}
            folder = root / f"train_crowded_{scheduler}_{lr:g}" / "seed_1"
            training(folder, 1, scheduler, lr, models=models, shift=0.2, values=values)
    for number in range(2, 8):
        of_prune(root / f"prune_{number}" / "seed_1")
    return root


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
