import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus import tables
from isthmus.connectivity import plan
from isthmus.connectivity.options import LineGrid, LineOptions, PlaneOptions
from isthmus.connectivity.plan import BranchPair, LineRecords, LineStudy, PlaneFiles, file_digests
from isthmus.store import files as store_files
from tests.connectivity.lines import PAIR, line


def done(folder, projected=(), splits=("train", "test"), points=5):
    """The files of a plane, as a finished one leaves them."""
    files = PlaneFiles(folder)
    for path in (files.grid, files.networks):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    grids = {str(points): list(splits)}
    content = {"splits": list(splits), "grids": grids, "projected": file_digests(projected)}
    store_files.write_json(files.run.result, content)
    return files


def of(splits, points=5):
    return PlaneOptions(points=points, splits=splits)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "d.safetensors"
    path.write_text("weights")
    return path


def test_a_folder_that_is_not_there_is_not_done(tmp_path):
    assert not PlaneFiles(tmp_path / "nowhere").is_done(of(["train"]), [])


def test_a_plane_is_done_for_its_splits_and_no_others(tmp_path):
    files = done(tmp_path)
    assert files.is_done(of(["train", "test"]), [])
    assert files.is_done(of(["test"]), [])
    assert not files.is_done(of(["test", "val"]), [])


def test_a_plane_is_done_for_its_points_and_no_others(tmp_path):
    files = done(tmp_path)
    assert not files.is_done(of(["test"], points=9), [])
    store_files.write_json(files.run.result, {"points": 5, "splits": ["test"], "projected": {}})
    assert not files.is_done(of(["test"]), [])  # of an older version, which had other ends


def test_networks_at_chance_are_named(tmp_path):
    files = done(tmp_path)
    store_files.write_json(files.run.result, {"num_classes": 10})
    rows = [
        (name, bn, split, loss)
        for name, loss in (("A", 0.5), ("B", 2.3026), ("C", 2.29))
        for bn in ("reset", "as_trained")
        for split in ("train", "test")
    ]
    tables.write(files.networks, ("name", "bn", "split", "loss"), rows)
    assert files.at_chance().endswith("log(10) = 2.3026, or more: B")
    tables.write(files.networks, ("name", "bn", "split", "loss"), rows[:4])
    assert files.at_chance() is None


@pytest.mark.parametrize("name", ["grid", "networks"])
def test_a_plane_without_one_of_its_tables_is_not_done(tmp_path, name):
    files = done(tmp_path)
    getattr(files, name).unlink()
    assert not files.is_done(of(["train"]), [])


def test_a_plane_is_done_only_with_the_networks_that_are_to_be_projected(tmp_path, weights):
    assert not done(tmp_path).is_done(of(["train"]), [weights])
    files = done(tmp_path, [weights])
    assert files.is_done(of(["train"]), [weights])
    assert not files.is_done(of(["train"]), [])
    weights.write_text("others")
    assert not files.is_done(of(["train"]), [weights])


def test_digests_say_what_files_hold(tmp_path, weights):
    copy = tmp_path / "e.safetensors"
    copy.write_bytes(weights.read_bytes())
    found = file_digests([weights, copy, tmp_path / "none"])
    assert found[str(weights)] == found[str(copy)]
    assert found[str(tmp_path / "none")] == "absent"


ROOT = Path(__file__).parents[2]


def test_a_pair_is_named_by_its_moments_and_compared_at_their_sum():
    assert PAIR.name == "k1_1ep_k2_2ep"
    assert PAIR.total == 9
    assert BranchPair(1, 4, 3).name == "k1_1it_k2_1ep1it"
    assert BranchPair(0, 4, 3).name == "k1_0ep_k2_1ep1it"


def test_moments_are_the_independent_and_the_total_step_in_epochs_and_in_iterations():
    assert PAIR.moments() == {
        "k1": 1.0,
        "k2": 2.0,
        "total": 3.0,
        "k1_step": 3,
        "k2_step": 6,
        "total_step": 9,
    }
    assert BranchPair(1, 3, 3).moments()["k1"] == pytest.approx(1 / 3, abs=1e-6)


def test_pairs_are_all_of_shared_with_further_training_in_order():
    found = plan.all_pairs(["0ep", "2it"], ["1ep", "1ep1it"], 3, end=6)
    assert [(pair.k1, pair.k2) for pair in found] == [(0, 3), (0, 4), (2, 3), (2, 4)]


def test_a_pair_may_reach_the_end_of_the_main_branch_and_no_further():
    assert plan.all_pairs(["2ep"], ["1ep"], 3, end=9)[0].total == 9
    message = (
        r"^k1=2ep k2=4it: 3ep1it is after the end of the main branch, 3ep; hparams.epochs or "
        r"hparams.steps says how long it is$"
    )
    with pytest.raises(ValueError, match=message):
        plan.all_pairs(["2ep"], ["1it", "4it"], 3, end=9)


def test_a_request_knows_how_many_points_it_has():
    assert LineOptions().num_alphas == 25
    assert LineOptions(alphas=[0, 1], refine=3).num_alphas == 2 + 3


def test_a_request_is_met_by_a_line_that_has_it_on_every_split():
    known = line(alphas=5, splits=["train"])
    assert LineOptions(alphas=5, splits=["train"]).is_met(known)
    assert not LineOptions(alphas=5, splits=["train", "test"]).is_met(known)
    assert not LineOptions(alphas=3, splits=["train"]).is_met(known)
    assert not LineOptions(alphas=5, refine=2, splits=["train"]).is_met(known)
    assert not LineOptions(alphas=5, splits=["train"]).is_met(None)


def test_nothing_is_known_of_a_folder_that_is_not_there(tmp_path):
    store = LineRecords(tmp_path / "nowhere")
    assert store.files == store.read() == []
    assert store.line(PAIR, 2, LineOptions()) is None


def test_a_line_that_is_written_is_found_by_child_alignment_and_treatment(tmp_path):
    store, made = LineRecords(tmp_path), line(2, align="weights", bn="keep")
    store.write(PAIR, made, {})
    found = store.line(PAIR, 2, LineOptions(align="weights", bn="keep", alphas=7))
    assert made.items() <= found.items()
    assert store.line(PAIR, 3, LineOptions(align="weights", bn="keep")) is None
    assert store.line(PAIR, 2, LineOptions(bn="keep")) is None
    assert store.line(PAIR, 2, LineOptions(align="weights")) is None
    assert store.line(BranchPair(3, 3, 3), 2, LineOptions(align="weights", bn="keep")) is None


def test_a_line_has_one_file_with_its_moments_and_settings(tmp_path):
    LineRecords(tmp_path).write(PAIR, line(2), {"precision": "bf16"})
    (file,) = LineRecords(tmp_path).files
    assert file == tmp_path / "records" / "k1_1ep_k2_2ep_child_2_none_reset.json"
    moments = {**PAIR.moments(), "iterations_per_epoch": 3}
    assert json.loads(file.read_text()) == moments | {"precision": "bf16"} | line(2)


def test_two_saved_networks_have_a_file_without_moments(tmp_path):
    LineRecords(tmp_path).write(None, line(), {"precision": "fp32"})
    content = json.loads((tmp_path / "records" / "line_none_reset.json").read_text())
    assert content == {"precision": "fp32"} | line()


def test_a_line_takes_the_place_of_what_was_known_of_it_and_of_nothing_else(tmp_path):
    store = LineRecords(tmp_path)
    for each in (line(2), line(3), line(2, align="weights"), line(2, bn="keep")):
        store.write(PAIR, each, {})
    store.write(PAIR, line(2, height=9.0), {})
    assert len(store.read()) == len(store.files) == 4
    assert line(2, height=9.0).items() <= store.line(PAIR, 2, LineOptions()).items()
    assert line(3).items() <= store.line(PAIR, 3, LineOptions()).items()


def test_lines_are_read_in_order_of_moments_children_and_alignment(tmp_path):
    some = [
        (pair, line(s, align=a))
        for s in (10, 2)
        for a in ("none", "activations", "weights")
        for pair in (PAIR, BranchPair(0, 3, 3))
    ]
    for each in some:
        LineRecords(tmp_path).write(*each, {})
    found = [(e["k1_step"], e["child_seed"], e["align"]) for e in LineRecords(tmp_path).read()]
    aligns = ("none", "weights", "activations")
    assert found == [(k1, s, a) for k1 in (0, 3) for s in (2, 10) for a in aligns]


def test_what_else_is_written_down_is_added_to(tmp_path):
    store, request = LineRecords(tmp_path), LineOptions()
    store.write(PAIR, line(2), {"precision": "fp32", "num_examples": {"train": 40}})
    known = store.line(PAIR, 2, request)
    store.write(PAIR, line(2), {"precision": "fp32", "num_examples": {"test": 20}}, known)
    assert store.line(PAIR, 2, request)["num_examples"] == {"train": 40, "test": 20}


def test_a_file_of_an_older_version_with_all_lines_of_a_pair_is_read_and_added_to(tmp_path):
    store, request = LineRecords(tmp_path), LineOptions()
    about = {**PAIR.moments(), "num_examples": {"train": 40}, "num_classes": 3}
    older = {**about, "lines": [line(2), line(3)]}
    (tmp_path / "k1_1ep_k2_2ep.json").write_text(json.dumps(older))
    assert store.read() == [{**about, **line(2)}, {**about, **line(3)}]
    known = store.line(PAIR, 3, request)
    assert known == {**about, **line(3)}
    store.write(PAIR, line(3, height=9.0), {"num_examples": {"test": 20}}, known)
    assert store.line(PAIR, 3, request)["num_examples"] == {"train": 40, "test": 20}
    assert [each["curves"] for each in store.read()] == [
        line(2)["curves"],
        line(3, height=9.0)["curves"],
    ]


def test_the_files_are_those_of_lines_alone(tmp_path):
    store = LineRecords(tmp_path)
    store.write(PAIR, line(2), {})
    for name in ("result.json", "line.json"):
        (tmp_path / name).touch()
    assert [file.name for file in store.files] == [
        "line.json",
        "k1_1ep_k2_2ep_child_2_none_reset.json",
    ]


def test_a_line_is_lacking_until_it_has_all_that_is_requested(tmp_path):
    store, request = LineRecords(tmp_path), LineOptions(alphas=5)
    assert store.lack([(PAIR, 2)], request)
    store.write(PAIR, line(2, alphas=5), {})
    assert not store.lack([(PAIR, 2)], request)
    assert store.lack([(PAIR, 2), (PAIR, 3)], request)
    assert store.lack([(PAIR, 2)], LineOptions(alphas=7))


def test_a_folder_of_a_main_branch_says_its_seed_and_its_study(tmp_path):
    assert LineRecords(tmp_path / "seed_12").seed == 12
    assert LineRecords(tmp_path / "seed_12").study == LineStudy(tmp_path)
    for name in ("instability_0", "seed_x", "interpolate_1"):
        assert (
            LineRecords(tmp_path / name).seed is None and LineRecords(tmp_path / name).study is None
        )


def test_a_line_of_an_older_version_is_not_met(tmp_path):
    older, request = line(2, alphas=5), LineOptions(alphas=5)
    assert request.is_met(older)
    del older["ends"]
    assert not request.is_met(older)


@pytest.mark.parametrize(
    ("alphas", "refine", "cells"),
    [
        (5, None, ("5", "")),
        ([0, 0.25, 0.5, 0.75, 1], 3, ("5", "3")),
        ([0, 1 / 3, 2 / 3, 1.0], None, ("4", "")),
        ([0, 0.1, 1], None, ("0 0.1 1", "")),
    ],
)
def test_a_grid_is_what_it_is_however_it_was_typed(alphas, refine, cells):
    grid = LineOptions(alphas=alphas, refine=refine).grid
    assert grid.cells == cells
    assert LineGrid.parse(grid.text) == grid
    assert LineGrid.parse(json.dumps({"alphas": alphas, "refine": refine})) == grid


def test_every_two_children_are_a_pair_once_the_smaller_seed_first():
    assert plan.seed_pairs([10, 2, 3]) == {"2-3": (2, 3), "2-10": (2, 10), "3-10": (3, 10)}


def test_a_finished_study_needs_no_torch():
    modules = "options, plan, results, chance_level"
    code = (
        f"import sys; from isthmus.connectivity import {modules}; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
