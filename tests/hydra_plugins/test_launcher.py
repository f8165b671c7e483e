from hydra_plugins.isthmus._launcher import LedgerLauncher
from isthmus import sweeps

WORDS = [["x=1"], ["x=2"], ["x=3"]]


class Launcher:
    """Runs jobs up to one in which it breaks down."""

    def __init__(self, sweep, broken=None):
        self.sweep, self.broken = sweep, broken

    def launch(self, job_overrides, initial_job_idx):
        for number, words in enumerate(job_overrides, initial_job_idx):
            job = {"job": number, "overrides": words, "folder": "a"}
            sweeps.note_job(self.sweep, {**job, "status": "running"})
            if number == self.broken:
                raise OSError("a worker was killed")
            sweeps.note_job(self.sweep, {**job, "status": "done"})


def test_jobs_are_in_the_ledger_before_they_begin(tmp_path):
    seen = []

    class Looking(Launcher):
        def launch(self, job_overrides, initial_job_idx):
            seen.extend(sweeps.read_jobs(tmp_path))

    LedgerLauncher(Looking(tmp_path), tmp_path).launch(WORDS, 4)
    assert [(job["job"], job["status"]) for job in seen] == [(n, "waiting") for n in (4, 5, 6)]


def test_a_launcher_that_breaks_down_is_said_and_raises_nothing(tmp_path, caplog):
    returned = LedgerLauncher(Launcher(tmp_path, broken=1), tmp_path).launch(WORDS, 0)
    assert [job.return_value for job in returned] == [None] * 3
    assert caplog.messages == ["the launcher gave up: OSError: a worker was killed"]
    statuses = [job["status"] for job in sweeps.read_jobs(tmp_path, is_over=True)]
    assert statuses == ["done", "killed", "not started"]
    assert "waiting" in (tmp_path / "sweep.csv").read_text()


def test_an_interrupted_sweep_leaves_its_ledger(tmp_path):
    class Interrupted(Launcher):
        def launch(self, job_overrides, initial_job_idx):
            super().launch(job_overrides[:1], initial_job_idx)
            raise KeyboardInterrupt

    try:
        LedgerLauncher(Interrupted(tmp_path), tmp_path).launch(WORDS, 0)
    except KeyboardInterrupt:
        lines = (tmp_path / "sweep.csv").read_text().splitlines()
        assert [line.split(",")[1] for line in lines] == ["status", "done", "waiting", "waiting"]
    else:
        raise AssertionError("an interrupt was swallowed")
