from src import config, runs
from src.connectivity import kept_lines, line_tables, records
from src.connectivity.records import Pair, Records, Request
from src.models.mlp import MLP
from tests.connectivity import small


def test_what_another_job_has_measured_meanwhile_is_kept(tmp_path, monkeypatch):
    def build():
        return MLP((2, 4, 4), 3, [8, 5])

    ends = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for seed, file in enumerate(ends):
        runs.save_weights(file, small.make(build, seed).state_dict(), {})

    def measure(folder, split):
        request = Request(alphas=3, splits=[split])
        evaluator = small.evaluator(build())
        kept_lines.measure(runs.Run(folder), evaluator, request, [(None, None, ends)])

    original, interrupted = kept_lines.measured, []

    def measured(*arguments):
        line = original(*arguments)
        if not interrupted:
            interrupted.append(True)
            measure(tmp_path / "run", "test")
        return line

    with monkeypatch.context() as patch:
        patch.setattr(kept_lines, "measured", measured)
        measure(tmp_path / "run", "train")
    for split in ("train", "test"):
        measure(tmp_path / "one_by_one", split)
    for name in line_tables.COLUMNS:
        first, second = (
            line_tables.path(tmp_path / f, name).read_bytes() for f in ("run", "one_by_one")
        )
        assert first == second
    (line,) = Records(tmp_path / "run").read(None)["lines"]
    assert line["networks"] == [config.shown(file) for file in ends]


def test_a_line_between_two_children_says_which(tmp_path):
    def build():
        return MLP((2, 4, 4), 3, [8, 5])

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
