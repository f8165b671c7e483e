"""Which units of a network stand for the same one, and which of them are interchangeable."""

from collections import defaultdict

FIXED = -1  # the block of units that keep their places: inputs and logits


class Units:
    """A partition of units, which grows and whose parts are joined.

    A unit is one channel of an image or one feature of a vector, made in a block together with
    others. Permuting the units of every block alike leaves a network as it is; so units may change
    places if they are in the same blocks, and joined ones only together.
    """

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._blocks: list[list[int]] = []  # of each representative, one entry a unit and block
        self._num_blocks = 0

    def block(self, size: int) -> list[int]:
        """A new block of `size` units."""
        first = len(self._parents)
        units = list(range(first, first + size))
        self._parents += units
        self._blocks += [[] for _ in units]
        self.tie(units)
        return units

    def tie(self, units: list[int]) -> None:
        """From now on these change places with each other only."""
        for unit in units:
            self._blocks[self.representative(unit)].append(self._num_blocks)
        self._num_blocks += 1

    def fix(self, units: list[int]) -> None:
        """From now on these keep their places."""
        for unit in units:
            self._blocks[self.representative(unit)].append(FIXED)

    def join(self, first: list[int], second: list[int]) -> None:
        """Make each of `first` one with its counterpart in `second`."""
        for one, other in zip(first, second, strict=True):
            kept, joined = sorted((self.representative(one), self.representative(other)))
            if kept != joined:
                self._parents[joined] = kept
                self._blocks[kept] += self._blocks[joined]

    def representative(self, unit: int) -> int:
        """The earliest of the units that `unit` is one with."""
        while (parent := self._parents[unit]) != unit:
            self._parents[unit] = unit = self._parents[parent]  # halves the path
        return unit

    def interchangeable(self) -> list[list[int]]:
        """Representatives in sets of those that may change places, in order; none that is fixed."""
        sets: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for unit, parent in enumerate(self._parents):
            if unit == parent and FIXED not in self._blocks[unit]:
                sets[tuple(sorted(self._blocks[unit]))].append(unit)
        return list(sets.values())
