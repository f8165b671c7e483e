"""`plots.py` as a user starts it on a sweep of trainings, and what TensorBoard shows of it."""

import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata

from tests.scripts import REPOSITORY, only, refused, run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWEEP = ["dataset=digits", "model=mlp", "model.width=16", "hparams.epochs=3", "scheduler=constant"]
SWEEP += ["averaged.decay=[0.9,0.99]", "optimizer.lr=0.05,0.5", "global_seed=1,2"]
MODELS = ["plain", "ema_0.9", "ema_0.99"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Two learning rates and two seeds."""
    folder = tmp_path_factory.mktemp("swept")
    run("train.py", "--multirun", *SWEEP, "runtime.device=cpu", cwd=folder)
    return folder


def results(swept):
    """Summaries by learning rate and seed."""
    found = {}
    for file in swept.glob("outputs/train_*/seed_*/result.json"):
        typed = (file.parent / ".hydra" / "overrides.yaml").read_text()
        lr, seed = re.search(r"lr=(\S+)", typed), re.search(r"seed=(\d)", typed)
        found[float(lr[1]), int(seed[1])] = json.loads(file.read_text())["evaluation"]
    return found


def test_a_figure_is_a_picture_a_page_and_the_numbers_of_the_runs(swept):
    typed = ["figure=compare", "compare.x=optimizer.lr", "compare.hue=model", "style=talk"]
    done = run("plots.py", *typed, "runs=outputs/train_*", "style.dpi=60", cwd=swept)
    folder = only(swept, "outputs/plots/compare_*")
    shown = [f"{folder.relative_to(swept)}/compare.{kind}" for kind in ("csv", "png", "pdf")]
    assert done.stdout.split() == shown
    drawn = pd.read_csv(folder / "compare.csv").set_index(["curve", "x"])
    found = results(swept)
    for lr in (0.05, 0.5):
        for model in MODELS:
            each = [found[lr, seed][model]["test"]["accuracy"] for seed in (1, 2)]
            assert drawn.loc[model, lr]["value"] == pytest.approx(sum(each) / 2)
    with Image.open(folder / "compare.png") as image:
        assert image.width == pytest.approx(1.4 * 5.4 * 60, abs=1)
    assert (folder / "compare.pdf").read_bytes().startswith(b"%PDF")
    images = EventAccumulator(str(folder)).Reload().Images("compare")
    assert [image.encoded_image_string for image in images] == [
        (folder / "compare.png").read_bytes()
    ]


def test_the_least_stable_examples_are_shown_with_their_images(swept):
    typed = ["figure=persistence", "runs=[outputs]", "size=[9,4]", "style.dpi=50", "epochs=[0,3]"]
    done = run("plots.py", *typed, "labels.title=Ten digits", cwd=swept)
    folder = only(swept, "outputs/plots/persistence_*")
    assert "persistence_barcode.png" in done.stdout and "persistence_images.png" in done.stdout
    with Image.open(folder / "persistence_images.png") as image:
        assert image.size == (450, 200)
    shown = pd.read_csv(folder / "persistence_images.csv")
    assert shown["label"].between(0, 9).all() and set(shown["model"]) == set(MODELS)


def test_images_are_left_out_if_they_are_not_wanted_and_torch_is_not_imported(swept):
    typed = ["figure=persistence", "runs=outputs", "images=false", "output_dir=other"]
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(REPOSITORY)!r}); "
        f"sys.argv = ['plots.py', *{typed!r}]; "
        f"runpy.run_path({str(REPOSITORY / 'plots.py')!r}, run_name='__main__'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=swept, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert [path.stem for path in swept.glob("other/plots/*/*.png")] == ["persistence_barcode"]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["figure=nope", "runs=outputs"], "figure=nope: must be one of ema_study, schedule_decay"),
        (["figure=ema_study", "runs=outputs/no_*"], "runs=outputs/no_*: matches nothing; outputs"),
        (["figure=gain", "runs=outputs"], "needs averages.csv; what matches (4 folders) has met"),
        (["figure=gain"], "runs: needs a value, runs=..."),
        (["figure=ema_study", "runs=outputs", "style=neon"], "dark"),
    ],
)
def test_what_cannot_be_drawn_gets_one_message_and_leaves_nothing(typed, message, swept, tmp_path):
    error = refused("plots.py", *typed, f"output_dir={tmp_path}/new", cwd=swept)
    assert message in error
    assert not list(tmp_path.glob("new/plots/*"))


def test_help_names_every_figure(tmp_path):
    from isthmus.plots import options

    words = set(re.findall(r"\w+", run("plots.py", "--help", cwd=tmp_path).stdout))
    assert {*options.figure_names(), options.REPORT} <= words
    assert not list(tmp_path.iterdir())


def test_tensorboard_shows_runs_by_readable_names_with_their_scalars(swept):
    found = EventMultiplexer().AddRunsFromDirectory(str(swept / "outputs")).Reload()
    runs = [name for name in found.Runs() if name.startswith("tensorboard/")]
    models = {name.rpartition("/")[2] for name in runs}
    assert models == {"plain", "ema_0.9", "ema_0.99", "best", "best_averaged"}
    assert len(runs) == 4 * len(models)
    assert {name.split("/")[1].partition("-")[0] for name in runs} == {"lr0.05", "lr0.5"}
    for name in runs:
        if name.endswith("/ema_0.9"):
            *_, seed, digits = name.split("/")[1].split("-")
            metrics = pd.read_csv(swept / "outputs" / f"train_{digits}" / seed / "metrics.csv")
            wanted = metrics.query("split == 'val' and model == 'ema_0.9' and metric == 'accuracy'")
            scalars = [event.value for event in found.Scalars(name, "accuracy/val")]
            assert scalars == pytest.approx(wanted["value"].tolist())


def test_tensorboard_compares_a_sweep_by_its_hyperparameters(swept):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    found = EventMultiplexer().AddRunsFromDirectory(str(swept / "outputs")).Reload()
    results_of, said = results(swept), {}
    for name in found.PluginRunToTagToContent("hparams"):
        content = found.PluginRunToTagToContent("hparams")[name]
        start = content[metadata.SESSION_START_INFO_TAG]
        hparams = metadata.parse_session_start_info_plugin_data(start).hparams
        key = hparams["optimizer.lr"].number_value, int(hparams["global_seed"].number_value)
        said[(*key, hparams["weights"].string_value)] = name
        assert hparams["scheduler"].string_value == "Constant"
        assert not [word for word in hparams if word.endswith("_")]
    assert set(said) == {(*key, model) for key, table in results_of.items() for model in table}
    for (*key, model), name in said.items():
        (event,) = found.Scalars(name, "final_accuracy/test")
        assert event.value == pytest.approx(results_of[tuple(key)][model]["test"]["accuracy"])


SPY = """<script>
addEventListener("load", () => {
  const images = [...document.images], table = document.querySelector("table");
  const column = place => [...table.tBodies[0].rows].map(row => row.cells[place].textContent);
  const heads = [...table.tHead.rows[0].cells], found = {errors};
  const place = heads.findIndex(head => head.textContent === "test accuracy, plain");
  found.images = images.map(image => image.complete && image.naturalWidth > 100);
  heads[place].click(); found.up = column(place);
  heads[place].click(); found.down = column(place);
  heads[0].click(); found.names = column(0);
  found.resources = performance.getEntriesByType("resource").map(r => r.name.slice(0, 20));
  document.body.textContent = JSON.stringify(found);
});
</script></body>"""
ERRORS = """<script>
const errors = [], note = console.error;
console.error = (...words) => { errors.push(words.join(" ")); note(...words); };
addEventListener("error", event => errors.push(String(event.message)), true);
</script><style>"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_the_report_opens_in_a_browser_and_its_tables_are_sorted(swept, tmp_path):
    run("plots.py", "figure=report", "runs=outputs/train_*", "style.dpi=60", cwd=swept)
    text = only(swept, "outputs/plots/report_*/report.html").read_text()
    page = tmp_path / "report.html"
    page.write_text(text.replace("<style>", ERRORS, 1).replace("</body>", SPY, 1))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--enable-logging=stderr"]
    home = f"--user-data-dir={tmp_path}/home"
    done = subprocess.run(
        [CHROMIUM, *flags, home, "--virtual-time-budget=20000", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr
    found = json.loads(re.search(r"<body>(.*)</body>", done.stdout, re.DOTALL)[1])
    assert found["errors"] == []
    assert len(found["images"]) > 10 and all(found["images"])
    numbers = [float(number) for number in found["up"]]
    assert numbers == sorted(numbers) and len(numbers) == 4
    assert found["down"] == found["up"][::-1]
    assert found["names"] == sorted(found["names"])
    assert not [name for name in found["resources"] if not name.startswith("data:")]
