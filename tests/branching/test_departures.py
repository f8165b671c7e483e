import pytest

from isthmus.branching import family as branching_family
from tests import toys
from tests.branching.families import RESTLESS, assert_same_moment, family, trained, weights

K1K2 = [(0, 3), (0, 5), (4, 3), (4, 5)]  # of nine iterations, three an epoch
FOLDERS = {0: "0ep", 4: "1ep1it"}


def departed(folder, some=K1K2, seeds=(2, 3), snapshots=None, **origins):
    """The family of branches that have been trained."""
    made = family(folder, **origins)
    branching_family.train_branch_pairs(made, list(some), list(seeds), snapshots)
    return made


def test_the_main_branch_and_each_other_keep_every_moment_of_comparison(tmp_path):
    tree = departed(tmp_path).tree
    assert tree.parent.read_result()["iteration"] == 9
    for start, further in K1K2:
        for run in (tree.parent, *(tree.child(FOLDERS[start], seed) for seed in (2, 3))):
            assert run.weights(start + further).exists()
    assert {folder.name for folder in (tmp_path / "children").iterdir()} == set(FOLDERS.values())


def test_branches_are_those_that_spawn_makes_bit_for_bit(tmp_path):
    tree = departed(tmp_path / "departures", snapshots=["3ep"]).tree
    spawned = family(tmp_path / "spawn")
    moments = ["3it", "5it", "7it", "9it"]
    steps = {"spawn_steps": ["0ep", "4it"], "child_length": "5it", "child_steps": moments[:2]}
    trained(spawned, moments, child_seeds=[2, 3], **steps)
    for start, further in K1K2:
        assert_same_moment(tree.parent, spawned.tree.parent, start + further)
        for seed in (2, 3):
            runs = (each.child(FOLDERS[start], seed) for each in (tree, spawned.tree))
            assert_same_moment(*runs, start + further)


def test_a_branch_is_not_the_main_one_and_no_other_branch(tmp_path):
    tree = departed(tmp_path, [(4, 3)]).tree
    main, one, other = (
        weights(run, 7) for run in (tree.parent, *(tree.child("1ep1it", s) for s in (2, 3)))
    )
    assert not toys.equal(main, one)
    assert not toys.equal(main, other)
    assert not toys.equal(one, other)


def test_nothing_is_trained_twice(tmp_path, steps_made):
    first = departed(tmp_path)
    assert first.num_steps == len(steps_made) == 9 + 4 * 5
    again = departed(tmp_path)
    assert again.num_steps == 0
    assert len(steps_made) == first.num_steps


def test_what_spawn_has_trained_is_used(tmp_path, steps_made):
    moments = ["3it", "6it"]
    steps = {"spawn_steps": ["0ep"], "child_length": "2ep", "child_steps": moments}
    trained(family(tmp_path), moments, child_seeds=[2, 3], **steps)
    steps_made.clear()
    assert departed(tmp_path, [(0, 3), (0, 6)]).num_steps == 0
    more = departed(tmp_path, [(0, 3), (0, 6)], seeds=[2, 3, 4])
    assert more.num_steps == len(steps_made) == 6


def test_later_comparisons_go_on_from_what_is_there(tmp_path):
    at_once = departed(tmp_path / "once", [(3, 3), (3, 6)]).tree
    departed(tmp_path / "later", [(3, 3)])
    later = departed(tmp_path / "later", [(3, 6)])
    assert later.num_steps == 2 * 3
    assert later.tree.parent.weights(9).exists()
    for iteration in (6, 9):
        for seed in (2, 3):
            assert_same_moment(at_once.child("1ep", seed), later.tree.child("1ep", seed), iteration)


def test_a_comparison_that_was_not_kept_is_replayed(tmp_path):
    departed(tmp_path / "later", [(0, 6)])
    later = departed(tmp_path / "later", [(0, 4)]).tree
    at_once = departed(tmp_path / "once", [(0, 4)]).tree
    assert_same_moment(later.parent, at_once.parent, 4)
    assert_same_moment(later.child("0ep", 2), at_once.child("0ep", 2), 4)


def test_the_main_branch_keeps_the_snapshots_that_are_asked_for_besides(tmp_path):
    tree = departed(tmp_path, [(3, 3)], snapshots=["1it", "8it"]).tree
    assert set(tree.parent.snapshots()) >= {0, 1, 3, 6, 8}
    assert not tree.child("1ep", 2).weights(8).exists()


def restless():
    return toys.recipe(**RESTLESS)


def test_a_training_that_stopped_before_a_comparison_is_refused(tmp_path):
    message = r"^k1=0ep k2=49ep: training stopped early, before 49ep \(hparams.patience=2\)$"
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            departed(tmp_path, [(0, 3), (0, 147)], recipe=restless())


def test_a_main_branch_that_stopped_before_a_departure_is_refused_naming_k1(tmp_path):
    message = r"^k1: 48ep is after the early stop of the parent \(hparams.patience=2\)$"
    with pytest.raises(ValueError, match=message):
        departed(tmp_path, [(0, 3), (144, 3)], recipe=restless())


def test_comparisons_before_an_early_stop_are_made(tmp_path):
    tree = departed(tmp_path, [(0, 3)], recipe=restless()).tree
    assert tree.parent.read_result()["stopped_early"]
    assert tree.child("0ep", 2).weights(3).exists()
