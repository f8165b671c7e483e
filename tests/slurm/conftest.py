"""A SLURM of one machine, with a munge of its own: started for these tests, stopped after them."""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
STOP = 5  # seconds until they are killed
START = 30  # seconds until the node has to be idle
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1
KillWait=1
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands reach the cluster."""
    missing = [program for program in PROGRAMS if program_at(program) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("slurmd has to be started by root")
    folder = tmp_path_factory.mktemp("slurm")
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    try:
        start(folder, environment)
        yield environment
    finally:
        stop(folder)


def program_at(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def start(folder: Path, environment: dict[str, str]) -> None:
    """Start munged, slurmctld and slurmd, and wait until the node can be given a job."""
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    (folder / "slurm.conf").write_text(
        CONF.format(
            host=socket.gethostname().partition(".")[0],
            user=getpass.getuser(),
            folder=folder,
            controller=free_port(),
            daemon=free_port(),
        )
    )
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
    files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
    options = [f"--{option}={folder / name}" for option, name in files.items()]
    run(["munged", "--force", *options], environment)
    for name in ("slurmctld", "slurmd"):
        run([name, "-f", str(folder / "slurm.conf")], environment)
    end = time.monotonic() + START
    while "idle" not in run(["sinfo", "--noheader", "--format=%T"], environment, check=False):
        logs = [(folder / f"{name}.log").read_text() for name in ("slurmctld", "slurmd")]
        assert time.monotonic() < end, "\n".join(logs)
        time.sleep(0.2)


def run(command: list[str], environment: dict[str, str], check: bool = True) -> str:
    """What a program prints."""
    path = program_at(command[0])
    assert path
    done = subprocess.run([path, *command[1:]], env=environment, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(folder: Path) -> None:
    """End the daemons by their ids, and wait until they have."""
    files = (folder / f"{name}.pid" for name in ("slurmd", "slurmctld", "munged"))
    found = [int(path.read_text()) for path in files if path.exists() and path.read_text().strip()]
    for pid in found:
        kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP
    for pid in found:
        while kill(pid, signal.SIGKILL if time.monotonic() > end else 0):
            time.sleep(0.1)


def kill(pid: int, number: int) -> bool:
    """Send a signal; whether there was such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
