import csv
import threading

from isthmus.config import launch
from isthmus.connectivity import line as connectivity_line
from isthmus.connectivity import line_tables, plan
from isthmus.connectivity.plan import BranchPair, LineRecords, LineRequest
from isthmus.models.mlp import MLP
from isthmus.store import files as store_files
from tests.connectivity import small


def build():
    return MLP((2, 4, 4), 3, [8, 5])


def saved(folder, *seeds):
    files = [folder / f"{seed}.safetensors" for seed in seeds]
    for seed, file in zip(seeds, files, strict=True):
        store_files.save_weights(file, small.make(build, seed).state_dict(), {})
    return files


def test_a_line_that_another_job_measures_is_waited_for_and_not_measured_again(
    tmp_path, monkeypatch
):
    ends, folder, request = saved(tmp_path, 0, 1), tmp_path / "run", LineRequest(alphas=3)
    measured_lines, begun, go_on = [], threading.Event(), threading.Event()

    def measured(*arguments):
        measured_lines.append(threading.current_thread().name)
        begun.set()
        assert go_on.wait(timeout=60)
        return original(*arguments)

    def measure():
        connectivity_line.measure_missing_lines(
            store_files.Run(folder), small.evaluator(build()), request, [(None, 2, ends)]
        )

    original = connectivity_line.measure_line
    monkeypatch.setattr(connectivity_line, "measure_line", measured)
    jobs = [threading.Thread(target=measure, name=name) for name in ("first", "second")]
    jobs[0].start()
    assert begun.wait(timeout=60)
    jobs[1].start()
    jobs[1].join(timeout=1)
    assert jobs[1].is_alive()  # it waits
    go_on.set()
    for job in jobs:
        job.join()
    assert measured_lines == ["first"]
    assert LineRecords(folder).has([(None, 2)], request)
    (line,) = LineRecords(folder).read(None)["lines"]
    assert line["networks"] == [launch.display_path(file) for file in ends]


def test_tables_of_the_study_hold_the_lines_of_all_main_branches(tmp_path):
    ends, request = saved(tmp_path, 0, 1), LineRequest(alphas=3, splits=["test"])
    pair = BranchPair(3, 6, 3)
    for seed in (1, 2):
        run = store_files.Run(tmp_path / "study" / f"seed_{seed}")
        connectivity_line.measure_missing_lines(
            run, small.evaluator(build()), request, [(pair, 5, ends)]
        )
        assert LineRecords(run.folder).has([(pair, 5)], request)
    for name in ("lines", "barriers"):
        with line_tables.table_path(tmp_path / "study", name).open(newline="") as file:
            assert {row["global_seed"] for row in csv.DictReader(file)} == {"1", "2"}
    content = LineRecords(tmp_path / "study" / "seed_1").read(pair)
    assert content["num_classes"] == 3


def test_a_line_between_two_children_says_which(tmp_path):
    files = {seed: tmp_path / f"{seed}.safetensors" for seed in (2, 10, 3)}
    for seed, file in files.items():
        store_files.save_weights(file, small.make(build, seed).state_dict(), {})
    pair, request = BranchPair(3, 6, 3), LineRequest(alphas=3, splits=["train"])
    lines = [
        (pair, name, [files[start], files[end]])
        for name, (start, end) in plan.seed_pairs(list(files)).items()
    ]
    store, run = LineRecords(tmp_path / "run"), store_files.Run(tmp_path / "run")
    connectivity_line.measure_missing_lines(run, small.evaluator(build()), request, lines[:2])
    assert store.has([line[:2] for line in lines[:2]], request)
    assert not store.has([line[:2] for line in lines], request)
    connectivity_line.measure_missing_lines(run, small.evaluator(build()), request, lines[::-1])
    assert store.has([line[:2] for line in lines], request)
    found = store.read(pair)["lines"]
    assert [line["child_seed"] for line in found] == ["2-3", "2-10", "3-10"]
    assert found[1]["networks"] == [launch.display_path(files[seed]) for seed in (2, 10)]
    ends = [line["curves"]["train"]["loss"] for line in found]
    assert ends[0][0] == ends[1][0] and ends[0][-1] == ends[2][0] and ends[1][-1] == ends[2][-1]
