import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from isthmus.branching.options import Spawn
from isthmus.config import launch, naming
from isthmus.config.launch import ConfigError
from isthmus.connectivity.options import Interpolate, InterpolateBranches, InterpolateLine
from isthmus.training.options import StreamSeeds, Train, TrainScript
from isthmus.training.recipe import Recipe
from tests import scripts


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


ROOT = Path(__file__).parents[2]
CONF = ROOT.resolve() / "conf"

FILES = {
    "train.yaml": """
defaults:
  - train_schema
  - _self_
  - dataset: digits
  - model: mlp
  - optimizer: sgd
  - scheduler: constant
  - averaged: ema
dataset:
  root: data
model:
  init: orthogonal
hydra:
  run:
    dir: ${run_dir:train}
  sweep:
    dir: ${output_dir}/sweep
    subdir: ${absolute:${run_dir:train}}
""",
    "eval.yaml": """
defaults: [eval_schema, _self_]
dataset:
  root: data
hydra:
  run:
    dir: ${run_dir:eval}
""",
    "interpolate.yaml": """
defaults:
  - interpolate_schema
  - _self_
  - dataset: digits
  - model: mlp
  - optimizer: sgd
  - scheduler: constant
dataset:
  root: data
hydra:
  run:
    dir: ${run_dir:interpolate}
""",
    "dataset/digits.yaml": "_target_: isthmus.data.digits.Digits\nval_fraction: 0.2",
    "model/mlp.yaml": "_target_: isthmus.models.mlp.MLP\n_partial_: true\nwidth: [3]",
    "optimizer/sgd.yaml": "_target_: isthmus.training.optimizers.sgd\nlr: 0.1",
    "scheduler/constant.yaml": "_target_: isthmus.training.schedulers.Constant",
    "averaged/ema.yaml": "_target_: isthmus.averaging.ema.EMA\ndecay: 0.9",
    "averaged/none.yaml": "# @package _global_\naveraged: null",
}

SCRIPT = """
import hydra
from isthmus import paths
from isthmus.config import launch

@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg):
    with launch.job(cfg):
        print("ran in", paths.display_path(launch.job_folder()))

main()
"""


@pytest.fixture(scope="module")
def conf(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scripts") / "conf"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder.parent / "script.py").write_text(SCRIPT)
    return folder


@pytest.fixture
def composed(conf, tmp_path, monkeypatch):
    """A function that makes a script's configuration, as in a job started from an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)

    def make(*overrides: str, script: str = "train") -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(conf), version_base="1.3"):
            full = compose(script, list(overrides), return_hydra_config=True)
        with open_dict(full):
            full.hydra.runtime.output_dir = str(tmp_path / full.hydra.run.dir)
        HydraConfig.instance().set_config(full)
        return OmegaConf.masked_copy(full, [key for key in full if key != "hydra"])

    return make


def leave_traces(*names: str) -> Path:
    """Make the folder of the job, with files as Hydra and the job would leave them."""
    folder = launch.job_folder()
    for name in (".hydra/config.yaml", "train.log", *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def refusal(cfg: DictConfig) -> list[str]:
    """The lines with which a configuration is refused."""
    with pytest.raises(ConfigError) as error:
        launch.check(cfg)
    first, *lines = str(error.value).splitlines()
    assert first == "This configuration cannot run:"
    return [line.removeprefix("  ") for line in lines]


def test_a_configuration_that_can_run_passes(composed):
    launch.check(composed())
    launch.check(composed("averaged=none", "snapshots=every", "model.width=4", "hparams.steps=3it"))
    launch.check(composed("checkpoint=a.safetensors", script="eval"))


def test_everything_wrong_is_refused_at_once(composed):
    cfg = composed("+model.widht=3", "hparams.epochs=ten", "optimizer.lr=null", "+extra=1")
    extra, *others = refusal(cfg)
    assert extra.startswith("extra: no such option; there are dataset, model, optimizer, ")
    assert others == [
        "model.widht=3: no such option; model takes activation, bias, bn_init, depth, freeze, "
        "freeze_exceptions, init, width; did you mean model.width?",
        "optimizer.lr=null: must be a number above 0",
        "hparams.epochs=ten: must be a whole number",
    ]


def test_an_unknown_value_needs_no_plus_to_be_refused_with_what_there_is(composed):
    cfg = composed("hparams.epoch=3", "model.widht=3", "seeds.init=1", "runtime.gpu=0")
    assert [line.partition(":")[0] for line in refusal(cfg)] == [
        "model.widht=3",
        "hparams.epoch=3",
        "seeds.init=1",
        "runtime.gpu=0",
    ]


def test_a_missing_value_is_named(composed):
    assert refusal(composed(script="eval")) == ["checkpoint: needs a value, checkpoint=..."]


def test_a_section_that_is_no_section_is_refused_and_has_a_folder_all_the_same(composed):
    (line,) = refusal(composed("hparams=null"))
    assert line.startswith("hparams=null: must have epochs, ")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("model.depth: must be 6n+2, got 7"), "model.depth: must be 6n+2, got 7"),
        (FloatingPointError("loss is nan at 3it"), "loss is nan at 3it"),
        (
            OSError(28, "No space left on device", "a/state.pt"),
            "No space left on device: a/state.pt",
        ),
        (PermissionError(13, "Permission denied", "a"), "Permission denied: a"),
        (OSError(12, "Cannot allocate memory"), "Cannot allocate memory"),
        (FileNotFoundError("no checkpoint a; b has c"), "no checkpoint a; b has c"),
    ],
)
def test_an_error_that_the_user_can_mend_is_one_message(composed, error, text):
    with pytest.raises(ConfigError) as shown, launch.job(composed()):
        raise error
    assert str(shown.value) == text
    assert shown.value.__cause__ is error


def test_an_error_of_the_code_stays_what_it_is(composed):
    with pytest.raises(TypeError, match="unexpected"), launch.job(composed()):
        raise TypeError("unexpected")


def test_a_refused_job_does_no_work_and_leaves_no_folder(composed):
    cfg = composed("hparams.epochs=0")
    folder = leave_traces()
    with pytest.raises(ConfigError, match="hparams.epochs=0: must be positive"), launch.job(cfg):
        pytest.fail("worked")
    assert not folder.exists()
    assert not folder.parent.exists()
    assert folder.parent.parent.name == "outputs"


def test_a_job_that_failed_before_it_wrote_anything_leaves_no_folder(composed):
    cfg = composed()
    folder = leave_traces("run.lock")
    (folder.parent / "seed_7").mkdir()
    with pytest.raises(ConfigError), launch.job(cfg):
        raise ValueError("no")
    assert not folder.exists()
    assert [path.name for path in folder.parent.iterdir()] == ["seed_7"]


@pytest.mark.parametrize("name", ["state.pt", "weights/step_0.safetensors", "metrics.csv"])
def test_the_folder_of_a_job_that_computed_something_stays(composed, name):
    cfg = composed()
    folder = leave_traces(name)
    with pytest.raises(ConfigError), launch.job(cfg):
        raise ValueError("no")
    assert (folder / name).exists()
    assert (folder / ".hydra" / "config.yaml").exists()


def test_a_job_without_a_folder_can_fail(composed):
    with pytest.raises(ConfigError, match="^no$"), launch.job(composed()):
        raise ValueError("no")


def test_a_job_that_ends_well_keeps_its_folder(composed):
    cfg = composed()
    folder = leave_traces()
    with launch.job(cfg):
        pass
    assert folder.exists()


def run_dir() -> str:
    return HydraConfig.get().run.dir


def test_the_folder_is_named_by_what_is_computed_and_by_the_seed(composed):
    cfg = composed("global_seed=7", "output_dir=elsewhere")
    name = naming.run_name(launch.option_values(cfg, TrainScript), TrainScript)
    assert run_dir() == f"elsewhere/train_{name}/seed_7"
    assert HydraConfig.get().sweep.subdir == os.path.abspath(run_dir())
    composed("checkpoint=a.safetensors", script="eval")
    assert re.fullmatch(r"outputs/eval_[0-9a-f]{10}", run_dir())


def test_values_on_the_command_line_rename_the_folder_if_they_change_the_result(composed):
    composed()
    plain = run_dir()
    composed("runtime.device=cuda", "dataset.root=/data", "snapshots=[1ep]", "averaged.bn=average")
    assert run_dir() == plain
    composed("optimizer.lr=0.2")
    assert run_dir() != plain


def test_editing_a_yaml_value_renames_the_folder(composed, conf):
    composed()
    before, file = run_dir(), conf / "optimizer" / "sgd.yaml"
    try:
        file.write_text(FILES["optimizer/sgd.yaml"].replace("0.1", "0.05"))
        composed()
        assert run_dir() != before
    finally:
        file.write_text(FILES["optimizer/sgd.yaml"])
    composed()
    assert run_dir() == before


def interpolated(composed, *overrides: str) -> tuple[type, dict, str]:
    """What is to be done, with which values, and the name of its folder without the seed."""
    cfg = composed(*overrides, script="interpolate")
    mode = naming.choose_mode(Interpolate, cfg)
    return mode, launch.option_values(cfg, mode), run_dir()


def test_a_script_that_does_several_things_has_the_values_and_the_folder_of_one(composed):
    mode, values, folder = interpolated(composed, "k1=1", "k2=2", "global_seed=7")
    assert (mode, values["k1"], values["hparams"]["epochs"]) == (InterpolateBranches, 1, 180)
    assert "start" not in values
    name = naming.run_name(values, Spawn)
    assert folder == f"outputs/interpolate_{name}/seed_7"
    mode, values, folder = interpolated(composed, "start=a", "end=b")
    assert mode is InterpolateLine
    assert "k1" not in values and "model" not in values
    assert folder == f"outputs/interpolate_{naming.run_name(values, mode)}"


def test_saved_networks_are_evaluated_on_their_own_data_unless_other_data_was_typed(composed):
    ends = ["start=a", "end=b"]
    _, plain, folder = interpolated(composed, *ends)
    assert (plain["dataset"], plain["precision"]) == ({"root": "data"}, None)
    _, moved, same = interpolated(composed, *ends, "dataset.root=/data")
    assert (moved["dataset"], same) == ({"root": "/data"}, folder)
    _, other, another = interpolated(composed, *ends, "dataset=digits", "precision=fp32")
    assert other["dataset"]["_target_"] == "isthmus.data.digits.Digits"
    assert other["precision"] == "fp32"
    assert another != folder


def test_saved_networks_name_the_folder_by_their_contents(composed, tmp_path):
    for name, text in (("a", "first"), ("b", "second"), ("moved", "first")):
        (tmp_path / name).write_text(text)
    plain = interpolated(composed, "start=a", "end=b")[2]
    assert interpolated(composed, "start=moved", "end=b")[2] == plain
    assert interpolated(composed, f"start={tmp_path}/a", "end=b")[2] == plain
    assert interpolated(composed, "start=b", "end=a")[2] != plain
    (tmp_path / "b").write_text("third")
    assert interpolated(composed, "start=a", "end=b")[2] != plain


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        ([], ["k1=... and k2=..., or start=... and end=..., or plane=... says what to do; --help "
              "says what each means"]),
        (["k1=1"], ["k2: needs a value, k2=..."]),
        (["start=a"], ["end: needs a value, end=..."]),
        (["plane=[a,b]"], ["plane=[a,b]: must be three files of weights, got 2"]),
        (["plane=[a,b,c]", "bn=repair"], ["bn=repair: must be one of reset, average, keep"]),
        (["k1=1", "k2=0", "alphas=1"], [
            "k2=0: must be positive; at k1 all branches are one network",
            "alphas=1: must be at least 2, both ends",
        ]),
    ],
)  # fmt: skip
def test_a_thing_that_cannot_be_done_is_refused(composed, overrides, lines):
    assert sorted(refusal(composed(*overrides, script="interpolate"))) == sorted(lines)


def test_options_of_another_thing_are_refused_if_they_were_typed(composed):
    ends = ["start=a", "end=b"]
    errors = refusal(composed(*ends, "k1=1", "model.width=3", script="interpolate"))
    assert [line.split(",")[0] for line in errors] == [
        "k1: not with start and end",
        "model: not with start and end",
    ]
    launch.check(composed(*ends, script="interpolate"))


def test_values_are_plain_and_resolved_and_of_the_schema_alone(composed):
    cfg = composed("optimizer.lr=${averaged.decay}", "+extra=1", "precision=???")
    values = launch.option_values(cfg, Train)
    assert values["optimizer"] == {"_target_": "isthmus.training.optimizers.sgd", "lr": 0.9}
    assert type(values["model"]["width"]) is list
    assert values["precision"] == "???"
    assert "extra" not in values


def test_plain_turns_nodes_into_python_and_leaves_the_rest():
    node = OmegaConf.create({"a": [1, "${b}"], "b": 2})
    assert launch.to_container(node) == {"a": [1, 2], "b": 2}
    assert type(launch.to_container(node.a)) is list
    assert launch.to_container(3) == 3
    assert launch.to_container(None) is None


def recipe(cfg):
    return Recipe.from_options(launch.check(cfg))


def test_a_part_is_made_from_what_the_script_supplies_and_its_own_values(composed):
    model = recipe(composed("model.depth=1")).model((2, 2), 5)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "hidden.0.weight": (3, 4),
        "hidden.0.bias": (3,),
        "output.weight": (5, 3),
        "output.bias": (5,),
    }


@pytest.mark.parametrize(
    "overrides", [["averaged=none"], ["averaged=none", "+averaged={decay: 0}"]]
)
def test_a_part_that_is_off_is_none(composed, overrides):
    assert recipe(composed(*overrides)).averages is None


def test_each_call_makes_another_part(composed):
    make = recipe(composed()).model
    assert make((4,), 2) is not make((4,), 2)


def test_an_error_of_a_part_is_led_by_its_group(composed):
    make = recipe(composed("model.depth=2")).model
    with pytest.raises(ValueError, match=r"^model\.depth: must be null or 1, the length of width"):
        make((4,), 2)


MODEL = {
    "_target_": "isthmus.models.mlp.MLP",
    "_partial_": True,
    "width": [3],
    "init": "orthogonal",
}


def test_a_seed_that_is_not_given_is_the_global_one(composed):
    options = launch.check(composed("global_seed=7", "seeds.dropout=0", "seeds.data_order=3"))
    assert options.stream_seeds == StreamSeeds(7, 3, 7, 0)
    assert options.label_noise_seed == 7


def test_options_are_of_the_class_of_the_script_or_of_its_mode(composed):
    options = launch.check(composed("runtime.save_every=3", "averaged=none"))
    assert type(options) is TrainScript
    assert (options.runtime.save_every, options.runtime.num_threads) == (3, None)
    assert options.averaged is None and options.model.arguments["width"] == [3]
    branches = launch.check(composed("k1=0", "k2=1", script="interpolate"))
    assert type(branches) is InterpolateBranches and branches.runtime.num_jobs == 1


def threads(cfg, result=None):
    return launch.threads(launch.check(cfg).runtime, result)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], 8),
        (["runtime.num_threads=3"], 3),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 4),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=3"], 2),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=100"], 1),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=-1"], 1),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "runtime.num_threads=8"], 8),
    ],
)
def test_jobs_that_run_beside_each_other_share_the_cores(
    composed, monkeypatch, overrides, expected
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert threads(composed(*overrides)) == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["k1=0", "k2=1"], 1),
        (["k1=0", "k2=1", "runtime.num_jobs=4"], 1),
        (["k1=0", "k2=1", "runtime.num_threads=3"], 3),
        (["start=a", "end=b"], 8),
        (["plane=[a,b,c]"], 8),
    ],
)
def test_studies_of_children_have_one_thread_however_many_are_trained_at_a_time(
    composed, monkeypatch, overrides, expected
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert threads(composed(*overrides, script="interpolate")) == expected


@pytest.mark.parametrize("overrides", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]])
@pytest.mark.parametrize("said", ["5", "5,2"])
def test_the_environment_says_how_many_threads_there_are(composed, monkeypatch, overrides, said):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads(composed(*overrides)) == 5
    assert threads(composed(*overrides, "runtime.num_threads=3")) == 3


def test_what_is_added_has_the_threads_of_what_is_there_unless_typed(composed, caplog):
    assert threads(composed(), {"num_threads": 7}) == 7
    assert threads(composed("runtime.num_threads=7"), {"num_threads": 7}) == 7
    assert not caplog.messages
    assert threads(composed("runtime.num_threads=3"), {"num_threads": 7}) == 3
    (line,) = caplog.messages
    assert "runtime.num_threads=3" in line and "7" in line


def test_a_job_of_slurm_runs_as_many_threads_as_it_was_given_cores(composed, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")  # where SLURM binds no job to its cores
    assert threads(composed()) == 4
    assert threads(composed("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")) == 2


def test_where_the_system_does_not_say_which_cores_are_ours_all_are(composed, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads(composed()) == 6


def test_a_recipe_has_the_parts_the_lengths_and_the_options_of_the_model(composed):
    made = recipe(composed("averaged=none", "hparams.batch_size=5", "precision=bf16"))
    assert made.model((4,), 2).output.in_features == 3
    assert made.averages is None
    assert (made.hparams.batch_size, made.precision) == (5, "bf16")
    assert made.model_options.init == "orthogonal"


def test_what_is_saved_with_the_weights_holds_wherever_they_are_loaded(composed):
    saved = recipe(composed("global_seed=7")).metadata["config"]
    assert saved["dataset"] == {"_target_": "Digits", "val_fraction": 0.2}
    assert saved["model"] == MODEL | {"_target_": "MLP"}
    assert saved["global_seed"] == 7
    assert not {"runtime", "output_dir", "snapshots"} & set(saved)
    elsewhere = composed(
        "global_seed=7", "dataset.root=/data", "output_dir=b", "runtime.device=cpu"
    )
    assert recipe(elsewhere).metadata["config"] == saved


def run(conf: Path, tmp_path: Path, *overrides: str) -> subprocess.CompletedProcess:
    """The script as one would start it, in an empty folder."""
    return subprocess.run(
        [sys.executable, conf.parent / "script.py", *overrides],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


def test_a_script_runs_in_its_folder(conf, tmp_path):
    done = run(conf, tmp_path, "global_seed=3")
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip().removeprefix("ran in ")
    assert re.fullmatch("outputs/train_[0-9a-f]{10}/seed_3", folder)
    assert (tmp_path / folder / ".hydra" / "config.yaml").exists()


def test_a_refused_option_is_one_message_and_leaves_no_folder(conf, tmp_path):
    done = run(conf, tmp_path, "+model.widht=3", "+extra=1")
    assert done.returncode == 1
    assert "\n  extra: no such option; there are " in done.stderr
    assert "\n  model.widht=3: no such option; model takes activation, " in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "outputs").iterdir()) == []


@pytest.mark.parametrize(
    "script", ["train", "eval", "average", "spawn", "interpolate", "prune", "plots"]
)
def test_help_says_what_a_script_does_names_every_group_and_leaves_nothing(script, tmp_path):
    done = scripts.run(f"{script}.py", "--help", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    conf = yaml.safe_load((ROOT / "conf" / f"{script}.yaml").read_text())
    template = conf["hydra"]["help"]["template"].replace("$CONFIG", "").replace("$$", "$")
    assert done.stdout.startswith(template.strip())
    groups = [
        group for default in conf["defaults"] if isinstance(default, dict) for group in default
    ]
    assert groups
    for group in groups:
        assert re.search(rf"(^|, ){group}\b", template, re.MULTILINE), group
