"""Children of a level: trained as the level was, with other seeds from the rewind step on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.pruning.masks import Mask
from isthmus.pruning.study import Study
from isthmus.pruning.tree import final_weights, mask_of
from isthmus.runs import write_json
from isthmus.training.session import Session


@dataclass(frozen=True)
class Children:
    """Trains the children of levels that are not there (Frankle et al., 2020).

    A child begins exactly as its level does, the dense level where it stood at the rewind step. One
    whose streams of chance all have the study's seeds is its level once more.

    Args:
        study: whose levels are trained.
        folder: name of the folder that they have in that of each level.
        words: what is made, and its options, for a person.
        seeds: one a child.
        vary: streams of chance that a child's seed feeds, in place of the study's.
    """

    study: Study
    folder: str
    words: str
    seeds: Sequence[int]
    vary: Sequence[str]

    def train(self, level: int) -> dict[int, Path]:
        """Train the children of a level, which is trained; files of their weights by seed."""
        return {seed: self._train(level, seed) for seed in self.seeds}

    def finish(self, level: int) -> None:
        """Write the summary of the branch, once all that was asked of it is measured."""
        run = self.study.tree.branch(level, self.folder)
        if not run.result.exists():
            write_json(run.result, self._origin(level, self.study.mask(level)))

    def _train(self, level: int, seed: int) -> Path:
        study, run = self.study, self.study.tree.child(level, self.folder, seed)
        with run.locked():
            mask = study.mask(level)
            origin = self._origin(level, mask) | {"child_seed": seed}
            if study.kept_at(level) is not None and not mask_of(run).exists():
                study.save_mask(run, mask, origin)
            origin |= study.named(run)
            begin = partial(self._begin, level, mask, origin)
            study.fit(run, begin, f"level {level}, child {seed}")
            return final_weights(run)

    def _origin(self, level: int, mask: Mask) -> dict[str, Any]:
        said = {"branch": self.words, "vary": sorted(self.vary)}
        return self.study.origin(level, mask) | said

    def _begin(self, level: int, mask: Mask, origin: dict[str, Any]) -> Session:
        starts = self.study.starts
        seeds = replace(starts.seeds, **dict.fromkeys(self.vary, origin["child_seed"]))
        if level == 0:
            return starts.seeded(seeds).rewound(self.study.kept_at(0), origin)
        return self.study.begin(level, mask, origin, seeds)
