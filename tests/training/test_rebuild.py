from typing import Any

import pytest
import yaml

from isthmus.config import schema
from isthmus.config.launch import ConfigError
from isthmus.store import fingerprints
from isthmus.training import rebuild
from tests.data import made

MODEL = {
    "_target_": "isthmus.models.mlp.MLP",
    "_partial_": True,
    "width": [3],
    "init": "orthogonal",
}
DIGITS = {"_target_": "isthmus.data.digits.Digits", "val_fraction": 0.3, "cutout": 2}


def metadata(model: dict[str, Any]) -> dict[str, Any]:
    return {"config": {"model": model}, "input_shape": [1, 2, 2], "num_classes": 5}


def test_a_saved_model_is_built_as_it_was():
    model = rebuild.build_model(metadata(MODEL))
    assert [layer.in_features for layer in model.hidden] == [4]
    assert model.output.out_features == 5


@pytest.mark.parametrize("target", ["os.system", "torch.hub.load", "srcs.models.mlp.MLP"])
def test_a_saved_part_outside_src_is_refused(target):
    with pytest.raises(ConfigError, match=f"^model: {target} is not "):
        rebuild.build_model(metadata({"_target_": target}))


@pytest.mark.parametrize(
    "change",
    [
        {"_target_": "isthmus.config.launch.os.system"},
        {"_target_": "isthmus.store.files.write_bytes", "path": "x", "content": ""},
        {"_target_": "isthmus.models.initialize.initialize"},
        {"_target_": "isthmus.models.no_module.Nothing"},
        {"_target_": "isthmus.data.digits.Digits"},
        {"_target_": ["isthmus.models.mlp.MLP"]},
        {"_args_": [{"_target_": "os.system", "command": "true"}]},
        {"width": {"_target_": "os.system", "command": "true"}},
        {"width": [{"_target_": "os.system", "command": "true"}]},
        {"activation": "${oc.env:HOME}"},
    ],
)
def test_a_saved_part_is_a_class_of_its_package_with_plain_arguments(change):
    with pytest.raises(ConfigError, match="^model: "):
        rebuild.build_model(metadata(MODEL | change))


@pytest.mark.parametrize(
    "target",
    ["MLP", "isthmus.models.mlp.MLP", "isthmus.models.mlp.MLP", "isthmus.models.moved.MLP"],
)
def test_a_part_is_found_wherever_its_module_was(target):
    assert type(rebuild.build_model(metadata(MODEL | {"_target_": target}))).__name__ == "MLP"


def test_a_class_may_be_derived_from_another_one_of_its_package():
    node = {"_target_": "isthmus.models.skip_mlp.SkipMLP", "width": [3], "reads": [1, 1]}
    assert type(rebuild.build_model(metadata(node))).__name__ == "SkipMLP"


@pytest.mark.parametrize(
    "dataset",
    [
        {"_target_": "os.system", "command": "touch ran"},
        {"_target_": "isthmus.data.download.fetch"},
        {"_target_": "isthmus.data.batches.TrainBatches"},
        {"_target_": "isthmus.models.mlp.MLP"},
        {"_target_": "isthmus.data.digits.Digits", "cutout": {"_target_": "os.getcwd"}},
        {"_target_": "beside.Data"},
        "os.system",
        None,
    ],
)
def test_a_run_names_only_data_sets(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.py").write_text("open('ran', 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="^dataset: "):
        rebuild.data_recipe_of_run(run_of({"dataset": dataset}, tmp_path), "cache")
    assert not (tmp_path / "ran").exists()


def test_a_run_says_its_data_set_and_where_it_lies_now(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", "elsewhere")
    node = {
        "_target_": "isthmus.data.image_folder.ImageFolder",
        "root": "${oc.env:DATA_ROOT,data}",
        "cache_dir": "/somewhere/else",
        "fingerprint": "${fingerprint:/}",
    }
    recipe = rebuild.data_recipe_of_run(run_of({"dataset": node}, tmp_path), "cache")
    assert (recipe.root, recipe.cache_dir, recipe.fingerprint) == ("elsewhere", "cache", None)


@pytest.mark.parametrize(
    "root", ["${content:/dev/zero}", "${oc.env:${fingerprint:/}}", "${nope}", "${far}", "${a.far}"]
)
def test_a_run_cannot_have_anything_computed(root, tmp_path):
    node = {"_target_": "isthmus.data.digits.Digits", "root": root}
    far = "${content:/dev/zero}"
    with pytest.raises(ValueError, match="config.yaml"):
        rebuild.data_recipe_of_run(
            run_of({"dataset": node, "far": far, "a": {"far": far}}, tmp_path), "x"
        )


def run_of(values: dict[str, Any], folder: Any) -> Any:
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(values))
    return folder


def test_a_saved_part_that_does_not_fit_the_code_any_more_is_refused():
    with pytest.raises(ConfigError) as refused:
        rebuild.build_model(metadata(MODEL | {"height": 3, "bias": "yes"}))
    assert str(refused.value) == (
        "This cannot be rebuilt:\n"
        "  model.height=3: no such option; model takes activation, bias, bn_init, depth, freeze, "
        "freeze_exceptions, init, width\n"
        "  model.bias=yes: must be true or false or one of input"
    )


def typed(node: dict[str, Any]) -> Any:
    return schema.make_part("dataset", node)


def digits(**changes: Any) -> dict[str, Any]:
    """Metadata of weights trained on digits."""
    config = {"dataset": DIGITS, "global_seed": 7, "seeds": {"label_noise": None}}
    return {"config": config | changes, "input_shape": [1, 8, 8], "num_classes": 10}


def test_saved_data_is_that_of_the_weights():
    data = rebuild.load_data_set(typed({"root": "anywhere"}), [], digits(), "cache")
    assert (len(data.train), len(data.val), data.augmentation.cutout) == (1005, 432, 2)


def test_values_for_the_data_take_the_place_of_the_saved_ones():
    data = rebuild.load_data_set(
        typed({"root": "anywhere", "cutout": 0, "val_fraction": 0.1}), [], digits(), "cache"
    )
    assert len(data.val) == 144
    assert data.augmentation is None


def test_label_noise_is_that_of_the_training():
    noisy = DIGITS | {"random_labels_fraction": 1.0}
    by_global, by_own, other = (
        rebuild.load_data_set(
            typed({"root": None}), [], digits(dataset=noisy, **seeds), "cache"
        ).train.labels
        for seeds in (
            {},
            {"global_seed": 1, "seeds": {"label_noise": 7}},
            {"global_seed": 7, "seeds": {"label_noise": 8}},
        )
    )
    assert by_global.equal(by_own)
    assert not by_global.equal(other)


def folder(path: Any, **options: Any) -> dict[str, Any]:
    """Metadata of weights trained on a folder of images."""
    made.write_folder(path)
    node = {
        "_target_": "isthmus.data.image_folder.ImageFolder",
        "folder": "",
        "fingerprint": fingerprints.folder_fingerprint(str(path), options.get("test", True)),
    }
    return digits(dataset=node | options)


def test_a_folder_may_move_but_not_change(tmp_path):
    trained = folder(tmp_path / "a")
    made.write_folder(tmp_path / "moved")
    made.write_folder(tmp_path / "other")
    made.write_image(tmp_path / "other" / "train" / "cat" / "7.png")
    found = rebuild.load_data_set(
        typed({"root": str(tmp_path / "moved")}), [], trained, str(tmp_path / "cache")
    )
    assert found.class_names == ("cat", "dog")
    assert list((tmp_path / "cache").glob("images_*.safetensors"))
    with pytest.raises(ConfigError, match="is not the folder that these weights were trained on"):
        rebuild.load_data_set(
            typed({"root": str(tmp_path / "other")}), [], trained, str(tmp_path / "cache")
        )


def test_a_folder_that_is_not_there_is_not_another_one(tmp_path):
    trained = folder(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="nowhere, which does not exist"):
        rebuild.load_data_set(
            typed({"root": str(tmp_path / "nowhere")}), [], trained, str(tmp_path / "cache")
        )


def test_a_folder_is_held_against_the_parts_that_were_trained_with(tmp_path):
    trained = folder(tmp_path / "a", test=False)
    made.write_image(tmp_path / "a" / "test" / "cat" / "7.png")
    node = {"root": str(tmp_path / "a"), "test": True}
    assert len(rebuild.load_data_set(typed(node), [], trained, str(tmp_path / "cache")).test) == 7


@pytest.mark.parametrize("value", ["${oc.env:HOME}", {"_target_": "os.system"}])
def test_values_of_the_training_are_plain_where_the_data_set_is_typed(value):
    other = typed({"_target_": DIGITS["_target_"], "root": None})
    trained = digits(dataset=DIGITS | {"cutout": value})
    with pytest.raises(ConfigError, match="would itself be computed"):
        rebuild.load_data_set(other, [], trained, "cache")
    assert len(rebuild.load_data_set(other, ["cutout"], trained, "cache").val) == 432
