import dataclasses
import pydoc
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from isthmus.data.recipe import DataRecipe
from isthmus.data.splits import Augmentation
from tests.data import made

OPTIONS = sorted((Path(__file__).parents[2] / "conf" / "dataset").glob("*.yaml"))


@dataclass(frozen=True, kw_only=True)
class Made(DataRecipe):
    """100 images made up."""

    def read(self):
        return made.data_set(made.split(100), Augmentation(padding=2, flip=True))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("val_fraction", 1.5, r"must be in \[0, 1\), got 1.5"),
        ("val_fraction", 1.0, r"must be in \[0, 1\), got 1.0"),
        ("val_fraction", -0.1, r"must be in \[0, 1\), got -0.1"),
        ("cutout", -1, "must be at least 0, got -1"),
        ("subsample_fraction", 0.0, r"must be in \(0, 1\], got 0.0"),
        ("subsample_fraction", 1.1, r"must be in \(0, 1\], got 1.1"),
        ("random_labels_fraction", 1.1, r"must be in \[0, 1\], got 1.1"),
        ("blur_factor", 0, "must be at least 1, got 0"),
        ("unsupervised_labels", "colour", "must be rotation or null, got colour"),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}$"):
        Made(**{name: value})


def test_a_recipe_that_is_not_read_says_so():
    with pytest.raises(TypeError, match="abstract"):
        DataRecipe()


def test_loading_holds_out_and_then_subsamples():
    data = Made(val_fraction=0.2, subsample_fraction=0.25).load(0)
    assert (len(data.train), len(data.val), len(data.test)) == (20, 20, 100)
    assert not set(data.train.indices.tolist()) & set(data.val.indices.tolist())


def test_val_is_the_same_whatever_else_is_asked_for():
    plain = Made().load(0)
    other = Made(
        subsample_fraction=0.5, random_labels_fraction=1.0, blur_factor=2, augment=True
    ).load(7)
    assert torch.equal(plain.val.inputs, other.val.inputs)
    assert torch.equal(plain.val.labels, other.val.labels)
    assert torch.equal(plain.test.inputs, other.test.inputs)
    assert torch.equal(plain.test.labels, other.test.labels)
    assert not torch.equal(Made(val_seed=1).load(0).val.indices, plain.val.indices)


def test_nothing_held_out_leaves_no_val():
    data = Made(val_fraction=0.0).load(0)
    assert data.val is None and len(data.train) == 100


def test_label_noise_changes_labels_of_the_training_set_alone():
    plain, noisy = Made().load(0), Made(random_labels_fraction=0.5).load(0)
    assert torch.equal(plain.train.inputs, noisy.train.inputs)
    assert not torch.equal(plain.train.labels, noisy.train.labels)
    assert torch.equal(noisy.train.labels, Made(random_labels_fraction=0.5).load(0).train.labels)
    other = Made(random_labels_fraction=0.5).load(1).train.labels
    assert not torch.equal(noisy.train.labels, other)


def test_blur_changes_images_of_the_training_set_alone():
    plain, blurred = Made().load(0), Made(blur_factor=2).load(0)
    assert not torch.equal(plain.train.inputs, blurred.train.inputs)
    assert torch.equal(plain.train.labels, blurred.train.labels)


def test_rotations_replace_the_labels_of_every_split():
    data = Made(unsupervised_labels="rotation", augment=True).load(0)
    assert data.num_classes == 4 and data.class_names == ("0", "90", "180", "270")
    for split in (data.train, data.val, data.test):
        assert split.labels.max() == 3
    # held out or not, an image is turned in the same way
    whole = Made(unsupervised_labels="rotation", val_fraction=0.0).load(0).train
    assert torch.equal(data.val.inputs, whole.inputs[data.val.indices // 3])


def test_rotated_images_are_not_flipped():
    data = Made(unsupervised_labels="rotation", augment=True).load(0)
    assert data.augmentation == Augmentation(padding=2)


def test_random_labels_of_rotations_are_among_the_four():
    data = Made(unsupervised_labels="rotation", random_labels_fraction=1.0).load(0)
    assert data.train.labels.max() == 3
    assert not torch.equal(
        data.train.labels, Made(unsupervised_labels="rotation").load(0).train.labels
    )


def test_augmentation_is_what_augment_and_cutout_ask_for():
    assert Made().load(0).augmentation is None
    assert Made(augment=True).load(0).augmentation == Augmentation(padding=2, flip=True)
    assert Made(cutout=3).load(0).augmentation == Augmentation(cutout=3)


def test_there_are_options_to_test():
    assert "digits" in [path.stem for path in OPTIONS]


def without(option):
    """Values that make no sense for a data set: those of images, and of labels that are classes."""
    of_images = {"augment", "cutout", "blur_factor", "unsupervised_labels"}
    of_classes = {"random_labels_fraction"}
    return {"clusters": of_images, "function_1d": of_images | of_classes}.get(option, set())


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_file_has_every_value_but_root_and_the_defaults_of_the_code(path):
    values = OmegaConf.to_container(OmegaConf.load(path))
    recipe = pydoc.locate(values.pop("_target_"))
    values.pop("fingerprint", None)  # read from the folder
    values.pop("cache_dir", None)  # beside the runs, wherever those are
    expected = {
        field.name: getattr(recipe(), field.name)
        for field in dataclasses.fields(recipe)
        if field.name not in {"root", "fingerprint", "cache_dir", *without(path.stem)}
    }
    assert values == expected
    assert path.read_text().startswith("# ") and "python train.py" in path.read_text()
