"""Starts the scripts as a user does, each in a process of its own, and looks at what they leave.

These processes are forked from one that has imported what most scripts import, which takes longer
than what they do. Figures that studies draw of their
tables take most of their time and have tests of their own: they are made, but not rendered, except
where a test looks at them.
"""

import atexit
import io
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = ["dataset=digits", "model=mlp", "model.width=16", "hparams.epochs=2", "scheduler=constant"]
QUIET = ["runtime.tensorboard=false", "runtime.device=cpu"]
SECONDS = 300  # until a script hangs
BRANCHES = [
    *SMALL, *QUIET, "averaged=none", "dataset.augment=true", "child_length=1ep",
    "child_steps=[0ep,3it,1ep]", "runtime.num_threads=1",
]  # fmt: skip

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["torch._dynamo", "hydra.main", "safetensors.torch", "filelock", "sklearn.datasets", "pandas"]
    + ["matplotlib.figure", "matplotlib.backends.backend_pdf", "scipy.cluster.hierarchy", "tqdm"]
    + ["tests.scripts.preloaded"]
)


def run(script, *arguments, cwd, check=True, rendered=False):
    """A script that was run to its end, as by `subprocess.run`.

    Args:
        script: its file.
        arguments: as typed.
        cwd: where it runs.
        check: whether it has to succeed.
        rendered: whether a study's figures have content; those of plots.py always have.
    """
    typed = [str(REPOSITORY / script), *map(str, arguments)]
    if any("launcher" in text and not text.endswith("=basic") for text in typed):
        done = _subprocess(typed, cwd)
    else:
        done = _fork(typed, cwd, rendered or script == "plots.py")
    if check:
        assert done.returncode == 0, done.stderr + done.stdout
    return done


@contextmanager
def started(script, *arguments, cwd, log=os.devnull):
    """A script under way, as a `multiprocessing.Process`; it is over at the end, if need be killed.

    Args:
        script, arguments, cwd: as of `run`.
        log: a file that takes what it says.
    """
    typed = [str(REPOSITORY / script), *map(str, arguments)]
    process = FORKS.Process(
        target=_start, args=(typed, str(cwd), dict(os.environ), [log, log], False)
    )
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _subprocess(typed, cwd):
    """For scripts that start processes themselves: joblib hangs in a forked one."""
    command = [sys.executable, *typed]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS)


def _fork(typed, cwd, rendered):
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        arguments = typed, str(cwd), dict(os.environ), outputs, rendered
        process = FORKS.Process(target=_start, args=arguments)
        process.start()
        process.join(SECONDS)
        assert process.exitcode is not None, f"{typed} hangs"
        stdout, stderr = (path.read_text() for path in outputs)
    return subprocess.CompletedProcess(typed, process.exitcode, stdout, stderr)


def _start(typed, cwd, environment, outputs, rendered):
    for descriptor, path in enumerate(outputs, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    own_modules = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv, sys.path[:0] = typed, [str(REPOSITORY), *filter(None, own_modules)]
    if not rendered:
        _leave_figures_empty()
    try:
        runpy.run_path(typed[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which a forked process leaves out


def _leave_figures_empty():
    """Write one pixel for a figure."""
    from PIL import Image

    from isthmus.plots import files as plots_files

    def rendered(figure, kind):
        buffer = io.BytesIO()
        Image.new("RGB", (1, 1)).save(buffer, kind)
        return buffer.getvalue()

    plots_files.render = rendered


def refused(script, *arguments, cwd):
    """What a script says that does not do what it is asked for."""
    done = run(script, *arguments, cwd=cwd, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def only(folder, pattern):
    """The one path that matches."""
    found = list(Path(folder).glob(pattern))
    assert len(found) == 1, found
    return found[0]


def files(folder):
    """All files but logs."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]


def averaged(*arguments, cwd):
    return run("average.py", *arguments, "runtime.device=cpu", cwd=cwd)


def spawn(*arguments, cwd, **options):
    return run("spawn.py", *BRANCHES, *arguments, cwd=cwd, **options).stdout


def steps_made(output):
    """What a run of spawn.py counted."""
    return int(re.search(r"(\d+) optimizer steps made", output)[1])


def contents(tree):
    """Every file of a study but its log and what Hydra writes anew."""
    return {p: p.read_bytes() for p in files(tree) if ".hydra" not in p.parts}
