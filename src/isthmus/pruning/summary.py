"""The outcome of a study of pruning in a few lines. Imports no torch."""

from isthmus.pruning import rows
from isthmus.pruning.tree import Tree

SPLITS = ("train", "val", "test")


def of(tree: Tree, branch: str | None = None) -> str:
    """Accuracy of every level, and of the branch of each, as a table of text.

    On the test split, or the last one that was evaluated; of the network as trained, and of the
    one of lowest validation loss.

    Args:
        tree: with its table.
        branch: name of its folders, or None.
    """
    found = [row for row in rows.read(tree.table) if row["folder"] in ("", branch)]
    split = max((row["split"] for row in found), key=SPLITS.index)
    found = [row for row in found if row["split"] == split]
    head = f"level  weights left  {split} accuracy  at lowest val loss  (iteration)  branch"
    widths = [len(word) for word in head.split("  ")]
    lines = [head]
    for row in found:
        if row["model"] != "plain":
            continue
        same = [r for r in found if (r["level"], r["folder"]) == (row["level"], row["folder"])]
        best = [r for r in same if r["model"] == "best"]
        cells = [
            row["level"],
            f"{float(row['density']):.4f}",
            f"{float(row['accuracy']):.4f}",
            f"{float(best[0]['accuracy']):.4f}" if best else "",
            row["best_step"],
        ]
        padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False)]
        lines.append("  ".join([*padded, row["branch"]]).rstrip())
    return "\n".join(lines)
