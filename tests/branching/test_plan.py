from pathlib import Path

import pytest

from isthmus import steps
from isthmus.branching import plan as branching_plan
from isthmus.branching.plan import PlannedAverage, SpawnPlan, SpawnTree, back_steps
from tests.branching import families

# round(2**(i/2)), each once, with 0 before it.
GRID = [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512]
PER_EPOCH, END = 3, 9


def plan(**asked):
    return SpawnPlan.from_options(families.asked(**asked), PER_EPOCH, END)


def published_plus_one(j):
    """Positions on the grid of start, k and k/2."""
    return {0, j} | ({1} if j == 2 else {j - 2} if j > 2 else set())


def published_plus_three(j):
    """Positions on the grid of start, k, k/sqrt(2), k/2 and k/4."""
    earlier = {2: {1}, 3: {2, 1}, 4: {3, 2, 1}}.get(j, {j - 1, j - 2, j - 4} if j > 4 else set())
    return {0, j} | earlier


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("back", lambda j: {0, j}),
        ("back_plus_one", published_plus_one),
        ("back_plus_three", published_plus_three),
        ("back_all", lambda j: set(range(j + 1))),
    ],
)
@pytest.mark.parametrize("j", range(len(GRID)))
def test_on_the_grid_averages_over_the_past_follow_the_published_rule(kind, rule, j):
    assert back_steps(kind, GRID[j]) == [GRID[i] for i in sorted(rule(j))]


def test_the_grid_of_the_published_rule_is_that_of_the_default_child_steps():
    assert steps.log_grid(512) == GRID


@pytest.mark.parametrize("child_step", [10, 100, 1000, 12345])
def test_between_points_of_the_grid_they_are_the_nearest_iterations_to_the_fractions(child_step):
    half, root, quarter = (round(child_step / by) for by in (2, 2**0.5, 4))
    assert back_steps("back_plus_one", child_step) == [0, half, child_step]
    assert back_steps("back_plus_three", child_step) == [0, quarter, half, root, child_step]


@pytest.mark.parametrize("kind", ["back", "back_plus_one", "back_plus_three", "back_all"])
@pytest.mark.parametrize("child_step", [*range(1, 40), 391, 78200])
def test_averages_over_the_past_go_from_the_spawn_step_to_the_child_step(kind, child_step):
    found = back_steps(kind, child_step)
    assert (found[0], found[-1]) == (0, child_step)
    assert found == sorted(set(found))


def test_children_and_averages_across_them_have_no_past():
    assert back_steps("across", 8) == back_steps("child", 8) == []


def test_moments_are_counted_in_iterations_of_the_parent():
    made = plan(
        spawn_steps=["2ep", "0ep", "1ep1it"], child_length="1ep", child_steps=["0", "2it", "1ep"]
    )
    assert (made.spawn_steps, made.child_length, made.child_steps) == ([0, 4, 6], 3, [0, 2, 3])
    assert [made.text(step) for step in made.spawn_steps] == ["0ep", "1ep1it", "2ep"]


def test_children_are_as_long_as_their_parent_and_kept_on_the_grid_by_default():
    assert (plan().child_length, plan().child_steps) == (9, [0, 1, 2, 3, 4, 6, 8, 9])


def test_one_spawn_step_is_chosen_by_its_index_or_by_name():
    asked = ["0ep", "1ep", "2ep"]
    assert plan(spawn_steps=asked, only=0).spawn_steps == [0]
    assert plan(spawn_steps=asked, only=2).spawn_steps == [6]
    assert plan(spawn_steps=asked, spawn_step="4it").spawn_steps == [4]
    assert plan(spawn_steps=None, spawn_step="4it").spawn_steps == [4]


def test_jobs_that_do_one_spawn_step_each_ask_for_the_same_parent():
    asked = ["0ep", "1ep", "2ep"]
    kept = [plan(spawn_steps=asked, only=i).kept_by_parent for i in range(3)]
    assert kept == [[0, 3, 6]] * 3


def test_the_parent_keeps_its_initialization_and_every_spawn_step():
    assert plan(spawn_steps=["1ep"]).kept_by_parent == [0, 3]
    assert plan(spawn_steps=["1ep"], spawn_step="4it").kept_by_parent == [0, 3, 4]
    assert plan(spawn_steps=None).kept_by_parent == [0]


@pytest.mark.parametrize("kind", ["back", "back_plus_one", "back_plus_three", "back_all"])
def test_children_keep_whatever_their_averages_are_made_of(kind):
    made = plan(averages=[kind], child_steps=["0", "7it", "3ep"])
    kept = {4 + step for member in made.child_averages(1) for _, step in member.members if step}
    assert made.kept_by_child(4) == sorted(kept)
    assert {11, 13} <= kept


def test_children_that_are_not_averaged_over_their_past_keep_their_own_steps_alone():
    assert plan(averages=["across"], child_steps=["0", "7it"]).kept_by_child(4) == [11]


def test_a_child_comes_alone_and_with_its_past_at_each_child_step():
    made = plan(averages=["across", "back", "back_plus_one"], child_steps=["0", "4it"])
    assert made.child_averages(5) == [
        PlannedAverage("child", 0, (5,), ((5, 0),)),
        PlannedAverage("child", 4, (5,), ((5, 4),)),
        PlannedAverage("back", 4, (5,), ((5, 0), (5, 4))),
        PlannedAverage("back_plus_one", 4, (5,), ((5, 0), (5, 2), (5, 4))),
    ]


def test_averages_across_take_the_first_children_where_they_differ():
    made = plan(child_seeds=[3, 1, 2], child_steps=["0", "4it"])
    assert made.across_averages() == [
        PlannedAverage("across", 4, (1, 3), ((1, 4), (3, 4))),
        PlannedAverage("across", 4, (1, 2, 3), ((1, 4), (2, 4), (3, 4))),
    ]
    three = plan(child_seeds=[3, 1, 2], child_steps=["0", "4it"], num_children=[3])
    assert [average.seeds for average in three.across_averages()] == [(1, 2, 3)]


def test_an_only_child_has_no_average_across():
    assert plan(child_seeds=[1]).across_averages() == []
    assert plan(averages=["back"]).across_averages() == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"spawn_steps": ["4ep"]}, r"^spawn_steps: 4ep is after the end .* 3ep \(9 iterations\)"),
        ({"spawn_step": "10it"}, r"^spawn_step: 10it is after the end of training, 3ep"),
        ({"child_length": "1ep", "child_steps": ["4it"]}, r"^child_steps: 4it is after .* 1ep"),
        ({"only": 1}, r"^only=1: must be from 0 to 0$"),
        ({"only": -1}, r"^only=-1: must be from 0 to 0$"),
        ({"spawn_steps": "log", "only": 8}, r"^only=8: must be from 0 to 7$"),
    ],
)
def test_a_request_that_the_trainings_are_too_short_for_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        plan(**asked)


def test_children_may_be_longer_than_their_parent():
    assert plan(child_length="5ep", child_steps=["5ep"]).child_steps == [15]


def test_a_tree_has_one_folder_a_training_and_one_a_set_of_averages():
    made = SpawnTree(Path("t"))
    folders = {
        "parent": made.parent,
        "pretrain": made.pretrain,
        "children/1ep/seed_2": made.child("1ep", 2),
        "avg_back/1ep/seed_2": made.average_back("1ep", 2),
        "avg_across/1ep2it/seeds_3-1-2": made.average_across("1ep2it", [3, 1, 2]),
    }
    assert {run.folder.relative_to("t").as_posix() for run in folders.values()} == set(folders)
    assert made.averages == Path("t/averages.csv")
    assert made.distances == Path("t/distance/distance.csv")
    assert made.distance("1ep") == Path("t/distance/1ep/pairs.csv")
    assert made.legs("plain") == Path("t/legs/plain")


def test_the_lock_of_the_tables_is_not_that_of_any_training(tmp_path):
    made = SpawnTree(tmp_path)
    with made.lock_tables():
        for run in (
            made.parent,
            made.pretrain,
            made.child("0ep", 1),
            made.average_across("0ep", [1, 2]),
        ):
            with run.lock():
                pass
        assert Path(tmp_path / "distance" / "run.lock").exists()


def test_whoever_holds_the_tables_removes_what_a_killed_job_left(tmp_path):
    made = SpawnTree(tmp_path)
    made.figures.mkdir()
    left = [tmp_path / ".averages.csv.a_1.tmp", made.figures / ".x.png.a_1.tmp"]
    for path in left:
        path.write_text("half")
    with made.lock_tables():
        assert not any(path.exists() for path in left)


def test_seeds_are_written_in_the_order_given():
    assert branching_plan.seeds_text([10, 2, 33]) == "10-2-33"
    assert branching_plan.seeds_text((7,)) == "7"
