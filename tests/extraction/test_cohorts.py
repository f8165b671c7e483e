import torch

from isthmus.extraction import cohorts, fitting
from isthmus.extraction.fitting import Fit, FitSchedule
from isthmus.extraction.options import Extraction, ExtractRuntime
from isthmus.extraction.plan import ExtractionTree
from isthmus.store import files
from tests.extraction.made import INPUTS, random_stack

TARGETS = random_stack("tanh", [3, 4, 2], 1, seed=5).outputs([INPUTS])[0]
LONG = 150  # epochs, by which all students have converged
RUNNING = ExtractRuntime(save_every=1e9, progress=False)


def trained(folder, num_students, epochs):
    """Students of a folder, and how many epochs each made in this call."""
    schedule = FitSchedule(0.1, 64, epochs, 10**-0.5, patience=1, cooldown=0, min_lr=3.2e-3)
    made = dict.fromkeys(range(20), 0)

    def make_fit(students):
        stack = fitting.initialize_students(students, (3, 6, 2), "tanh", seed=1).to(torch.float64)
        fit = Fit(stack, [INPUTS], TARGETS, schedule, seed=2)
        train_epoch = fit._train_epoch

        def counted():
            for place in fit.active:
                made[students[place]] += 1
            return train_epoch()

        fit._train_epoch = counted
        return fit

    options = Extraction(num_students=num_students, epochs=epochs)
    students = cohorts.train_cohorts(make_fit, ExtractionTree(folder, "c"), options, RUNNING)
    assert students.stack.num_students == len(students.converged) == num_students
    return students, {student: count for student, count in made.items() if count}


def assert_alike(one, other):
    for first, second in zip(one.stack.tensors(), other.stack.tensors(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-12)
    assert one.converged == other.converged
    key = [(epoch, student) for epoch, student, *_ in sorted(one.rows)]
    assert key == [(epoch, student) for epoch, student, *_ in sorted(other.rows)]


def test_more_epochs_and_more_students_go_on_and_end_where_a_single_request_does(tmp_path):
    whole, _ = trained(tmp_path / "whole", 4, LONG)
    assert all(whole.converged)
    assert len({epoch for epoch, *_ in whole.rows}) > 25  # at several lengths
    first, made = trained(tmp_path / "parts", 2, 7)
    assert made == {0: 7, 1: 7} and not any(first.converged)
    _, made = trained(tmp_path / "parts", 2, 13)
    assert made == {0: 6, 1: 6}
    _, made = trained(tmp_path / "parts", 4, 13)
    assert made == {2: 13, 3: 13}
    parts, made = trained(tmp_path / "parts", 4, LONG)
    assert_alike(parts, whole)
    lengths = {n: max(epoch for epoch, student, *_ in whole.rows if student == n) for n in range(4)}
    assert made == {n: length - 13 for n, length in lengths.items()}
    few, made = trained(tmp_path / "parts", 3, LONG)
    assert not made and few.converged == [True] * 3
    assert_alike(few, trained(tmp_path / "three", 3, LONG)[0])


def test_fewer_epochs_than_were_made_are_those_of_a_single_request(tmp_path):
    trained(tmp_path / "long", 3, 20)
    short, made = trained(tmp_path / "long", 3, 9)
    assert made == {0: 9, 1: 9, 2: 9}
    assert_alike(short, trained(tmp_path / "short", 3, 9)[0])
    assert trained(tmp_path / "long", 3, 9)[1] == trained(tmp_path / "long", 3, 20)[1] == {}


def test_of_a_training_that_was_killed_only_the_requested_students_go_on(tmp_path):
    tree = ExtractionTree(tmp_path / "killed", "c")
    trained(tree.folder, 4, 7)  # as if more had been requested
    few, made = trained(tree.folder, 2, LONG)
    assert sorted(made) == [0, 1]
    assert_alike(few, trained(tmp_path / "few", 2, LONG)[0])
    many, made = trained(tree.folder, 4, LONG)
    assert sorted(made) == [2, 3]
    whole, all_made = trained(tmp_path / "whole", 4, LONG)
    assert made == {student: all_made[student] - 7 for student in (2, 3)}
    assert_alike(many, whole)


def test_a_selected_state_has_what_belongs_to_its_students(tmp_path):
    trained(tmp_path, 4, 30)
    state = files.load_state(ExtractionTree(tmp_path, "c").students_state())
    state["active"] = state["active"] or [1, 3]
    some = cohorts.select_students(state, range(1, 3))
    assert [tensor.shape[0] for tensor in some["tensors"]] == [2] * len(state["tensors"])
    assert {row[1] for row in some["rows"]} == {0, 1}
    assert [row[2] for row in some["rows"]] == [r[2] for r in state["rows"] if r[1] in (1, 2)]
    assert some["plateaus"] == state["plateaus"][1:3]
