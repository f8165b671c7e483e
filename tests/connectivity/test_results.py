from isthmus.connectivity import line_tables, results
from isthmus.connectivity.options import LineOptions
from isthmus.connectivity.plan import BranchPair, LineRecords, LineStudy
from tests.connectivity.lines import PAIR, line

OTHER = BranchPair(0, 3, 3)


def text(folder, *lines, pairs=(PAIR,), study=False, **request):
    for pair, each in lines:
        LineRecords(folder).write(pair, each, {})
    if not study:
        line_tables.write_tables(folder)
    return results.summarize_barriers(folder, pairs, LineOptions(**request)).splitlines()


def test_one_child_has_its_numbers(tmp_path):
    title, head, *rows = text(tmp_path, (PAIR, line(2, height=1.0, alphas=5)), alphas=5)
    assert title == "barriers (align=none, bn=reset)"
    assert head.split() == [
        *("k1", "k2", "split", "metric"),
        *("barrier", "barrier_frankle", "midpoint_gap", "distance"),
    ]
    found = [row.split() for row in rows]
    gap = f"{2 / 3:.4f}"  # the tents have their tops at 1/4 and 3/4
    assert found[0] == ["1.0ep", "2.0ep", "train", "loss", "1.0000", "1.0000", gap, "2.5000"]
    assert [row[2:4] for row in found] == [
        ["train", "loss"],
        ["train", "error"],
        ["test", "loss"],
        ["test", "error"],
    ]


def test_several_children_of_one_main_branch_have_means_and_their_range(tmp_path):
    some = [(PAIR, line(seed, height)) for seed, height in ((2, 1.0), (3, 2.0), (4, 3.0))]
    title, _, first, *_ = text(tmp_path, *some, splits=["train"])
    assert title == "barriers (align=none, bn=reset), means of 3 branches (lowest to highest)"
    assert "2.0000 (1.0000 to 3.0000)" in first


def test_several_main_branches_have_means_and_half_their_intervals(tmp_path):
    for seed, heights in ((1, (1.0,)), (2, (1.0, 3.0)), (3, (3.0,))):
        lines = [(PAIR, line(10 + n, height)) for n, height in enumerate(heights)]
        text(tmp_path / f"seed_{seed}", *lines)
    line_tables.write_pooled_tables(LineStudy(tmp_path))
    title, _, first, *_ = text(tmp_path, splits=["train"], study=True)
    assert title == (
        "barriers (align=none, bn=reset), means of 3 main branches +- half the 95 % interval"
    )
    assert "2.0000 +- 2.4841" in first  # 4.3027 / sqrt(3), the t quantile of two degrees
    assert results.num_main_branches(tmp_path, [PAIR], LineOptions()) == 3
    assert results.num_main_branches(tmp_path, [OTHER], LineOptions()) == 0
    assert results.num_main_branches(tmp_path / "seed_2", [PAIR], LineOptions()) == 1


def test_barriers_are_those_of_the_grid_that_is_asked_for(tmp_path):
    first = line(2, alphas=3, splits=["train"])
    several = line(2, before=first, alphas=5, splits=["train"])
    _, _, row, *_ = text(tmp_path, (PAIR, several), alphas=3)
    assert row.split()[4] == "0.6667"
    _, _, row, *_ = text(tmp_path, alphas=5)
    assert row.split()[4] == "1.0000"


def test_networks_at_chance_are_named_once_each(tmp_path):
    store, request = LineRecords(tmp_path), LineOptions(alphas=3)
    lines = []
    for seed, height in ((2, 0.1), (3, 0.2)):
        made = line(seed, height, alphas=3)  # its ends have a loss of 0.5
        made["curves"]["test"]["loss"][-1] = 0.5 + 0.2 * (seed == 2)
        made["curves"]["train"]["loss"][-1] = 0.7
        made["networks"] = ["main.safetensors", f"child_{seed}.safetensors"]
        store.write(PAIR, made, {"num_classes": 2})
        lines.append((PAIR, seed))
    found = results.chance_message([tmp_path], lines, request)
    assert found.endswith("log(2) = 0.6931, or more: child_2.safetensors")
    assert results.chance_message([tmp_path], lines[1:], request) is None
    both = results.chance_message([tmp_path], lines, LineOptions(alphas=3, splits=["train"]))
    assert both.endswith("or more: child_2.safetensors, child_3.safetensors")
    assert len(both.splitlines()) == 1


def test_pairs_with_other_numbers_of_children_are_said_to_have_them(tmp_path):
    some = [(PAIR, line(2)), (OTHER, line(2)), (OTHER, line(3))]
    title, *_ = text(tmp_path, *some, pairs=(OTHER, PAIR))
    assert "means of 1 or 2 branches" in title
    title, *_ = text(tmp_path, pairs=(PAIR,))
    assert "means" not in title


def test_two_saved_networks_have_no_columns_of_moments(tmp_path):
    _, head, *rows = text(tmp_path, (None, line()), pairs=(None,))
    assert head.split()[0] == "split"
    assert all(len(row.split()) == len(head.split()) for row in rows)


def test_only_what_is_asked_for_is_shown(tmp_path):
    some = [
        (PAIR, line(2)),
        (OTHER, line(2)),
        (PAIR, line(2, height=5.0, align="weights", bn="keep")),
    ]
    title, _, *rows = text(tmp_path, *some, align="weights", bn="keep", splits=["test"])
    assert title == "barriers (align=weights, bn=keep)"
    assert [row.split()[:4] for row in rows] == [
        ["1.0ep", "2.0ep", "test", "loss"],
        ["1.0ep", "2.0ep", "test", "error"],
    ]
    assert rows[0].split()[4] == "5.0000"


def test_every_line_is_as_wide_as_the_others(tmp_path):
    _, *lines = text(
        tmp_path, (PAIR, line(2)), (OTHER, line(2, height=1234.5)), pairs=(PAIR, OTHER)
    )
    assert len({len(each) for each in lines}) == 1
