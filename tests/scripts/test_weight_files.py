"""Files of weights that do not fit, or were made elsewhere, as a user hands them to each script."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from isthmus.store import files
from tests.scripts import QUIET, SMALL, only, refused, run

TRAINING = [*SMALL, *QUIET, "averaged=none", "runtime.num_threads=1"]
SCRIPTS = {  # what takes a file of weights; GOOD is another one
    "eval.py": ["checkpoint=FILE", "splits=[test]"],
    "average.py": ["checkpoints=[GOOD,FILE]", "splits=[test]"],
    "interpolate.py": ["start=GOOD", "end=FILE", "alphas=3", "splits=[test]"],
    "extract.py": [
        *["teacher=FILE", "extraction.datagen=gaussian", "extraction.num_samples=20"],
        *["extraction.num_students=4", "extraction.epochs=1", "extraction.refit_epochs=1"],
        *["extraction.finetune_epochs=1", "extraction.beta=1.5"],
    ],
    "spawn.py": [
        *[*TRAINING, "pretrain.weights=FILE", "spawn_steps=[0ep]", "child_seeds=[2,3]"],
        "child_length=1it",
    ],
    "prune.py": [*TRAINING, "pretrain.weights=FILE", "levels=0"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of an MLP trained on digits."""
    folder = tmp_path_factory.mktemp("trained")
    run("train.py", *TRAINING, cwd=folder)
    return only(folder, "outputs/train_*/seed_1/weights/step_22.safetensors")


def changed(trained, path, change):
    """A file with the metadata of another one and changed tensors."""
    with safe_open(trained, "pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(trained)), path, metadata=metadata)
    return path


def typed(script, good, file):
    return [text.replace("FILE", str(file)).replace("GOOD", str(good)) for text in SCRIPTS[script]]


def with_nan(weights):
    weights["output.bias"][3] = torch.nan
    return weights


UNFIT = {  # tests/training/test_weight_files.py has more
    "differs": (
        lambda weights: (
            {n: t for n, t in weights.items() if n != "output.weight"}
            | {"head.weight": torch.zeros(2), "hidden.0.weight": torch.zeros(5, 64)}
        ),
        "does not fit the model, which has 6 tensors; 1 missing: output.weight; 1 unexpected: "
        "head.weight; 1 of another shape: hidden.0.weight [5, 64] instead of [16, 64]",
    ),
    "nan": (with_nan, "has weights that are not finite, in output.bias (1 of 10)"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_weights_that_do_not_fit_are_refused_with_what_differs(script, trained, tmp_path):
    for name, (change, message) in UNFIT.items():
        file = changed(trained, tmp_path / f"{name}.safetensors", change)
        said = refused(script, *typed(script, trained, file), cwd=tmp_path)
        assert f"{name}.safetensors" in said and message in said, said
    mask = tmp_path / "mask.safetensors"
    files.save_weights(mask, {"a": torch.ones(2, dtype=torch.bool)}, {"kind": "mask"})
    assert "holds a mask, not weights" in refused(
        script, *typed(script, trained, mask), cwd=tmp_path
    )
    assert not list(tmp_path.glob("outputs/*/result.json"))
    assert not list(tmp_path.glob("outputs/**/*.safetensors"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_wrapped_and_converted_weights_are_taken_and_told_once(script, trained, tmp_path):
    def wrapped(weights):
        return {f"_orig_mod.module.{name}": tensor.double() for name, tensor in weights.items()}

    file = changed(trained, tmp_path / "weights.safetensors", wrapped)
    done = run(script, *typed(script, trained, file), cwd=tmp_path)
    assert done.stdout.count("without their prefix _orig_mod.module.") == 1, done.stdout
    assert done.stdout.count("6 of 6 tensors are float64, taken as float32") == 1, done.stdout


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_converted_weights_are_evaluated_in_float32(dtype, trained, tmp_path):
    def converted(weights):
        return {name: tensor.to(dtype) for name, tensor in weights.items()}

    def rounded(weights):
        return {name: tensor.to(dtype).float() for name, tensor in weights.items()}

    for name, change in (("converted", converted), ("rounded", rounded)):
        file = changed(trained, tmp_path / f"{name}.safetensors", change)
        run("eval.py", f"checkpoint={file}", f"output_dir={name}", cwd=tmp_path)
    found = [
        json.loads(only(tmp_path, f"{name}/eval_*/result.json").read_text())["evaluation"]
        for name in ("converted", "rounded")
    ]
    assert found[0] == found[1]


def test_weights_that_are_not_finite_are_evaluated_if_asked_and_say_null(trained, tmp_path):
    file = changed(trained, tmp_path / "nan.safetensors", with_nan)
    run("eval.py", f"checkpoint={file}", "allow_nonfinite=true", "splits=[test]", cwd=tmp_path)
    text = only(tmp_path, "outputs/eval_*/result.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["evaluation"]["plain"]["test"]["loss"] is None


def test_weights_whose_loss_overflows_are_refused(trained, tmp_path):
    file = changed(
        trained,
        tmp_path / "large.safetensors",
        lambda weights: {name: tensor * 1e30 for name, tensor in weights.items()},
    )
    said = refused("eval.py", f"checkpoint={file}", cwd=tmp_path)
    assert "large.safetensors: its train loss is" in said
    assert not list(tmp_path.glob("outputs/*/result.json"))


NETWORKS = """
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

class Plain(nn.Module):
    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.output = nn.Linear(16, num_classes)
    def forward(self, inputs):
        hidden = self.middle(self.first(inputs.flatten(1)).relu()).relu()
        return self.output(self.last(hidden).relu())

class Tied(Plain):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes)
        self.last.weight = self.middle.weight

class Parametrized(Plain):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes)
        self.first = parametrizations.weight_norm(self.first)

class Lazy(Plain):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes)
        self.first = nn.LazyLinear(16)

class Pair(Plain):
    def forward(self, inputs):
        return super().forward(inputs), inputs

class Wide(Plain):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes + 2)
"""


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """A folder with networks of a user's own, as options of the group `model`."""
    (tmp_path / "networks.py").write_text(NETWORKS)
    (tmp_path / "conf/model").mkdir(parents=True)
    for name in ("Tied", "Parametrized", "Lazy", "Pair", "Wide"):
        option = f"_target_: networks.{name}\n_partial_: true\n"
        (tmp_path / f"conf/model/{name.lower()}.yaml").write_text(option)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def options(model, *more):
    kept = [text for text in TRAINING if not text.startswith("model")]
    return ["--config-dir", "conf", *kept, f"model={model}", *more]


@pytest.mark.parametrize(
    ("script", "model", "more", "message"),
    [
        ("train.py", "lazy", [], "model: first is a LazyLinear"),
        ("train.py", "pair", [], "model: Pair returns a tuple"),
        ("train.py", "wide", [], "outputs of shape [batch, 12] for this data set, which needs"),
        ("prune.py", "parametrized", ["levels=1"], "model: the weight of first is made of other"),
        (
            "interpolate.py",
            "parametrized",
            ["k1=0", "k2=1", "align=weights"],
            "align=weights: model: the weight of first is made of other tensors",
        ),
    ],
)
def test_networks_that_a_script_cannot_take_are_refused_naming_the_module(
    script, model, more, message, networks
):
    assert message in refused(script, *options(model, *more), cwd=networks)


def test_tied_weights_stay_tied_in_training_averages_lines_and_tickets(networks):
    run("train.py", *options("tied", "averaged=ema"), cwd=networks)
    run("prune.py", *options("tied", "levels=1", "rewind_step=3it"), cwd=networks)
    asked = ["k1=0", "k2=1", "align=weights", "alphas=3"]
    run("interpolate.py", *options("tied", *asked), cwd=networks)
    found = list(networks.glob("outputs/**/weights/*.safetensors"))
    assert len(found) > 8
    for path in found:
        weights = load_file(path)
        assert weights["last.weight"].equal(weights["middle.weight"]), path
    masks = load_file(only(networks, "outputs/prune_*/seed_1/level_1/mask.safetensors"))
    assert "last.weight" not in masks
    ticket = load_file(only(networks, "outputs/prune_*/seed_1/level_1/weights/step_22.safetensors"))
    assert not ticket["last.weight"][masks["middle.weight"] == 0].any()


def write_images(folder, names, parts=("train", "test"), each=12):
    """Images whose brightness is their class: ant dark, cat a bit brighter, and so on."""
    brightness = {"ant": 20, "cat": 90, "dog": 160, "fox": 230}
    random = np.random.default_rng(0)
    for part in parts:
        for name in names:
            (folder / part / name).mkdir(parents=True)
            for number in range(each):
                noise = random.integers(-15, 15, (8, 8, 3))
                pixels = np.clip(brightness[name] + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")


@pytest.fixture(scope="module")
def on_images(tmp_path_factory):
    """Weights trained on cats, dogs and foxes with a mean and a std of their own."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder / "trained", ["cat", "dog", "fox"])
    kept = [t for t in TRAINING if not t.startswith(("dataset", "hparams"))]
    asked = ["dataset=imagefolder", f"dataset.root={folder / 'trained'}", "hparams.epochs=30"]
    options = ["dataset.mean=[0.1,0.1,0.1]", "dataset.std=[0.9,0.9,0.9]", "dataset.val_fraction=0"]
    run(
        "train.py", *kept, *asked, *options, "optimizer.lr=0.03", "hparams.batch_size=6", cwd=folder
    )
    (file,) = folder.glob("outputs/train_*/seed_1/weights/step_*.safetensors")
    return file


def accuracy(checkpoint, *arguments, cwd):
    done = run("eval.py", f"checkpoint={checkpoint}", "splits=[test]", *arguments, cwd=cwd)
    result = max(cwd.glob("outputs/eval_*/result.json"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(result.read_text())["evaluation"]["plain"]["test"]["accuracy"], done.stdout


def test_images_of_another_folder_are_normalized_as_in_training_unless_typed(on_images, tmp_path):
    write_images(tmp_path / "other", ["cat", "dog", "fox"])
    named = ["dataset=imagefolder", f"dataset.root={tmp_path / 'other'}"]
    assert accuracy(on_images, *named, cwd=tmp_path)[0] > 0.95
    of_imagenet = ["dataset.mean=[0.485,0.456,0.406]", "dataset.std=[0.229,0.224,0.225]"]
    assert accuracy(on_images, *named, *of_imagenet, cwd=tmp_path)[0] < 0.8


def test_classes_are_matched_by_name(on_images, tmp_path):
    write_images(tmp_path / "some", ["fox", "dog"])
    found, said = accuracy(
        on_images, "dataset=imagefolder", f"dataset.root={tmp_path / 'some'}", cwd=tmp_path
    )
    assert found > 0.95 and "classes (dog, fox) are mapped by name" in said

    write_images(tmp_path / "other", ["ant", "cat", "dog"])
    named = ["dataset=imagefolder", f"dataset.root={tmp_path / 'other'}"]
    for script, arguments in (
        ("eval.py", [f"checkpoint={on_images}"]),
        ("average.py", [f"checkpoints=[{on_images}]"]),
        ("interpolate.py", [f"start={on_images}", f"end={on_images}"]),
    ):
        said = refused(script, *arguments, *named, cwd=tmp_path)
        assert "dataset: has ant, which is not among the classes" in said
        assert "cat, dog, fox" in said


def test_a_ticket_stays_a_ticket_when_it_is_pruned_further(tmp_path):
    asked = ["pruning.fraction=0.5", "levels=1"]
    run("prune.py", *TRAINING, *asked, "output_dir=first", cwd=tmp_path)
    ticket = only(tmp_path, "first/prune_*/seed_1/level_1/weights/step_22.safetensors")
    mask = load_file(ticket.parent.parent / "mask.safetensors")
    control = "branch=randomly_prune"
    run("prune.py", *TRAINING, *asked, f"pretrain.weights={ticket}", control, cwd=tmp_path)
    tree = only(tmp_path, "outputs/prune_*/seed_1")
    other = load_file(only(tree, "level_1/randomly_prune_*/mask.safetensors"))
    assert all(not (other[name] & ~mask[name]).any() for name in mask)
    for level, fraction in ((0, 1), (1, 0.5)):
        folder = tree / f"level_{level}"
        found, result = (
            load_file(folder / "mask.safetensors"),
            json.loads((folder / "result.json").read_text()),
        )
        hidden = [name for name in mask if "hidden" in name]
        assert all(not (found[name] & ~mask[name]).any() for name in hidden)
        kept = sum(int(found[name].sum()) for name in hidden)
        assert kept == round(fraction * (64 * 16 + 16 * 16) / 2)
        sizes = sum(part.numel() for part in found.values())
        assert result["density"] == pytest.approx((kept + 160) / sizes)
        weights = load_file(folder / "weights/step_22.safetensors")
        assert all(not weights[name][~found[name]].any() for name in found)
