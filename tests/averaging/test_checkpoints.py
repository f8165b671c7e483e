import pytest
import torch

from isthmus.averaging import checkpoints
from isthmus.averaging.options import Average
from isthmus.store.files import save_weights


def test_files_of_a_glob_are_sorted_with_numbers_by_their_value(tmp_path):
    names = [f"step_{i}.safetensors" for i in (3, 20, 100)]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "step_7.safetensors").mkdir()
    first = str(tmp_path / names[0])
    found = checkpoints.find_files([f"{tmp_path}/step_*.safetensors", first], None, None)
    assert [path.name for path in found] == [*names, names[0]]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    file = tmp_path / "a[1].safetensors"
    file.touch()
    assert checkpoints.find_files([str(file)], None, None) == [file]


def test_the_latest_are_the_last_in_the_order_given(tmp_path):
    files = [tmp_path / name for name in "cab"]
    assert checkpoints.select_files(files, Average(method="latest", num=2)) == files[1:]


def write_kinds(folder, **kinds):
    for name, kind in kinds.items():
        save_weights(folder / f"{name}.safetensors", {"w": torch.zeros(1)}, {"kind": kind})


def test_folders_of_a_glob_are_sorted_with_numbers_by_their_value(tmp_path):
    for seed in (10, 2, 1):
        (tmp_path / f"seed_{seed}").mkdir()
        (tmp_path / f"seed_{seed}" / "best.safetensors").touch()
    found = checkpoints.find_files([f"{tmp_path}/seed_*/best.safetensors"], None, None)
    assert [path.parent.name for path in found] == ["seed_1", "seed_2", "seed_10"]


def test_weights_of_one_kind_are_taken_and_several_kinds_are_said(tmp_path):
    write_kinds(tmp_path, step_1="plain", step_2="ema_0.9", step_3="plain")
    glob = [f"{tmp_path}/step_*.safetensors"]
    files = checkpoints.find_files(glob, None, None)
    message = checkpoints.kinds_message(files, None)
    assert "2 plain, 1 ema_0.9" in message and "kind=plain" in message
    averaged = checkpoints.find_files(glob, None, None, "ema_0.9")
    assert [file.stem for file in averaged] == ["step_2"]
    assert "kind=" not in checkpoints.kinds_message(averaged, "ema_0.9")
    with pytest.raises(ValueError, match="kind=swa: .*2 plain, 1 ema_0.9"):
        checkpoints.find_files(glob, None, None, "swa")


def test_steps_of_a_run_can_be_those_of_an_averaged_model(tmp_path):
    (tmp_path / "weights").mkdir()
    for name in ("step_20", "step_100", "step_20.ema_0.9", "step_100.ema_0.9"):
        (tmp_path / "weights" / f"{name}.safetensors").touch()
    found = checkpoints.find_files(None, str(tmp_path), None, "ema_0.9")
    assert [file.name for file in found] == [
        "step_20.ema_0.9.safetensors",
        "step_100.ema_0.9.safetensors",
    ]


def test_a_soup_says_what_it_kept():
    parts = [{"checkpoint": "a", "kept": True}, {"checkpoint": "b", "kept": False}]
    message = checkpoints.kept_message(parts)
    assert "1 of 2" in message and message.endswith(" a")
