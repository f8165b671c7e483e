"""Tables of other studies, to be drawn beside one. Imports no torch."""

import glob
from collections.abc import Sequence
from pathlib import Path

from isthmus.pruning.tree import Tree, instability_beside


def find(texts: Sequence[str]) -> list[Path]:
    """Tables of the studies in folders.

    Args:
        texts: folders or globs: of a study with all of its seeds, or of one seed.

    Raises:
        FileNotFoundError: one of them has no study.
    """
    found: list[Path] = []
    for text in texts:
        folders = sorted(glob.glob(text)) if glob.has_magic(text) else [text]
        tables = [table for folder in folders for table in _tables(Path(folder))]
        if not tables:
            raise FileNotFoundError(
                f"compare={text}: no levels.csv there, nor in seed_* of it; "
                f"name folders of prune.py, such as outputs/prune_*"
            )
        found += tables
    return found


def beside(tree: Tree, others: Sequence[Path]) -> list[Path]:
    """Tables of a study of all seeds that are there, then those of others, each once."""
    own = [tree.table, *_tables(tree.folder.parent)]
    return list({path.resolve(): path for path in [*own, *others] if path.exists()}.values())


def instabilities(tables: Sequence[Path]) -> list[Path]:
    """Tables of barriers between children, of those studies of which there are any."""
    return [path for path in map(instability_beside, tables) if path.exists()]


def _tables(folder: Path) -> list[Path]:
    return [*sorted(folder.glob("seed_*/levels.csv")), *folder.glob("levels.csv")]
