"""Run folders from elsewhere, harmful and damaged, as a user draws them with `plots.py`."""

import shutil

import pandas as pd
import pytest
import yaml

from tests.plots import made
from tests.scripts import refused, run

MODULE = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
LAUGHS = "".join(
    f"{name}: &{name} [{', '.join([before] * 9)}]\n"
    for name, before in zip("abcdefghi", ["x", *(f"*{c}" for c in "abcdefgh")], strict=True)
)


def write(name, content):
    def damage(folder):
        file = folder / name
        file.write_bytes(content) if isinstance(content, bytes) else file.write_text(content)

    return name, damage


def half(name):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return name, damage


def replace(name, old, new):
    def damage(folder):
        file = folder / name
        file.write_text(file.read_text().replace(old, new))

    return name, damage


def as_folder(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return name, damage


def without_column(folder):
    table = pd.read_csv(folder / "metrics.csv")
    table.drop(columns="split").to_csv(folder / "metrics.csv", index=False)


DAMAGES = {
    "empty_yaml": write(".hydra/config.yaml", ""),
    "bad_yaml": write(".hydra/hydra.yaml", "a: [b\n c: }"),
    "list_yaml": write(".hydra/config.yaml", "- a\n"),
    "laughs": write(".hydra/config.yaml", LAUGHS),
    "no_choices": write(".hydra/hydra.yaml", "hydra: {runtime: []}"),
    "text": replace("metrics.csv", ",0.", ",abc"),
    "empty_table": write("metrics.csv", ""),
    "header_only": write("metrics.csv", "step,epoch,split,model,metric,value\n"),
    "binary": write("metrics.csv", b"step,epoch,split,model,metric,value\n\0\0\0\n"),
    "latin": write("metrics.csv", b"step,epoch,split,model,metric,value\n1,1,\xe9,a,b,1\n"),
    "columns": ("metrics.csv", without_column),
    "folder": as_folder("metrics.csv"),
    "predictions": half("predictions.npz"),
}


RESULTS = {  # of runs without tables
    "half": '{"iteration": 30',
    "no_text": "\0",
    "list": "[]",
    "nothing": "{}",
    "absent": None,
}


WITH_TABLES = ["half", "no_text", "list", "nothing"]


def without_tables(folder, content):
    """What is left of a run whose only file beside its options is its summary."""
    made.training(folder)
    for name in ("metrics.csv", "predictions.npz"):
        (folder / name).unlink()
    if content is not None:
        (folder / "result.json").write_text(content)


def everything(root):
    """All paths below a folder, and what is in the files."""
    return {p: p.read_bytes() if p.is_file() else None for p in root.rglob("*")}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A report of one whole training, of damaged and of harmful ones, and all that was there."""
    root = tmp_path_factory.mktemp("downloaded")
    outputs = root / "outputs"
    made.training(outputs / "train_whole" / "seed_1")
    for name, (_, damage) in DAMAGES.items():
        damage(made.training(outputs / f"train_{name}" / "seed_1"))
    for name, content in (RESULTS | {"evaluated": '{"evaluation": {}}'}).items():
        without_tables(outputs / f"train_of_{name}" / "seed_1", content)
    shutil.rmtree(outputs / "train_of_half" / "seed_1" / ".hydra")
    for name in WITH_TABLES:
        folder = made.training(outputs / f"train_with_{name}" / "seed_1")
        (folder / "result.json").write_text(RESULTS[name])
    (outputs / "notes" / "seed_1").mkdir(parents=True)
    for name, target in (("system", "os.system"), ("beside", "beside.Data")):
        node = {"_target_": target, "command": f"touch {root}/ran", "root": "data"}
        folder = outputs / f"train_{name}" / "seed_1"
        made.training(folder, values={"dataset": node})
        (folder / "beside.py").write_text(MODULE)
    (root / "beside.py").write_text(MODULE)
    table = pd.read_csv(outputs / "train_whole" / "seed_1" / "metrics.csv")
    climbing = made.training(outputs / "train_climbing" / "seed_1")
    table.replace("ema_0.9", "../../x").to_csv(climbing / "metrics.csv", index=False)
    spawned = made.of_spawn(outputs / "spawn_climbing" / "seed_1")
    table = pd.read_csv(spawned / "averages.csv")
    table.replace("plain", "../../../x").to_csv(spawned / "averages.csv", index=False)
    before = everything(root)
    typed = ["figure=report", "runs=outputs", "output_dir=out", "style.dpi=30"]
    done = run("plots.py", *typed, cwd=root)
    (page,) = root.glob("out/plots/report_*/report.html")
    return root, before, done, page.read_text()


def test_nothing_runs_and_nothing_is_written_outside_the_output_dir(drawn):
    root, before, _, _ = drawn
    after = everything(root)
    assert {p: after[p] for p in before} == before
    new = {p.relative_to(root).parts[0] for p in after if p not in before}
    assert new == {"out"}
    assert not list(root.rglob("ran"))


def test_the_report_of_the_whole_run_is_drawn(drawn):
    _, _, done, page = drawn
    assert "Traceback" not in done.stderr + done.stdout
    assert "outputs/train_whole/seed_1" in page
    assert page.count("data:image/png;base64,") > 5


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_left_out_and_named_once_on_the_console_and_on_the_page(drawn, name):
    _, _, done, page = drawn
    file = f"outputs/train_{name}/seed_1/{DAMAGES[name][0]}"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if file in line]
    assert len(lines) == 1, lines
    assert file in page


@pytest.mark.parametrize("name", RESULTS)
def test_a_run_without_tables_or_readable_results_is_named_once(drawn, name):
    _, _, done, page = drawn
    file = f"outputs/train_of_{name}/seed_1/result.json"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if file in line]
    assert len(lines) == 1, lines
    assert file in page


@pytest.mark.parametrize("name", WITH_TABLES)
def test_unreadable_results_beside_a_whole_table_are_named_once(drawn, name):
    _, _, done, page = drawn
    file = f"outputs/train_with_{name}/seed_1/result.json"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if file in line]
    assert len(lines) == 1, lines
    assert file in page


def test_a_run_with_results_alone_and_a_folder_of_no_run_are_not_named(drawn):
    _, _, done, page = drawn
    for name in ("train_of_evaluated", "notes"):
        assert name not in done.stdout + done.stderr + page


@pytest.mark.parametrize("target", ["os.system", "beside.Data", "isthmus.store.files.write_bytes"])
def test_a_run_that_names_something_to_call_is_named_and_nothing_is_called(target, tmp_path):
    node = {"_target_": target, "command": f"touch {tmp_path}/ran", "root": "data"}
    made.training(tmp_path / "outputs" / "train_1" / "seed_1", values={"dataset": node})
    (tmp_path / "beside.py").write_text(MODULE)
    done = run("plots.py", "figure=persistence", "runs=outputs", "style.dpi=30", cwd=tmp_path)
    assert target in done.stdout + done.stderr
    assert list(tmp_path.glob("outputs/plots/*/persistence_barcode.png"))
    assert not list(tmp_path.rglob("persistence_images*")) and not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize("figure", ["accuracy", "gain"])
def test_a_table_that_names_a_path_gives_no_file(drawn, figure, tmp_path):
    root = drawn[0]
    shutil.copytree(root / "outputs" / "spawn_climbing", tmp_path / "in" / "outputs" / "spawn_1")
    typed = [f"figure={figure}", "runs=outputs", "output_dir=a/b/c/d/out"]
    assert "../../../x" in refused("plots.py", *typed, cwd=tmp_path / "in")
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".pdf")]


def test_one_figure_is_drawn_of_the_whole_runs_and_the_others_are_named(tmp_path):
    made.training(tmp_path / "outputs" / "train_whole" / "seed_1")
    names = ["empty_yaml", "text", "predictions"]
    for name in names:
        DAMAGES[name][1](made.training(tmp_path / "outputs" / f"train_{name}" / "seed_1"))
    typed = ["figure=stability", "runs=outputs", "style.dpi=30"]
    done = run("plots.py", *typed, cwd=tmp_path)
    assert list(tmp_path.glob("outputs/plots/stability_*/stability.png"))
    for name in names:
        assert f"train_{name}/seed_1/{DAMAGES[name][0]}" in done.stdout + done.stderr


@pytest.mark.parametrize("content", ["", "{}", '{"iteration": 30', "[]", '{"iteration": "x"}'])
def test_a_damaged_summary_is_named_by_the_script_that_finds_it(tmp_path, content):
    typed = ["dataset=digits", "model=mlp", "model.width=16", "hparams.epochs=1"]
    typed += ["scheduler=constant", "averaged=none", "runtime.tensorboard=false"]
    run("train.py", *typed, cwd=tmp_path)
    (result,) = tmp_path.glob("outputs/train_*/seed_1/result.json")
    whole = yaml.safe_load(result.read_text())
    result.write_text(content)
    assert "result.json" in refused("train.py", *typed, cwd=tmp_path)
    result.unlink()  # as the message says
    run("train.py", *typed, cwd=tmp_path)
    assert yaml.safe_load(result.read_text())["evaluation"] == whole["evaluation"]
