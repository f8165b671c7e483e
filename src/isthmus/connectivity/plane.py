"""The plane through three networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.connectivity import combinations
from isthmus.state_dicts import StateDict


@dataclass(frozen=True)
class Projection:
    """Where a network lies as seen from a plane, in L2 distances of weights."""

    x: float
    y: float
    distance: float  # from the plane, never negative


class Plane:
    """Coordinates of the plane through networks A, B and C.

    The origin is A; the first axis points to B; the second, by Gram-Schmidt in float64, at a right
    angle to it to the side of C. Memory: three vectors of all parameters in float64, on the CPU.

    Args:
        networks: A, B and C, of one architecture.
        names: of the parameters, without running statistics.

    Raises:
        ValueError: the three lie on one line, to the rounding of their weights, or differ in
            architecture.
    """

    def __init__(self, networks: Sequence[StateDict], names: Sequence[str]) -> None:
        if len(networks) != 3:
            raise ValueError(f"plane: needs three networks, got {len(networks)}")
        combinations.check_alike(networks)
        self.names = list(names)
        self._origin, b, c = (_vector(network, self.names) for network in networks)
        rounding = torch.finfo(networks[0][self.names[0]].dtype).eps
        negligible = 8 * rounding * max(v.norm().item() for v in (self._origin, b, c))
        b, c = b - self._origin, c - self._origin
        bx, cx, cy, length = b.norm().item(), 0.0, 0.0, c.norm().item()
        if bx > negligible:
            self._first = b / bx
            for _ in range(2):  # the second time takes away what rounding left of the first
                along = (c @ self._first).item()
                c -= along * self._first
                cx += along
            cy = c.norm().item()
        if not (bx > negligible and cy > negligible):
            raise ValueError(
                f"plane: the three networks lie on one line, which spans no plane (B is {bx:.3g} "
                f"from A, C is {length:.3g} from A and {cy:.3g} from the line through A and B)"
            )
        self._second = c / cy
        # (networks, 2), x and y of A, B and C
        self.coordinates = torch.tensor([[0, 0], [bx, 0], [cx, cy]], dtype=torch.float64)

    def shares(self, coordinates: Tensor) -> Tensor:
        """How much of A, B and C is in points of the plane, adding up to 1.

        Args:
            coordinates: (points, 2) float64, x and y.

        Returns:
            (points, 3) float64; exactly 1 and twice 0 at `self.coordinates`.
        """
        (_, _), (bx, _), (cx, cy) = self.coordinates.tolist()
        of_c = coordinates[:, 1] / cy
        of_b = (coordinates[:, 0] - of_c * cx) / bx
        return torch.stack([1 - of_b - of_c, of_b, of_c], dim=1)

    def grid(self, points: int, margin: float = 0.2) -> tuple[Tensor, Tensor]:
        """Evenly spaced coordinates of a grid that covers A, B and C, whatever their signs.

        Args:
            points: each way, at least 2.
            margin: how far the grid reaches beyond the three on all four sides, as a fraction of
                their extent that way; not negative.

        Returns:
            x and y, (points,) float64 each.

        Raises:
            ValueError: `points` or `margin` is too small.
        """
        if points < 2:
            raise ValueError(f"points: must be at least 2, got {points}")
        if not margin >= 0:
            raise ValueError(f"margin: must not be negative, got {margin}")
        low, high = self.coordinates.amin(dim=0), self.coordinates.amax(dim=0)
        beyond = margin * (high - low)
        ends = zip((low - beyond).tolist(), (high + beyond).tolist(), strict=True)
        x, y = (torch.linspace(*each, points, dtype=torch.float64) for each in ends)
        return x, y

    def project(self, network: StateDict) -> Projection:
        """The point of the plane nearest to a network, and how far that is.

        Raises:
            ValueError: the network's architecture is another.
        """
        vector = _vector(network, self.names)
        if vector.shape != self._origin.shape:
            raise ValueError(
                f"network: must have the {len(self._origin)} parameters of those that span the "
                f"plane, got {len(vector)}"
            )
        vector -= self._origin
        x, y = (vector @ self._first).item(), (vector @ self._second).item()
        rest = vector.sub_(self._first, alpha=x).sub_(self._second, alpha=y)
        return Projection(x, y, rest.norm().item())


def _vector(network: StateDict, names: Sequence[str]) -> Tensor:
    """(parameters,) float64 on the CPU, in memory of its own."""
    return torch.cat([network[name].detach().flatten().cpu().double() for name in names])
