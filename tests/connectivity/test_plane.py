import math

import pytest
import torch
from torch import nn

from isthmus.connectivity import interpolation
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.plane import Plane
from isthmus.state_dicts import distance
from isthmus.training.evaluator import Evaluator
from tests import toys
from tests.connectivity import small


def at(*values, counter=0):
    """A network of three parameters, two tensors, and a counter that is none."""
    numbers = torch.tensor(values)
    return {"a": numbers[:1], "b": numbers[1:].view(1, -1), "counter": torch.tensor(counter)}


NAMES = ["a", "b"]
FLAT = [at(1.0, 1.0, 1.0), at(1.0, 5.0, 1.0), at(4.0, 3.0, 1.0)]  # in the plane of the last = 1


def xy(*values):
    return torch.tensor(values, dtype=torch.float64)


def networks(num=4):
    generator = torch.Generator().manual_seed(0)
    return [
        {"a": torch.randn(50, generator=generator), "b": torch.randn(7, 9, generator=generator)}
        for _ in range(num)
    ]


def test_coordinates_of_a_plane_drawn_by_hand():
    torch.testing.assert_close(Plane(FLAT, NAMES).coordinates, xy([0, 0], [4, 0], [2, 3]))


def test_distances_in_coordinates_are_distances_of_weights():
    three = networks(3)
    coordinates = Plane(three, NAMES).coordinates
    for i in range(3):
        for j in range(3):
            expected = distance(three[i], three[j], NAMES).item()
            found = (coordinates[i] - coordinates[j]).norm().item()
            assert found == pytest.approx(expected, rel=1e-6)


def test_third_network_is_never_below_the_first_axis_and_may_be_left_of_the_origin():
    plane = Plane([at(0.0, 0.0, 0.0), at(1.0, 0.0, 0.0), at(-2.0, -3.0, 0.0)], NAMES)
    torch.testing.assert_close(plane.coordinates, xy([0, 0], [1, 0], [-2, 3]))


def test_shares_at_the_three_networks_are_exactly_1():
    for seed in range(20):
        torch.manual_seed(seed)
        three = [{"a": torch.randn(31)} for _ in range(3)]
        plane = Plane(three, ["a"])
        assert plane.shares(plane.coordinates).equal(torch.eye(3, dtype=torch.float64))
        read_again = xy(*([float(repr(v)) for v in row] for row in plane.coordinates.tolist()))
        assert plane.shares(read_again).equal(torch.eye(3, dtype=torch.float64))


def test_a_point_of_the_plane_lies_where_its_coordinates_say():
    three = networks(3)
    plane = Plane(three, NAMES)
    points = xy([3.0, -1.0], [-2.0, 8.0], [0.1, 0.2])
    for point, row in zip(points, plane.shares(points), strict=True):
        assert row.sum().item() == pytest.approx(1)
        seen = plane.project(interpolation.combine(three, row))
        assert (seen.x, seen.y) == pytest.approx(tuple(point.tolist()), abs=1e-5)
        assert seen.distance < 1e-5


def test_projection_is_the_nearest_point_by_least_squares():
    a, b, c, other = networks()
    plane = Plane([a, b, c], NAMES)

    def vector(network):
        return torch.cat([network[name].flatten().double() for name in NAMES])

    columns = torch.stack([vector(b) - vector(a), vector(c) - vector(a)], dim=1)
    wanted = (vector(other) - vector(a)).unsqueeze(1)
    steps = torch.linalg.lstsq(columns, wanted).solution
    seen = plane.project(other)
    assert seen.distance == pytest.approx((columns @ steps - wanted).norm().item())
    found = plane.shares(xy([seen.x, seen.y]))[0]
    torch.testing.assert_close(found[1:], steps.flatten())


def test_projection_of_a_network_above_the_plane_is_the_foot_of_the_perpendicular():
    seen = Plane(FLAT, NAMES).project(at(2.0, 2.0, 8.0))
    assert (seen.x, seen.y, seen.distance) == pytest.approx((1, 1, 7))


@pytest.mark.parametrize("third", [(2.0, 3.0), (-2.0, -3.0), (5.0, -1.0), (0.5, 0.1)])
@pytest.mark.parametrize("margin", [0, 0.2, 1.5])
def test_grid_reaches_beyond_the_three_networks_by_the_margin_on_all_sides(third, margin):
    plane = Plane([at(0.0, 0.0, 1.0), at(1.0, 0.0, 1.0), at(*third, 1.0)], NAMES)
    for axis, grid in enumerate(plane.grid(5, margin)):
        values = plane.coordinates[:, axis]
        extent = (values.max() - values.min()).item()
        assert grid[0].item() == pytest.approx(values.min().item() - margin * extent)
        assert grid[-1].item() == pytest.approx(values.max().item() + margin * extent)
        steps = grid.diff()
        torch.testing.assert_close(steps, steps[:1].expand(4))


def test_a_grid_of_one_point_or_of_negative_margin_is_refused():
    plane = Plane(FLAT, NAMES)
    with pytest.raises(ValueError, match="^points: must be at least 2, got 1$"):
        plane.grid(1)
    for margin in (-0.1, math.nan):
        with pytest.raises(ValueError, match="^margin: must not be negative, got"):
            plane.grid(3, margin)


@pytest.mark.parametrize(
    "which", ["middle", "beyond", "start", "end", "both equal", "all equal", "nearly"]
)
def test_three_networks_on_one_line_are_refused(which):
    a, b = networks(2)
    share = {"middle": 0.3, "beyond": -2.0, "start": 0.0, "end": 1.0, "nearly": 0.5}.get(which)
    if which == "both equal":
        three = [a, a, b]
    elif which == "all equal":
        three = [a, a, a]
    else:
        shares = torch.tensor([1 - share, share], dtype=torch.float64)
        three = [a, b, interpolation.combine([a, b], shares)]
    with pytest.raises(ValueError, match="^plane: the three networks are on one line, which spans"):
        Plane(three, NAMES)


def test_networks_close_to_each_other_span_a_plane():
    a, b, c = networks(3)
    near = [a] + [{name: a[name] + 1e-4 * n[name] for name in a} for n in (b, c)]
    coordinates = Plane(near, NAMES).coordinates
    assert coordinates[1, 0] < 2e-3 and coordinates[2, 1] > 5e-4


def test_other_numbers_of_networks_or_architectures_are_refused():
    with pytest.raises(ValueError, match="^plane: needs three networks, got 2$"):
        Plane(FLAT[:2], NAMES)
    with pytest.raises(ValueError, match="^networks 1 and 3 are of different architectures: b is"):
        Plane([*FLAT[:2], at(1.0, 2.0)], NAMES)
    with pytest.raises(ValueError, match="^network: must have the 3 parameters .*, got 2$"):
        Plane(FLAT, NAMES).project(at(1.0, 2.0))


def test_counters_and_statistics_do_not_count():
    moved = [{**network, "counter": torch.tensor(9 * i)} for i, network in enumerate(FLAT)]
    assert Plane(moved, NAMES).coordinates.equal(Plane(FLAT, NAMES).coordinates)


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_loss_and_accuracy_at_the_three_networks_are_those_treated_as_all_points(bn):
    def build():
        return toys.Small((2, 4, 4), 3)

    models: list[nn.Module] = []
    for seed in range(3):
        torch.manual_seed(seed)
        models.append(toys.Small((2, 4, 4), 3).train())
        models[-1](torch.randn(16, 2, 4, 4))  # moves batch-norm statistics
    three = [model.state_dict() for model in models]
    evaluator = Evaluator(models[0], toys.data(), torch.device("cpu"), toys.RUNTIME)
    plane = Plane(three, [name for name, _ in models[0].named_parameters()])
    points = InterpolationEvaluator(evaluator, ["train", "test"])
    curves = points.evaluate(three, plane.shares(plane.coordinates), bn)
    for number, network in enumerate(three):
        treated = small.as_points(build, network, bn, toys.data())
        table = evaluator.table({"plain": treated}, ["train", "test"])["plain"]
        for split, curve in curves.items():
            numbers = {"loss": curve.loss[number].item(), "accuracy": curve.accuracy[number].item()}
            assert numbers == (table[split] if bn != "reset" else pytest.approx(table[split]))
