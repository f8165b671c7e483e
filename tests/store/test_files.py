import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from filelock import FileLock

from isthmus.store import files
from isthmus.store.files import Run


def test_paths_of_a_run_lie_in_its_folder():
    run = Run(Path("a"))
    assert run.weights(100) == Path("a/weights/step_100.safetensors")
    assert run.weights(100, "ema_0.999") == Path("a/weights/step_100.ema_0.999.safetensors")
    assert run.weights("best") == Path("a/weights/best.safetensors")
    assert run.weights("best", "swa") == Path("a/weights/best.swa.safetensors")
    assert run.snapshot_state(100) == Path("a/weights/step_100.state.pt")
    assert [
        path.relative_to("a").as_posix()
        for path in (run.state, run.metrics, run.result, run.predictions)
    ] == ["state.pt", "metrics.csv", "result.json", "predictions.npz"]


def keep(run: Run, *iterations: int) -> None:
    for iteration in iterations:
        files.write_bytes(run.weights(iteration), b"")
        files.write_bytes(run.snapshot_state(iteration), b"")


def test_snapshots_are_the_iterations_with_weights_and_state_in_order(tmp_path):
    run = Run(tmp_path)
    assert run.snapshots() == []
    keep(run, 100, 0, 20)
    files.write_bytes(run.weights(7), b"")  # weights alone
    files.write_bytes(run.weights(100, "ema_0.9"), b"")
    files.write_bytes(run.weights("best"), b"")
    files.write_bytes(run.snapshot_state(8), b"")  # killed between the two files
    assert run.snapshots() == [0, 20, 100]


def test_a_run_without_result_is_not_complete(tmp_path):
    run = Run(tmp_path / "never_started")
    assert run.read_result() is None
    assert not run.is_complete(None)


def test_a_run_with_result_is_complete_once_it_has_the_snapshots_asked_for(tmp_path):
    run = Run(tmp_path)
    files.write_json(run.result, {"iteration": 30, "end": 30, "iterations_per_epoch": 10})
    assert run.is_complete(None)
    assert run.missing_snapshots(["3ep", "1ep", "5it"]) == [5, 10, 30]
    keep(run, 5, 30)
    assert run.missing_snapshots(["3ep", "1ep", "5it"]) == [10]
    assert not run.is_complete("every")
    keep(run, 0, 10, 20)
    assert run.is_complete("every")
    assert run.is_complete([])


def test_a_snapshot_after_the_end_of_a_finished_run_is_refused(tmp_path):
    run = Run(tmp_path)
    files.write_json(run.result, {"iteration": 30, "end": 30, "iterations_per_epoch": 10})
    with pytest.raises(ValueError, match=r"4ep is after the end of training, 3ep \(30 iter"):
        run.is_complete(["4ep"])


def test_a_summary_is_read_as_it_was_written(tmp_path):
    summary = {"iteration": 3, "evaluation": {"plain": {"test": {"loss": 0.1 + 0.2}}}, "x": None}
    run = Run(tmp_path / "deep" / "folder")
    files.write_json(run.result, summary)
    assert run.read_result() == summary
    assert run.result.read_text().endswith("}\n")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    files.write_bytes(tmp_path / "a", b"first")
    files.write_bytes(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"second"
    assert names(tmp_path) == ["a"]


def fill_disk_after(num_bytes: int):
    """A stand-in for `Path.write_bytes` on a disk with so much space left."""

    def write(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:num_bytes])
        raise OSError(28, "No space left on device")

    return write


@pytest.mark.parametrize("num_bytes", [0, 3])
def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, num_bytes):
    path = tmp_path / "state.pt"
    files.write_bytes(path, b"first")
    monkeypatch.setattr(Path, "write_bytes", fill_disk_after(num_bytes))
    with pytest.raises(OSError, match="No space left on device") as failure:
        files.write_bytes(path, b"second")
    assert (failure.value.errno, failure.value.filename) == (28, str(path))
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["state.pt"]


def test_a_failure_to_replace_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "some temporary name")

    path = tmp_path / "state.pt"
    files.write_bytes(path, b"first")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Permission denied") as failure:
        files.write_bytes(path, b"second")
    assert failure.value.filename == str(path)
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["state.pt"]


def test_an_interrupted_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    def interrupt(path: Path, content: bytes) -> None:
        path.open("wb").close()
        raise KeyboardInterrupt

    path = tmp_path / "state.pt"
    files.write_bytes(path, b"first")
    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(path, b"second")
    monkeypatch.undo()
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["state.pt"]


def test_a_file_in_the_place_of_a_folder_is_an_error_that_names_the_path(tmp_path):
    (tmp_path / "outputs").write_text("")
    path = tmp_path / "outputs" / "a" / "result.json"
    with pytest.raises(OSError) as failure:
        files.write_json(path, {})
    assert failure.value.filename == str(path)


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 2, 2, generator=generator),
        "bn.num_batches_tracked": torch.tensor(3),
        "half": torch.randn(5, generator=generator).bfloat16(),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }


METADATA = {"config": {"model": {"width": [3, 4], "lr": 0.1 + 0.2}}, "kind": "plain", "none": None}


def test_weights_and_metadata_are_loaded_as_they_were_saved(tmp_path):
    path = tmp_path / "weights" / "step_1.safetensors"
    files.save_weights(path, weights(), METADATA)
    loaded, metadata = files.load_weights(path)
    torch.testing.assert_close(loaded, weights(), rtol=0, atol=0)
    assert metadata == METADATA


def test_another_program_can_read_the_weights(tmp_path):
    path = tmp_path / "step_1.safetensors"
    files.save_weights(path, weights(), METADATA)
    torch.testing.assert_close(safetensors.torch.load_file(path), weights(), rtol=0, atol=0)


def test_equal_weights_are_equal_files(tmp_path):
    def saved(state_dict, metadata):
        files.save_weights(tmp_path / "a.safetensors", state_dict, metadata)
        return (tmp_path / "a.safetensors").read_bytes()

    plain = weights()
    backwards = {name: plain[name] for name in reversed(plain)}
    channels_last = plain | {
        "conv.weight": plain["conv.weight"].to(memory_format=torch.channels_last)
    }
    parameter = plain | {"conv.weight": torch.nn.Parameter(plain["conv.weight"])}
    expected = saved(plain, METADATA)
    assert saved(backwards, {key: METADATA[key] for key in reversed(METADATA)}) == expected
    assert saved(channels_last, METADATA) == expected
    assert saved(parameter, METADATA) == expected
    assert saved(plain | {"mask": torch.tensor([True, True])}, METADATA) != expected


def test_tensors_in_any_memory_layout_are_loaded_with_equal_values(tmp_path):
    base = torch.arange(24.0).reshape(2, 3, 2, 2)
    views = {
        "channels_last": base.to(memory_format=torch.channels_last),
        "transposed": base.flatten(1).T,
        "strided": base[:, ::2],
        "expanded": torch.ones(1).expand(3),
    }
    files.save_weights(tmp_path / "a.safetensors", views, {})
    loaded, _ = files.load_weights(tmp_path / "a.safetensors")
    torch.testing.assert_close(loaded, views, rtol=0, atol=0, check_stride=False)


def test_tensors_that_share_memory_are_loaded_each_with_its_own(tmp_path):
    tied = torch.arange(6.0)
    files.save_weights(tmp_path / "a.safetensors", {"a": tied, "b": tied, "part": tied[2:]}, {})
    loaded, _ = files.load_weights(tmp_path / "a.safetensors")
    loaded["a"].zero_()
    assert torch.equal(loaded["b"], tied)
    assert torch.equal(loaded["part"], tied[2:])


def test_saving_leaves_the_weights_alone(tmp_path):
    tensor = torch.nn.Parameter(torch.ones(3))
    files.save_weights(tmp_path / "a.safetensors", {"a": tensor}, {})
    assert tensor.requires_grad
    assert torch.equal(tensor, torch.ones(3))


def test_missing_weights_are_refused_with_those_that_are_there(tmp_path):
    run = Run(tmp_path)
    for path in (run.weights(100), run.weights(20), run.weights(100, "swa"), run.state):
        files.write_bytes(path, b"")
    with pytest.raises(FileNotFoundError) as refusal:
        files.load_weights(run.weights(70))
    assert str(refusal.value) == (
        f"no checkpoint {run.weights(70)}; that folder has step_20, step_100, step_100.swa"
    )


def test_missing_weights_in_an_empty_or_missing_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*a\.safetensors; .* no weights$"):
        files.load_weights(tmp_path / "a.safetensors")
    missing = tmp_path / "nowhere" / "a.safetensors"
    with pytest.raises(FileNotFoundError, match=f"there is no folder {missing.parent}$"):
        files.load_weights(missing)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        files.load_weights(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_weights_that_were_cut_off_are_refused(tmp_path, kept):
    path = tmp_path / "a.safetensors"
    files.save_weights(path, weights(), METADATA)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=f"{path} is not a whole safetensors file: "):
        files.load_weights(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_of_another_program_are_refused(tmp_path, metadata):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.ones(1)}, path, metadata)
    with pytest.raises(ValueError, match=f"{path} does not say how to rebuild its model"):
        files.load_weights(path)


def test_state_is_loaded_as_it_was_saved(tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    optimizer.param_groups[0]["params"][0].sum().backward()
    optimizer.step()
    state = {
        "model": weights(),
        "optimizer": optimizer.state_dict(),
        "generator": torch.Generator().manual_seed(3).get_state(),
        "best": {"loss": 0.1 + 0.2, "iteration": None},
        "history": [1, "a", True],
    }
    files.save_state(tmp_path / "run" / "state.pt", state)
    loaded = files.load_state(tmp_path / "run" / "state.pt")
    torch.testing.assert_close(loaded.pop("model"), state.pop("model"), rtol=0, atol=0)
    assert torch.equal(loaded.pop("generator"), state.pop("generator"))
    momentum = loaded["optimizer"]["state"].pop(0)["momentum_buffer"]
    assert torch.equal(momentum, state["optimizer"]["state"].pop(0)["momentum_buffer"])
    assert loaded == state


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"hello",
        lambda content: b"ccccccc",
        lambda content: content[:100],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"\0" * len(content),
    ],
)
def test_damaged_state_is_refused_with_what_to_do(tmp_path, damage):
    path = tmp_path / "state.pt"
    files.save_state(path, {"model": weights()})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path} is damaged \(.+\); remove it to start over$"):
        files.load_state(path)


def test_state_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"model": Trap()}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="is damaged"):
        files.load_state(tmp_path / "state.pt")
    assert not (tmp_path / "sprung").exists()


def test_missing_state_is_no_damaged_state(tmp_path):
    with pytest.raises(FileNotFoundError, match="state.pt"):
        files.load_state(tmp_path / "state.pt")


def test_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    files.save_state(path, {"iteration": 1})
    monkeypatch.setattr(Path, "write_bytes", fill_disk_after(10))
    with pytest.raises(OSError, match="No space left on device"):
        files.save_state(path, {"iteration": 2})
    assert files.load_state(path) == {"iteration": 1}


def test_a_failed_job_lets_go(tmp_path):
    with pytest.raises(ValueError, match="of the job"), Run(tmp_path).lock():
        raise ValueError("of the job")
    with FileLock(tmp_path / "run.lock", timeout=0):
        pass


def test_whoever_holds_a_run_first_removes_what_a_killed_job_left(tmp_path):
    run = Run(tmp_path)
    keep(run, 3)
    (tmp_path / ".state.pt.123.tmp").write_bytes(b"half")
    (tmp_path / "weights" / ".step_3.safetensors.123.tmp").write_bytes(b"half")
    (tmp_path / "notes.tmp").write_text("not ours")
    (tmp_path / "child" / "weights").mkdir(parents=True)
    (tmp_path / "child" / "weights" / ".step_3.safetensors.123.tmp").write_bytes(b"in work")
    (tmp_path / ".hydra").mkdir()
    with run.lock():
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {
        ".hydra",
        "child",
        "child/weights",
        "child/weights/.step_3.safetensors.123.tmp",  # another run, which another job may hold
        "notes.tmp",
        "run.lock",
        "weights",
        "weights/step_3.safetensors",
        "weights/step_3.state.pt",
    }


def test_a_summary_is_json_that_anything_can_read(tmp_path):
    files.write_json(tmp_path / "result.json", {"b": 1, "a": [1.5]})
    assert json.loads((tmp_path / "result.json").read_text()) == {"b": 1, "a": [1.5]}


def summarize(run: Run, iteration: int, end: int) -> None:
    """A summary with what tells how far a run is."""
    summary = {"iteration": iteration, "end": end, "iterations_per_epoch": 10}
    files.write_json(run.result, summary | {"stopped_early": iteration < end})


def test_a_run_has_reached_what_it_was_trained_to(tmp_path):
    run = Run(tmp_path)
    assert not run.has_reached(None)
    assert not run.has_reached(0)
    summarize(run, 30, 30)
    assert run.has_reached(None)
    assert [run.has_reached(end) for end in (0, 29, 30, 31)] == [True, True, True, False]


def test_a_run_that_stopped_early_goes_no_further(tmp_path):
    run = Run(tmp_path)
    summarize(run, 20, 30)
    assert run.has_reached(30)
    assert run.has_reached(300)


def test_a_run_that_is_trained_on_is_complete_when_it_has_reached_the_new_end(tmp_path):
    run = Run(tmp_path)
    summarize(run, 30, 30)
    keep(run, 10, 30)
    assert run.is_complete(["1ep", "3ep"], 30)
    assert not run.is_complete(["1ep", "3ep"], 40)
    assert run.is_complete(["1ep", "3ep"], 20)  # it has been there


def test_snapshots_may_be_asked_for_up_to_a_later_end(tmp_path):
    run = Run(tmp_path)
    summarize(run, 30, 30)
    keep(run, 10)
    assert run.missing_snapshots(["1ep", "2ep"], 50) == [20]
    assert run.missing_snapshots(["1ep", "5ep"], 50) == []  # not reached, so not to be replayed
    assert run.missing_snapshots(["3ep"], 10) == [30]  # an earlier end takes nothing back
    assert run.missing_snapshots("every", 50) == [0, 20, 30]
    with pytest.raises(ValueError, match=r"6ep is after the end of training, 5ep"):
        run.missing_snapshots(["6ep"], 50)


def test_kept_models_are_those_of_one_iteration_the_plain_one_first(tmp_path):
    run = Run(tmp_path)
    assert run.kept_models(5) == []
    for iteration, model in ((5, "swa"), (5, "plain"), (5, "ema_0.9"), (50, "other")):
        files.write_bytes(run.weights(iteration, model), b"")
    for other in (run.snapshot_state(5), run.weights("best"), run.weights("back_all_step_5")):
        files.write_bytes(other, b"")
    files.write_bytes(run.weights("back_all_step_5", "latest"), b"")
    assert run.kept_models(5) == ["plain", "ema_0.9", "swa"]
    assert run.kept_models(50) == ["other"]


def test_events_of_all_runs_are_in_one_folder_under_their_titles(tmp_path):
    run = Run(tmp_path / "outputs" / "train_0123456789" / "seed_1")
    folder = tmp_path / "outputs" / "tensorboard"
    assert run.tensorboard("lr0.1") == folder / "lr0.1-seed_1-0123456789"
    run.tensorboard("lr0.1").mkdir(parents=True)
    assert run.tensorboard("lr0.1_MLP") == run.tensorboard("") == run.tensorboard("lr0.1")
    child = Run(
        tmp_path / "outputs" / "spawn_0123456789" / "seed_2" / "children" / "1ep" / "seed_1"
    )
    assert child.tensorboard("") == folder / "seed_2-children-1ep-seed_1-0123456789"
    assert (
        Run(tmp_path / "mine").tensorboard("lr0.1") == tmp_path / "mine" / "tensorboard" / "lr0.1"
    )
