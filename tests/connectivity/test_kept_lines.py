import csv
import threading

from isthmus import config, runs
from isthmus.connectivity import kept_lines, line_tables, records
from isthmus.connectivity.records import Pair, Records, Request
from isthmus.models.mlp import MLP
from tests.connectivity import small


def build():
    return MLP((2, 4, 4), 3, [8, 5])


def saved(folder, *seeds):
    files = [folder / f"{seed}.safetensors" for seed in seeds]
    for seed, file in zip(seeds, files, strict=True):
        runs.save_weights(file, small.make(build, seed).state_dict(), {})
    return files


def test_a_line_that_another_job_measures_is_waited_for_and_not_measured_again(
    tmp_path, monkeypatch
):
    ends, folder, request = saved(tmp_path, 0, 1), tmp_path / "run", Request(alphas=3)
    measured_lines, begun, go_on = [], threading.Event(), threading.Event()

    def measured(*arguments):
        measured_lines.append(threading.current_thread().name)
        begun.set()
        assert go_on.wait(timeout=60)
        return original(*arguments)

    def measure():
        kept_lines.measure(runs.Run(folder), small.evaluator(build()), request, [(None, 2, ends)])

    original = kept_lines.measured
    monkeypatch.setattr(kept_lines, "measured", measured)
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
    assert Records(folder).has([(None, 2)], request)
    (line,) = Records(folder).read(None)["lines"]
    assert line["networks"] == [config.shown(file) for file in ends]


def test_tables_of_the_study_hold_the_lines_of_all_main_branches(tmp_path):
    ends, request = saved(tmp_path, 0, 1), Request(alphas=3, splits=["test"])
    pair = Pair(3, 6, 3)
    for seed in (1, 2):
        run = runs.Run(tmp_path / "study" / f"seed_{seed}")
        kept_lines.measure(run, small.evaluator(build()), request, [(pair, 5, ends)])
        assert Records(run.folder).has([(pair, 5)], request)
    for name in ("lines", "barriers"):
        with line_tables.path(tmp_path / "study", name).open(newline="") as file:
            assert {row["global_seed"] for row in csv.DictReader(file)} == {"1", "2"}
    content = Records(tmp_path / "study" / "seed_1").read(pair)
    assert content["num_classes"] == 3


def test_a_line_between_two_children_says_which(tmp_path):
    files = {seed: tmp_path / f"{seed}.safetensors" for seed in (2, 10, 3)}
    for seed, file in files.items():
        runs.save_weights(file, small.make(build, seed).state_dict(), {})
    pair, request = Pair(3, 6, 3), Request(alphas=3, splits=["train"])
    lines = [
        (pair, name, [files[start], files[end]])
        for name, (start, end) in records.between(list(files)).items()
    ]
    store, run = Records(tmp_path / "run"), runs.Run(tmp_path / "run")
    kept_lines.measure(run, small.evaluator(build()), request, lines[:2])
    assert store.has([line[:2] for line in lines[:2]], request)
    assert not store.has([line[:2] for line in lines], request)
    kept_lines.measure(run, small.evaluator(build()), request, lines[::-1])
    assert store.has([line[:2] for line in lines], request)
    found = store.read(pair)["lines"]
    assert [line["child_seed"] for line in found] == ["2-3", "2-10", "3-10"]
    assert found[1]["networks"] == [config.shown(files[seed]) for seed in (2, 10)]
    ends = [line["curves"]["train"]["loss"] for line in found]
    assert ends[0][0] == ends[1][0] and ends[0][-1] == ends[2][0] and ends[1][-1] == ends[2][-1]
