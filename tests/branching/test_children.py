import pytest

from src import runs
from src.branching.children import Children
from src.branching.family import Family, Origins
from src.branching.plan import Request
from src.branching.tree import Tree
from src.runs import Run
from src.training.schedulers import Cosine
from src.training.stacked import Stacked
from tests import toys

SEEDS = toys.Seeds(initialization=1, data_order=0, augmentation=0, dropout=0)  # no child's


def family(folder, together=True, **changes):
    origins = Origins(toys.recipe(**changes), toys.data(), SEEDS)
    return Family(Tree(folder), origins, toys.RUNTIME, together=together)


def grow(made, seeds, **changes):
    """Train the parent and its children from 1ep, and say how many optimizer steps that took."""
    values = {"spawn_steps": ["1ep"], "child_seeds": seeds, "child_steps": ["2it"]}
    plan = made.plan(Request(**(values | {"child_length": "2ep"} | changes)))
    made.train_parent(plan)
    before = made.num_steps
    for spawn_step in plan.spawn_steps:
        made.train_children(plan, spawn_step)
    return made.num_steps - before


def groups(made, seeds):
    """With whom each child was trained."""
    results = [made.tree.child("1ep", seed).read_result() for seed in seeds]
    return [result.get("together") for result in results]


def assert_equal_children(first, second, seeds):
    for seed in seeds:
        pair = [made.tree.child("1ep", seed) for made in (first, second)]
        assert pair[0].snapshots() == pair[1].snapshots()
        for path in sorted(pair[0].folder.glob("weights/*")):
            other = pair[1].folder / "weights" / path.name
            assert path.read_bytes() == other.read_bytes(), path.name


def test_children_are_trained_together_and_a_later_one_by_itself(tmp_path):
    made = family(tmp_path)
    assert grow(made, [1, 2]) == 2 * 6
    assert grow(made, [1, 2, 3]) == 6
    assert groups(made, [1, 2, 3]) == [[1, 2], [1, 2], None]
    assert grow(made, [3, 1, 2]) == 0


@pytest.mark.parametrize("together", [False, "auto"])  # the toys have a convolution
def test_children_are_trained_apart_where_that_is_asked_for_or_faster(tmp_path, together):
    made = family(tmp_path, together)
    grow(made, [1, 2])
    assert groups(made, [1, 2]) == [None, None]
    assert runs.load_weights(made.tree.child("1ep", 1).weights(9))[1].get("together") is None


def test_weights_say_with_whom_they_were_trained(tmp_path):
    made = family(tmp_path)
    grow(made, [1, 2])
    _, metadata = runs.load_weights(made.tree.child("1ep", 2).weights(5))
    assert (metadata["child_seed"], metadata["together"]) == (2, [1, 2])


def test_a_snapshot_asked_for_later_is_replayed_with_the_same_group(tmp_path):
    later, at_once = family(tmp_path / "later"), family(tmp_path / "at_once")
    grow(later, [1, 2])
    assert grow(later, [2], child_steps=["2it", "4it"]) == 2 * 2
    grow(at_once, [1, 2], child_steps=["2it", "4it"])
    assert_equal_children(later, at_once, [1, 2])


def test_a_group_is_trained_on_as_a_group(tmp_path):
    later, at_once = family(tmp_path / "later"), family(tmp_path / "at_once")
    grow(later, [1, 2], child_length="1ep")
    assert grow(later, [2]) == 2 * 3
    grow(at_once, [1, 2])
    for made in (later, at_once):
        assert groups(made, [1, 2]) == [[1, 2], [1, 2]]
        assert made.tree.child("1ep", 1).read_result()["iteration"] == 9
    first, second = (made.tree.child("1ep", 1).weights(9) for made in (later, at_once))
    assert first.read_bytes() == second.read_bytes()


def test_a_group_that_was_killed_goes_on_whoever_is_asked_for(tmp_path, monkeypatch):
    often = toys.Runtime(device="cpu", progress=False, tensorboard=False, save_every=0.0)
    origins = Origins(toys.recipe(), toys.data(), SEEDS)
    made = Family(Tree(tmp_path / "killed"), origins, often, together=True)
    step = Stacked.step

    def killed(self, inputs, labels):
        if self.iteration == 6:
            raise KeyboardInterrupt
        step(self, inputs, labels)

    monkeypatch.setattr(Stacked, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        grow(made, [1, 2])
    monkeypatch.setattr(Stacked, "step", step)
    assert grow(made, [2, 3]) == 2 * 3 + 6
    assert groups(made, [1, 2, 3]) == [[1, 2], [1, 2], None]
    assert list((tmp_path / "killed/children/1ep").glob("*.pt")) == []
    whole = family(tmp_path / "whole")
    grow(whole, [1, 2])
    assert_equal_children(made, whole, [1, 2])


def test_what_another_job_has_begun_while_this_one_waited_is_left_to_its_group(
    tmp_path, monkeypatch
):
    made, other = family(tmp_path), family(tmp_path)
    grow(other, [1], child_length="1it", child_steps=["1it"])  # only the parent matters
    locked, waited = Run.locked, []

    def wait(self):
        if not waited and "children" in str(self.folder):
            waited.append(self)
            grow(other, [2, 3])
        return locked(self)

    monkeypatch.setattr(Run, "locked", wait)
    assert grow(made, [3, 4]) == 6  # 3 was trained with 2 meanwhile
    assert groups(made, [2, 3, 4]) == [[2, 3], [2, 3], None]


def test_children_that_cannot_go_together_are_refused_before_the_parent_is_trained(tmp_path):
    made = family(tmp_path, patience=3)
    with pytest.raises(ValueError, match="spawn.together=true: each may stop at its own time"):
        made.plan(Request(spawn_steps=["1ep"], child_seeds=[1, 2]))
    assert made.tree.parent.read_result() is None


def test_the_child_that_goes_on_as_the_parent_is_trained_by_itself(tmp_path):
    made = family(tmp_path)
    grow(made, [0, 1, 2])
    assert groups(made, [0, 1, 2]) == [None, [1, 2], [1, 2]]
    parent, child = made.tree.parent.weights(9), made.tree.child("1ep", 0).weights(9)
    assert toys.equal(runs.load_weights(parent)[0], runs.load_weights(child)[0])


def test_one_child_is_trained_by_itself_whatever_is_asked_for(tmp_path):
    made = family(tmp_path, scheduler=Cosine)
    grow(made, [5])
    assert groups(made, [5]) == [None]


def test_no_two_jobs_wait_for_each_other(tmp_path):
    made = family(tmp_path)
    plan = made.plan(Request(spawn_steps=["1ep"], child_seeds=[3, 1, 2]))
    children = Children(made.tree, plan, 3, lambda step, seeds: [], lambda seeds: seeds, False)
    held = []

    def locked(run):
        held.append(run.folder.name)
        return original(run)

    original = Run.locked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "locked", locked)
        with children._locked((3, 1, 2)):
            pass
    assert held == ["seed_1", "seed_2", "seed_3"]
