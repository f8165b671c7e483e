import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.connectivity import interpolation, permutation_spec
from isthmus.connectivity import plane as connectivity_plane
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.options import PlaneOptions
from isthmus.connectivity.permutation_spec import draw_permutations, permute
from isthmus.connectivity.plan import PlaneFiles, file_digests
from isthmus.connectivity.plane import Plane, Surface
from isthmus.models.mlp import MLP
from isthmus.state_dicts import distance
from isthmus.store import files as store_files
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


def build():
    return MLP((2, 4, 4), 3, [8, 5])


ASKED = {"points": 2, "splits": ["train", "test"]}


def saved(folder, *weights):
    """Files of networks."""
    files = [folder / f"{name}.safetensors" for name, _ in zip("abcdefg", weights, strict=False)]
    for file, each in zip(files, weights, strict=True):
        store_files.save_weights(file, each, {})
    return files


@pytest.fixture
def files(tmp_path):
    return saved(tmp_path, *(small.make(build, seed).state_dict() for seed in range(4)))


def measured(folder, three, others=(), **request):
    files = PlaneFiles(folder)
    asked = PlaneOptions(**(ASKED | request))
    connectivity_plane.measure_plane(files, small.evaluator(build()), three, others, asked)
    return files


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_plane_has_its_grid_its_networks_and_a_summary(files, tmp_path):
    found = measured(tmp_path / "run", files[:3], files[3:], points=3, margin=0.5)
    assert len(read(found.grid)) == 9 * 2
    names = [row["name"] for row in read(found.networks)]
    assert names == [*"AABBCC", *[f"{files[3].parent.name}/d"] * 2]
    result = json.loads(found.run.result.read_text())
    assert result == {
        "points": 3,
        "margin": 0.5,
        "align": "none",
        "bn": "reset",
        "splits": ["train", "test"],
        "grids": {"3": ["train", "test"]},
        "precision": "fp32",
        "num_threads": torch.get_num_threads(),
        "num_classes": 3,
        "num_examples": {"train": 40, "test": 20},
        "plane": file_digests(files[:3]),
        "projected": file_digests(files[3:]),
    }
    assert found.is_done(PlaneOptions(points=3, splits=["train", "test"]), files[3:])


def test_a_projected_network_is_off_the_plane_and_one_of_the_three_is_on_it(files, tmp_path):
    found = measured(tmp_path / "run", files[:3], [files[3], files[1]])
    rows = {(row["name"], row["split"]): row for row in read(found.networks)}
    distances = {name.split("/")[-1]: float(row["distance"]) for (name, _), row in rows.items()}
    assert distances["d"] > 0.1
    assert distances["b"] < 1e-5
    assert distances["A"] == distances["B"] == distances["C"] == 0


def test_further_splits_and_projections_are_added_to_what_is_there(files, tmp_path, monkeypatch):
    measured(tmp_path / "run", files[:3], splits=["test"])
    calls, original = [], InterpolationEvaluator.evaluate

    def evaluate(self, some, shares, bn, splits=None):
        calls.append((len(some), list(splits or self.splits)))
        return original(self, some, shares, bn, splits)

    monkeypatch.setattr(InterpolationEvaluator, "evaluate", evaluate)
    found = measured(tmp_path / "run", files[:3], files[3:], splits=["val"])
    assert {tuple(splits) for number, splits in calls if number == 3} == {("val",)}
    assert found.run.read_result()["splits"] == ["val", "test"]
    assert {row["split"] for row in read(found.networks)} == {"val", "test"}
    assert found.is_done(PlaneOptions(points=2, splits=["test"]), files[3:])
    at_once = measured(tmp_path / "once", files[:3], files[3:], splits=["test", "val"])
    assert found.grid.read_bytes() == at_once.grid.read_bytes()
    assert found.networks.read_bytes() == at_once.networks.read_bytes()


def test_a_finer_grid_is_added_to_what_is_there(files, tmp_path):
    measured(tmp_path / "run", files[:3], points=3, splits=["val"])
    found = measured(tmp_path / "run", files[:3], points=5)
    assert found.run.read_result()["grids"] == {"3": ["val"], "5": ["train", "test"]}
    assert {row["split"] for row in read(found.networks)} == {"train", "val", "test"}
    for points, splits in ((3, ["val"]), (5, ["train", "test"])):
        assert found.is_done(PlaneOptions(points=points, splits=splits), [])
    assert not found.is_done(PlaneOptions(points=3, splits=["test"]), [])


def test_a_plane_that_was_interrupted_ends_as_an_uninterrupted_one(files, tmp_path, monkeypatch):
    whole = measured(tmp_path / "whole", files[:3])

    def fails(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(connectivity_plane, "networks_table", fails)
        measured(tmp_path / "parts", files[:3])
    assert not PlaneFiles(tmp_path / "parts").is_done(PlaneOptions(points=2, splits=["train"]), [])
    parts = measured(tmp_path / "parts", files[:3])
    for name in ("grid", "networks"):
        assert getattr(parts, name).read_bytes() == getattr(whole, name).read_bytes()
    assert parts.run.read_result() == whole.run.read_result()


@pytest.mark.parametrize("align", ["weights", "activations"])
def test_all_other_networks_are_aligned_with_the_first(align, tmp_path):
    four = [small.make(build, seed).state_dict() for seed in range(4)]
    evaluator = small.evaluator(build())
    units = permutation_spec.find_groups(evaluator.model, evaluator.calibration)
    twin = permute(four[0], units, draw_permutations(units, seed=1))
    assert not toys.equal(twin, four[0])
    found = measured(
        tmp_path / "run", saved(tmp_path, *four[:3]), saved(tmp_path / "d", twin), align=align
    )
    *_, last = read(found.networks)
    assert float(last["x"]) == float(last["y"]) == 0
    assert float(last["distance"]) == 0


def test_three_networks_on_a_line_are_refused_and_leave_nothing(files, tmp_path):
    a, b = (store_files.load_weights(file)[0] for file in files[:2])
    middle = {name: tensor.lerp(b[name], 0.25) for name, tensor in a.items()}
    (between,) = saved(tmp_path / "middle", middle)
    with pytest.raises(ValueError, match="^plane: the three networks are on one line, which spans"):
        measured(tmp_path / "run", [*files[:2], between])
    assert not (tmp_path / "run").exists()


def test_a_split_that_the_data_has_not_is_refused(files, tmp_path):
    data = toys.data(num_val=0)
    evaluator = small.evaluator(build(), data)
    request = PlaneOptions(points=2, splits=["val"])
    with pytest.raises(ValueError, match="^splits=val: this data set has train, test$"):
        connectivity_plane.measure_plane(
            PlaneFiles(tmp_path / "run"), evaluator, files[:3], [], request
        )


BUILDS = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "batch norm": lambda: toys.Small((2, 4, 4), 3),
}
SPLITS = ["train", "test"]


class Killed(Exception):
    pass


@pytest.fixture(params=BUILDS)
def build_surface(request):
    return BUILDS[request.param]


def three(build_surface, num=3):
    return [small.make(build_surface, seed).state_dict() for seed in range(num)]


def names(build_surface):
    return [name for name, _ in build_surface().named_parameters()]


def made(build_surface, splits=SPLITS, ticks=None, points=3):
    corners = three(build_surface)
    plane = Plane(corners, names(build_surface))
    x, y = plane.grid(points, 0.2) if ticks is None else ticks(plane)
    evaluator = InterpolationEvaluator(small.evaluator(build_surface()), splits)
    return Surface(evaluator, plane, corners, x, y)


def rows(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def counted(monkeypatch, until=None):
    """Shapes of what `PointEvaluator.evaluate` is asked for; it raises after some calls."""
    calls, original = [], InterpolationEvaluator.evaluate

    def evaluate(self, some, shares, bn, splits=None):
        if until is not None and len(calls) == until:
            raise Killed
        calls.append((len(shares), list(splits or self.splits)))
        return original(self, some, shares, bn, splits)

    monkeypatch.setattr(InterpolationEvaluator, "evaluate", evaluate)
    return calls


@pytest.mark.parametrize("bn", ["reset", "keep"])
def test_a_surface_equals_the_naive_loop_over_its_points(build_surface, bn, tmp_path):
    one = made(build_surface)
    assert one.measure(tmp_path / "plane.csv", bn, SPLITS) == 9
    a, b, c = ({n: t.double() for n, t in network.items()} for network in three(build_surface))
    keys = names(build_surface)

    def vector(network):
        return np.concatenate([network[name].numpy().ravel() for name in keys])

    first = (vector(b) - vector(a)) / np.linalg.norm(vector(b) - vector(a))
    other = vector(c) - vector(a)
    second = other - (other @ first) * first
    second /= np.linalg.norm(second)
    evaluator = small.evaluator(build_surface())
    found = rows(tmp_path / "plane.csv")
    assert len(found) == 9 * 2
    for row in found:
        x, y = float(row["x"]), float(row["y"])
        place = vector(a) + x * first + y * second
        coordinates = [vector(each) - vector(a) for each in (b, c)]
        shares, *_ = np.linalg.lstsq(np.stack(coordinates, 1), place - vector(a), rcond=None)
        nearest = three(build_surface)[int(np.argmax([1 - shares.sum(), *shares]))]
        weights, start = dict(nearest), 0
        for name in keys:
            size = nearest[name].numel()
            part = torch.from_numpy(place[start : start + size])
            weights[name] = part.view_as(nearest[name]).float()
            start += size
        if bn == "reset":
            model = build_surface()
            model.load_state_dict(weights)
            small.reset(model, toys.data())
            weights = model.state_dict()
        table = evaluator.table({"": weights}, [row["split"]])[""][row["split"]]
        assert float(row["loss"]) == pytest.approx(table["loss"], abs=1e-5)
        assert float(row["accuracy"]) == pytest.approx(table["accuracy"], abs=0.06)


@pytest.mark.parametrize("bn", ["reset", "keep"])
def test_a_grid_through_the_three_networks_has_their_values_there(build_surface, bn, tmp_path):
    def ticks(plane):
        (_, _), (bx, _), (cx, cy) = plane.coordinates.tolist()
        xs = sorted([0.0, bx, cx])
        return [torch.tensor(some, dtype=torch.float64) for some in (xs, [0.0, cy])]

    one = made(build_surface, ticks=ticks)
    one.measure(tmp_path / "plane.csv", bn, SPLITS)
    known = {
        (place, split): numbers
        for _, place, split, numbers in connectivity_plane.read_surface(tmp_path / "plane.csv")
    }
    treated = [
        small.as_points(build_surface, network, bn, toys.data()) for network in three(build_surface)
    ]
    table = small.evaluator(build_surface()).table(dict(zip("abc", treated, strict=True)), SPLITS)
    for name, place in zip("abc", one.plane.coordinates.tolist(), strict=True):
        for split, numbers in table[name].items():
            found = dict(zip(("loss", "accuracy"), known[tuple(place), split], strict=True))
            assert found == (numbers if bn == "keep" else pytest.approx(numbers))


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_the_three_networks_are_listed_as_points_and_as_trained(build_surface, bn):
    one = made(build_surface)
    named = [(name, lambda n=n: n) for name, n in zip("abc", three(build_surface), strict=True)]
    found = connectivity_plane.networks_table(one.plane, named, one.points, SPLITS, bn)
    resets = bn == "reset" and build_surface is BUILDS["batch norm"]
    assert len(found) == (12 if resets else 6)
    for name, x, y, length, treatment, split, loss, accuracy in found:
        place = "abc".index(name)
        assert [x, y] == one.plane.coordinates[place].tolist()
        assert length == 0
        network = small.as_points(
            build_surface, three(build_surface)[place], treatment, toys.data()
        )
        numbers = small.evaluator(build_surface()).table({"": network}, [split])[""][split]
        found = {"loss": loss, "accuracy": accuracy}
        assert found == (pytest.approx(numbers) if treatment == "reset" else numbers)
        assert treatment in ((bn, "as_trained") if resets else (bn,))


def test_a_projected_network_lies_where_least_squares_says(build_surface):
    one = made(build_surface)
    a, b, c, d = (
        np.concatenate([n[name].double().numpy().ravel() for name in names(build_surface)])
        for n in three(build_surface, 4)
    )
    columns = np.stack([b - a, c - a], axis=1)
    shares, *_ = np.linalg.lstsq(columns, d - a, rcond=None)
    nearest = a + columns @ shares
    named = [(str(i), lambda n=n: n) for i, n in enumerate(three(build_surface, 4))]
    rows = connectivity_plane.networks_table(one.plane, named, one.points, ["test"], "keep")
    _, x, y, distance, _, split, loss, accuracy = rows[-1]
    assert distance == pytest.approx(np.linalg.norm(d - nearest), rel=1e-6)
    assert np.hypot(x, y) == pytest.approx(np.linalg.norm(nearest - a), rel=1e-6)
    own = small.evaluator(build_surface()).table({"": three(build_surface, 4)[3]})[""]["test"]
    assert {"loss": loss, "accuracy": accuracy} == own  # of the network, not of where it is shown


@pytest.mark.parametrize("until", [0, 1, 2])
def test_an_interrupted_surface_goes_on_at_the_next_point(
    build_surface, until, tmp_path, monkeypatch
):
    whole, parted = tmp_path / "whole.csv", tmp_path / "parted.csv"
    made(build_surface).measure(whole, "reset", SPLITS)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        counted(patch, until)
        made(build_surface).measure(parted, "reset", SPLITS)
    one = made(build_surface)
    size = 3 if one.points.method == "first layer" else 1  # points in one write
    calls = counted(monkeypatch)
    assert one.measure(parted, "reset", SPLITS) == 9 - until * size
    assert sum(number for number, _ in calls) == 9 - until * size
    assert parted.read_bytes() == whole.read_bytes()


def test_a_surface_that_is_done_evaluates_nothing(build_surface, tmp_path, monkeypatch):
    table = tmp_path / "plane.csv"
    made(build_surface).measure(table, "reset", SPLITS)
    calls, before = counted(monkeypatch), table.read_bytes()
    assert made(build_surface).measure(table, "reset", SPLITS) == 0
    assert calls == []
    assert table.read_bytes() == before


def test_a_further_split_alone_is_evaluated(build_surface, tmp_path, monkeypatch):
    table, both = tmp_path / "plane.csv", tmp_path / "both.csv"
    made(build_surface).measure(both, "reset", SPLITS)
    made(build_surface).measure(table, "reset", ["test"])
    calls = counted(monkeypatch)
    assert made(build_surface).measure(table, "reset", SPLITS) == 9
    assert {tuple(splits) for _, splits in calls} == {("train",)}
    assert sum(number for number, _ in calls) == 9
    assert table.read_bytes() == both.read_bytes()


def test_a_table_of_a_machine_that_rounds_otherwise_is_gone_on_with(tmp_path, monkeypatch):
    build, table = BUILDS["mlp"], tmp_path / "plane.csv"
    one = made(build)
    one.measure(table, "reset", ["test"])
    before = table.read_bytes()
    calls = counted(monkeypatch)
    other = Surface(one.points, one.plane, one.networks, one.x * (1 + 1e-12), one.y - 1e-12)
    assert other.measure(table, "reset", ["test"]) == 0
    other.measure(table, "reset", SPLITS)
    assert len(rows(table)) == 9 * 2
    assert sum(number for number, _ in calls) == 9
    assert before != table.read_bytes()


def test_a_finer_grid_takes_over_the_points_that_both_have(build_surface, tmp_path, monkeypatch):
    table, at_once = tmp_path / "plane.csv", tmp_path / "once.csv"
    made(build_surface, points=9).measure(at_once, "reset", SPLITS)
    made(build_surface, points=5).measure(table, "reset", SPLITS)
    coarse = rows(table)
    calls = counted(monkeypatch)
    assert made(build_surface, points=9).measure(table, "reset", SPLITS) == 81 - 25
    assert sum(number for number, _ in calls) == 81 - 25
    found = rows(table)
    assert [row for row in found if row["points"] == "5"] == coarse
    fine = [row for row in found if row["points"] == "9"]
    for row, other in zip(fine, rows(at_once), strict=True):
        for name in ("loss", "accuracy"):  # rounding differs with the number of points at once
            assert float(row[name]) == pytest.approx(float(other[name]), abs=1e-6)
    assert made(build_surface, points=3).measure(table, "reset", SPLITS) == 0
    assert {row["points"] for row in rows(table)} == {"3", "5", "9"}


def older(table):
    """A table as it was before it said of which grid a row is."""
    found = rows(table)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ["x", "y", "split", "loss", "accuracy"], extrasaction="ignore"
        )
        writer.writeheader()
        writer.writerows(found)


@pytest.mark.parametrize("points", [3, 5])
def test_a_table_of_an_older_version_is_gone_on_with(tmp_path, monkeypatch, points):
    build, table = BUILDS["mlp"], tmp_path / "plane.csv"
    made(build, points=3).measure(table, "reset", SPLITS)
    before = rows(table)
    older(table)
    made(build, points=points).measure(table, "reset", SPLITS, older=3)
    found = rows(table)
    assert [row for row in found if row["points"] == "3"] == before
    assert len(found) == 2 * (9 if points == 3 else 9 + 25)


def test_networks_in_a_table_of_an_older_version_are_evaluated_anew(tmp_path):
    def corners(plane):
        (_, _), (bx, _), (_, cy) = plane.coordinates.tolist()
        return [torch.tensor([0, end / 2, end], dtype=torch.float64) for end in (bx, cy)]

    build, table, whole = BUILDS["batch norm"], tmp_path / "plane.csv", tmp_path / "whole.csv"
    made(build, ticks=corners).measure(whole, "reset", ["test"])
    table.write_bytes(whole.read_bytes())
    older(table)
    assert made(build, ticks=corners).measure(table, "reset", ["test"], older=3) == 2  # A and B
    assert table.read_bytes() == whole.read_bytes()


def test_rows_go_from_below_to_above_and_from_left_to_right(tmp_path):
    table = tmp_path / "plane.csv"
    made(BUILDS["mlp"]).measure(table, "reset", ["test", "train"])
    order = [(float(row["y"]), float(row["x"]), SPLITS.index(row["split"])) for row in rows(table)]
    assert order == sorted(order)


def test_nothing_is_read_from_a_table_that_is_not_there(tmp_path):
    assert connectivity_plane.read_surface(tmp_path / "plane.csv") == []


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/x.safetensors", "a/y.safetensors"], ["a/x", "a/y"]),
        (["a/x.safetensors", "b/x.safetensors"], ["a/x", "b/x"]),
        (
            ["a/w/x.safetensors", "b/w/x.safetensors", "b/w/y.safetensors"],
            ["a/w/x", "b/w/x", "b/w/y"],
        ),
        (["a/x.safetensors", "a/x.safetensors", "b/x.safetensors"], ["a/x", "a/x", "b/x"]),
        ([], []),
        (["a/x.safetensors", "a/x.safetensors"], ["a/x", "a/x"]),
        (["a/s_1.safetensors", "a/s_1.ema_0.9.safetensors"], ["a/s_1", "a/s_1.ema_0.9"]),
        (["a/../a/x.safetensors", "b/x.safetensors"], ["a/x", "b/x"]),
    ],
)
def test_files_have_names_as_short_as_they_can_be_told_apart_by(files, names):
    assert connectivity_plane.short_names([Path(file) for file in files]) == names
