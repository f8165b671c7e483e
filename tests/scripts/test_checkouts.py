"""Several checkouts beside one environment: each runs its own code, in workers too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts import QUIET, REPOSITORY, SMALL

LAUNCHERS = {
    "single": [],
    "joblib": ["--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["--multirun", "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"],
}
# In place of a job: says where its code is.
STATEMENT = """
        import isthmus
        launch.job_folder().mkdir(parents=True, exist_ok=True)
        (launch.job_folder() / "code.txt").write_text(isthmus.__file__)
        return
"""


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory):
    """Two checkouts whose jobs say where their code is."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for folder in folders:
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("src", "conf"):
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        shutil.copy(REPOSITORY / "train.py", folder)
        script = folder / "src/isthmus/scripts/train.py"
        head = "    with launch.job(cfg) as options:\n"
        assert head in script.read_text()
        script.write_text(script.read_text().replace(head, head + STATEMENT.lstrip("\n")))
    return folders


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_each_checkout_runs_its_own_code(checkouts, launcher, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    started = []
    for number, folder in enumerate(checkouts):
        typed = [*LAUNCHERS[launcher], *SMALL, *QUIET, f"output_dir=outputs_{number}"]
        command = [sys.executable, str(folder / "train.py"), *typed]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes))
    for process in started:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
    for number, folder in enumerate(checkouts):
        (said,) = (tmp_path / f"outputs_{number}").glob("train_*/seed_1/code.txt")
        assert Path(said.read_text()).is_relative_to(folder / "src")


def test_a_module_of_the_working_directory_is_found(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Mine(nn.Sequential):\n"
        "    def __init__(self, input_shape, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mine.yaml").write_text("_target_: mine.Mine\n_partial_: true\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    typed = [*QUIET, "dataset=digits", "scheduler=constant", "averaged=none", "hparams.steps=1it"]
    command = [sys.executable, str(REPOSITORY / "train.py"), "--config-dir", "conf"]
    command += [*typed, "model=mine"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("outputs/train_*/seed_1/weights/*.safetensors"))
