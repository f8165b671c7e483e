from isthmus.config import launch


def test_null_switches_a_group_off_as_none_does():
    typed = ["a.py", "averaged=null", "averaged=ema,null", "optimizer.lr=null", "snapshots=null"]
    spelt = ["a.py", "averaged=none", "averaged=ema,none", "optimizer.lr=null", "snapshots=null"]
    assert launch.hydra_arguments(typed) == spelt


def test_a_flag_of_hydra_may_stand_between_overrides():
    typed = ["a.py", "x=1", "--multirun", "y=2,3", "-r", "z=4"]
    assert launch.hydra_arguments(typed) == ["a.py", "--multirun", "-r", "x=1", "y=2,3", "z=4"]
    kept = ["a.py", "-m", "--config-name", "x", "y=1"]  # a flag with a value stays before it
    assert launch.hydra_arguments(kept) == kept


def test_of_several_processes_only_the_first_talks(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert launch.hydra_arguments(["train.py", "x=1"]) == ["train.py", "x=1"]
    monkeypatch.setenv("RANK", "1")
    assert launch.hydra_arguments(["train.py", "x=1"]) == ["train.py", "x=1", *launch.QUIET]
