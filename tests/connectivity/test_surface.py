import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus.connectivity import plane as connectivity_plane
from isthmus.connectivity.interpolation import InterpolationEvaluator
from isthmus.connectivity.plane import Plane, Surface
from isthmus.models.mlp import MLP
from tests import toys
from tests.connectivity import small

BUILDS = {
    "mlp": lambda: MLP((2, 4, 4), 3, [8, 5]),
    "batch norm": lambda: toys.Small((2, 4, 4), 3),
}
SPLITS = ["train", "test"]


class Killed(Exception):
    pass


@pytest.fixture(params=BUILDS)
def build(request):
    return BUILDS[request.param]


def three(build, num=3):
    return [small.make(build, seed).state_dict() for seed in range(num)]


def names(build):
    return [name for name, _ in build().named_parameters()]


def made(build, splits=SPLITS, ticks=None, points=3):
    corners = three(build)
    plane = Plane(corners, names(build))
    x, y = plane.grid(points, 0.2) if ticks is None else ticks(plane)
    evaluator = InterpolationEvaluator(small.evaluator(build()), splits)
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
def test_a_surface_equals_the_naive_loop_over_its_points(build, bn, tmp_path):
    one = made(build)
    assert one.measure(tmp_path / "plane.csv", bn, SPLITS) == 9
    a, b, c = ({n: t.double() for n, t in network.items()} for network in three(build))
    keys = names(build)

    def vector(network):
        return np.concatenate([network[name].numpy().ravel() for name in keys])

    first = (vector(b) - vector(a)) / np.linalg.norm(vector(b) - vector(a))
    other = vector(c) - vector(a)
    second = other - (other @ first) * first
    second /= np.linalg.norm(second)
    evaluator = small.evaluator(build())
    found = rows(tmp_path / "plane.csv")
    assert len(found) == 9 * 2
    for row in found:
        x, y = float(row["x"]), float(row["y"])
        place = vector(a) + x * first + y * second
        coordinates = [vector(each) - vector(a) for each in (b, c)]
        shares, *_ = np.linalg.lstsq(np.stack(coordinates, 1), place - vector(a), rcond=None)
        nearest = three(build)[int(np.argmax([1 - shares.sum(), *shares]))]
        weights, start = dict(nearest), 0
        for name in keys:
            size = nearest[name].numel()
            part = torch.from_numpy(place[start : start + size])
            weights[name] = part.view_as(nearest[name]).float()
            start += size
        if bn == "reset":
            model = build()
            model.load_state_dict(weights)
            small.reset(model, toys.data())
            weights = model.state_dict()
        table = evaluator.table({"": weights}, [row["split"]])[""][row["split"]]
        assert float(row["loss"]) == pytest.approx(table["loss"], abs=1e-5)
        assert float(row["accuracy"]) == pytest.approx(table["accuracy"], abs=0.06)


@pytest.mark.parametrize("bn", ["reset", "keep"])
def test_a_grid_through_the_three_networks_has_their_values_there(build, bn, tmp_path):
    def ticks(plane):
        (_, _), (bx, _), (cx, cy) = plane.coordinates.tolist()
        xs = sorted([0.0, bx, cx])
        return [torch.tensor(some, dtype=torch.float64) for some in (xs, [0.0, cy])]

    one = made(build, ticks=ticks)
    one.measure(tmp_path / "plane.csv", bn, SPLITS)
    known = {
        (place, split): numbers
        for _, place, split, numbers in connectivity_plane.read_surface(tmp_path / "plane.csv")
    }
    treated = [small.as_points(build, network, bn, toys.data()) for network in three(build)]
    table = small.evaluator(build()).table(dict(zip("abc", treated, strict=True)), SPLITS)
    for name, place in zip("abc", one.plane.coordinates.tolist(), strict=True):
        for split, numbers in table[name].items():
            found = dict(zip(("loss", "accuracy"), known[tuple(place), split], strict=True))
            assert found == (numbers if bn == "keep" else pytest.approx(numbers))


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_the_three_networks_are_listed_as_points_and_as_trained(build, bn):
    one = made(build)
    named = [(name, lambda n=n: n) for name, n in zip("abc", three(build), strict=True)]
    found = connectivity_plane.networks_table(one.plane, named, one.points, SPLITS, bn)
    resets = bn == "reset" and build is BUILDS["batch norm"]
    assert len(found) == (12 if resets else 6)
    for name, x, y, distance, treatment, split, loss, accuracy in found:
        place = "abc".index(name)
        assert [x, y] == one.plane.coordinates[place].tolist()
        assert distance == 0
        network = small.as_points(build, three(build)[place], treatment, toys.data())
        numbers = small.evaluator(build()).table({"": network}, [split])[""][split]
        found = {"loss": loss, "accuracy": accuracy}
        assert found == (pytest.approx(numbers) if treatment == "reset" else numbers)
        assert treatment in ((bn, "as_trained") if resets else (bn,))


def test_a_projected_network_lies_where_least_squares_says(build):
    one = made(build)
    a, b, c, d = (
        np.concatenate([n[name].double().numpy().ravel() for name in names(build)])
        for n in three(build, 4)
    )
    columns = np.stack([b - a, c - a], axis=1)
    shares, *_ = np.linalg.lstsq(columns, d - a, rcond=None)
    nearest = a + columns @ shares
    named = [(str(i), lambda n=n: n) for i, n in enumerate(three(build, 4))]
    rows = connectivity_plane.networks_table(one.plane, named, one.points, ["test"], "keep")
    _, x, y, distance, _, split, loss, accuracy = rows[-1]
    assert distance == pytest.approx(np.linalg.norm(d - nearest), rel=1e-6)
    assert np.hypot(x, y) == pytest.approx(np.linalg.norm(nearest - a), rel=1e-6)
    own = small.evaluator(build()).table({"": three(build, 4)[3]})[""]["test"]
    assert {"loss": loss, "accuracy": accuracy} == own  # of the network, not of where it is shown


@pytest.mark.parametrize("until", [0, 1, 2])
def test_an_interrupted_surface_goes_on_at_the_next_point(build, until, tmp_path, monkeypatch):
    whole, parted = tmp_path / "whole.csv", tmp_path / "parted.csv"
    made(build).measure(whole, "reset", SPLITS)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        counted(patch, until)
        made(build).measure(parted, "reset", SPLITS)
    one = made(build)
    size = 3 if one.points.method == "first layer" else 1  # points in one write
    calls = counted(monkeypatch)
    assert one.measure(parted, "reset", SPLITS) == 9 - until * size
    assert sum(number for number, _ in calls) == 9 - until * size
    assert parted.read_bytes() == whole.read_bytes()


def test_a_surface_that_is_done_evaluates_nothing(build, tmp_path, monkeypatch):
    table = tmp_path / "plane.csv"
    made(build).measure(table, "reset", SPLITS)
    calls, before = counted(monkeypatch), table.read_bytes()
    assert made(build).measure(table, "reset", SPLITS) == 0
    assert calls == []
    assert table.read_bytes() == before


def test_a_further_split_alone_is_evaluated(build, tmp_path, monkeypatch):
    table, both = tmp_path / "plane.csv", tmp_path / "both.csv"
    made(build).measure(both, "reset", SPLITS)
    made(build).measure(table, "reset", ["test"])
    calls = counted(monkeypatch)
    assert made(build).measure(table, "reset", SPLITS) == 9
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


def test_a_finer_grid_takes_over_the_points_that_both_have(build, tmp_path, monkeypatch):
    table, at_once = tmp_path / "plane.csv", tmp_path / "once.csv"
    made(build, points=9).measure(at_once, "reset", SPLITS)
    made(build, points=5).measure(table, "reset", SPLITS)
    coarse = rows(table)
    calls = counted(monkeypatch)
    assert made(build, points=9).measure(table, "reset", SPLITS) == 81 - 25
    assert sum(number for number, _ in calls) == 81 - 25
    found = rows(table)
    assert [row for row in found if row["points"] == "5"] == coarse
    fine = [row for row in found if row["points"] == "9"]
    for row, other in zip(fine, rows(at_once), strict=True):
        for name in ("loss", "accuracy"):  # rounding differs with the number of points at once
            assert float(row[name]) == pytest.approx(float(other[name]), abs=1e-6)
    assert made(build, points=3).measure(table, "reset", SPLITS) == 0
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
