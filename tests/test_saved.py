from typing import Any

import pytest

from src import fingerprints, saved
from src.config import ConfigError
from tests.data import made

MODEL = {"_target_": "src.models.mlp.MLP", "_partial_": True, "width": [3], "init": "orthogonal"}
DIGITS = {"_target_": "src.data.digits.Digits", "val_fraction": 0.3, "cutout": 2}


def metadata(model: dict[str, Any]) -> dict[str, Any]:
    return {"config": {"model": model}, "input_shape": [1, 2, 2], "num_classes": 5}


def test_a_saved_model_is_built_as_it_was():
    model = saved.model(metadata(MODEL))
    assert [layer.in_features for layer in model.hidden] == [4]
    assert model.output.out_features == 5


@pytest.mark.parametrize("target", ["os.system", "torch.hub.load", "srcs.models.mlp.MLP"])
def test_a_saved_part_outside_src_is_refused(target):
    text = f"model: {target} is not in src; only that can be rebuilt"
    with pytest.raises(ConfigError, match=f"^{text}$"):
        saved.model(metadata({"_target_": target}))


@pytest.mark.parametrize(
    "change",
    [
        {"_target_": "src.config.os.system"},
        {"_args_": [{"_target_": "os.system", "command": "true"}]},
        {"width": {"_target_": "os.system", "command": "true"}},
    ],
)
def test_a_saved_part_cannot_reach_out_of_src(change):
    with pytest.raises(ConfigError, match="^This cannot be rebuilt:\n  model"):
        saved.model(metadata(MODEL | change))


def test_a_saved_part_that_does_not_fit_the_code_any_more_is_refused():
    with pytest.raises(ConfigError) as refused:
        saved.model(metadata(MODEL | {"height": 3, "bias": "yes"}))
    assert str(refused.value) == (
        "This cannot be rebuilt:\n"
        "  model.height=3: no such option; model takes activation, bias, bn_init, depth, freeze, "
        "freeze_exceptions, init, width\n"
        "  model.bias=yes: must be true or false or one of input"
    )


def digits(**changes: Any) -> dict[str, Any]:
    """Metadata of weights trained on digits."""
    config = {"dataset": DIGITS, "global_seed": 7, "seeds": {"label_noise": None}}
    return {"config": config | changes, "input_shape": [1, 8, 8], "num_classes": 10}


def test_saved_data_is_that_of_the_weights():
    data = saved.data({"root": "anywhere"}, [], digits(), "cache")
    assert (len(data.train), len(data.val), data.augmentation.cutout) == (1005, 432, 2)


def test_values_for_the_data_take_the_place_of_the_saved_ones():
    data = saved.data({"root": "anywhere", "cutout": 0, "val_fraction": 0.1}, [], digits(), "cache")
    assert len(data.val) == 144
    assert data.augmentation is None


def test_label_noise_is_that_of_the_training():
    noisy = DIGITS | {"random_labels_fraction": 1.0}
    by_global, by_own, other = (
        saved.data({"root": None}, [], digits(dataset=noisy, **seeds), "cache").train.labels
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
        "_target_": "src.data.image_folder.ImageFolder",
        "folder": "",
        "fingerprint": fingerprints.folder(str(path), options.get("test", True)),
    }
    return digits(dataset=node | options)


def test_a_folder_may_move_but_not_change(tmp_path):
    trained = folder(tmp_path / "a")
    made.write_folder(tmp_path / "moved")
    made.write_folder(tmp_path / "other")
    made.write_image(tmp_path / "other" / "train" / "cat" / "7.png")
    found = saved.data({"root": str(tmp_path / "moved")}, [], trained, str(tmp_path / "cache"))
    assert found.class_names == ("cat", "dog")
    assert list((tmp_path / "cache").glob("images_*.safetensors"))
    with pytest.raises(ConfigError, match="is not the folder that these weights were trained on"):
        saved.data({"root": str(tmp_path / "other")}, [], trained, str(tmp_path / "cache"))


def test_a_folder_that_is_not_there_is_not_another_one(tmp_path):
    trained = folder(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="nowhere, which does not exist"):
        saved.data({"root": str(tmp_path / "nowhere")}, [], trained, str(tmp_path / "cache"))


def test_a_folder_is_held_against_the_parts_that_were_trained_with(tmp_path):
    trained = folder(tmp_path / "a", test=False)
    made.write_image(tmp_path / "a" / "test" / "cat" / "7.png")
    node = {"root": str(tmp_path / "a"), "test": True}
    assert len(saved.data(node, [], trained, str(tmp_path / "cache")).test) == 7
