import dataclasses
import pydoc
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from isthmus.data import recipe as data_recipe
from isthmus.data.recipe import ImageRecipe
from isthmus.data.splits import Augmentation, StreamedSplit
from tests.data import made

OPTIONS = sorted((Path(__file__).parents[2] / "conf" / "dataset").glob("*.yaml"))


@dataclass(frozen=True, kw_only=True)
class Made(ImageRecipe):
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
        ImageRecipe()


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


STREAM = StreamedSplit(
    "/", np.array([b"0", b"1", b"2", b"3"]), torch.arange(4), 5 * torch.arange(4), size=16
)


@pytest.mark.parametrize(
    ("fraction", "num_examples", "expected"),
    [(0.07, 100, 7), (0.1, 50_000, 5000), (0.1, 11, 2), (1e-5, 10, 1), (0.0, 10, 0), (1, 3, 3)],
)
def test_a_count_is_rounded_up_from_the_fraction_as_written(fraction, num_examples, expected):
    assert data_recipe.fraction_to_count(fraction, num_examples) == expected


def test_holding_out_parts_the_examples_and_keeps_their_order():
    split = made.split(21)
    rest, held_out = data_recipe.hold_out(split, 0.1, seed=1)
    assert len(rest) == 18 and len(held_out) == 3
    both = torch.cat([rest.indices, held_out.indices])
    assert torch.equal(both.sort().values, split.indices)
    for part in (rest, held_out):
        assert torch.equal(part.indices.sort().values, part.indices)
        assert torch.equal(part.inputs, split.inputs[part.indices // 3])
        assert torch.equal(part.labels, split.labels[part.indices // 3])


def test_holding_out_nothing_leaves_the_split():
    split = made.split(5)
    assert data_recipe.hold_out(split, 0.0, seed=1) == (split, None)


def test_holding_out_depends_on_the_seed_alone():
    split = made.split(50)
    parts = [data_recipe.hold_out(split, 0.2, seed)[1].indices.tolist() for seed in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2]


@pytest.mark.parametrize(("num_examples", "fraction"), [(1, 0.1), (10, 0.95)])
def test_holding_out_everything_is_refused(num_examples, fraction):
    message = f"val_fraction: {fraction} holds out all {num_examples} training examples"
    with pytest.raises(ValueError, match=message):
        data_recipe.hold_out(made.split(num_examples), fraction, seed=1)


def test_a_subsample_has_no_example_twice_and_keeps_the_order():
    split = made.split(100)
    kept = data_recipe.subsample(split, 0.301, seed=0)
    assert len(kept) == 31 and len(set(kept.indices.tolist())) == 31
    assert torch.equal(kept.indices.sort().values, kept.indices)
    assert torch.equal(kept.labels, split.labels[kept.indices // 3])


def test_a_smaller_subsample_lies_within_a_larger_one():
    split = made.split(100)
    sizes = [
        set(data_recipe.subsample(split, part, seed=0).indices.tolist()) for part in (0.1, 0.5)
    ]
    assert sizes[0] < sizes[1]
    assert set(data_recipe.subsample(split, 0.1, seed=1).indices.tolist()) != sizes[0]


def test_a_subsample_of_everything_is_the_split():
    split = made.split(7)
    assert data_recipe.subsample(split, 1.0, seed=0) is split
    assert len(data_recipe.subsample(made.split(1), 0.01, seed=0)) == 1


def test_subsampling_covers_all_examples_evenly():
    split = made.split(10)
    kept = [data_recipe.subsample(split, 0.3, seed).indices // 3 for seed in range(600)]
    counts = torch.cat(kept).bincount(minlength=10)  # expected 180, standard deviation 11
    assert counts.min() > 125 and counts.max() < 235


def test_random_labels_change_only_the_part_asked_for():
    split = replace(made.split(1000), labels=torch.full((1000,), 10))
    noisy = data_recipe.with_random_labels(split, 0.25, num_classes=10, seed=0)
    assert (noisy.labels != 10).sum() == 250
    assert torch.equal(noisy.inputs, split.inputs) and (split.labels == 10).all()


def test_random_labels_are_uniform_and_may_equal_the_old_ones():
    split = replace(made.split(5000), labels=torch.zeros(5000, dtype=torch.int64))
    noisy = data_recipe.with_random_labels(split, 1.0, num_classes=5, seed=0)
    counts = noisy.labels.bincount(minlength=5)  # expected 1000, standard deviation 28
    assert len(counts) == 5 and counts.min() > 850 and counts.max() < 1150


def test_random_labels_of_a_smaller_fraction_are_among_those_of_a_larger_one():
    split = replace(made.split(100), labels=torch.full((100,), 10))
    few = data_recipe.with_random_labels(split, 0.2, 10, seed=3).labels
    many = data_recipe.with_random_labels(split, 0.6, 10, seed=3).labels
    assert torch.equal(few[few != 10], many[few != 10])
    other = data_recipe.with_random_labels(split, 0.2, 10, seed=4).labels
    assert not torch.equal(few, other)


def test_random_labels_are_independent_of_the_subsample():
    split = replace(made.split(1000), labels=torch.full((1000,), 10))
    kept = data_recipe.subsample(split, 0.1, seed=0)
    noisy = data_recipe.with_random_labels(kept, 0.1, num_classes=10, seed=0)
    assert (noisy.labels != 10).sum() == 10  # one permutation for both would relabel all 100


def test_random_labels_of_one_class_are_that_class():
    noisy = data_recipe.with_random_labels(made.split(4), 1.0, num_classes=1, seed=0)
    assert noisy.labels.tolist() == [0, 0, 0, 0]


def test_rotations_are_exact_quarter_turns_with_their_number_as_label():
    split = made.split(40)
    turned = data_recipe.with_rotations(split, "train")
    assert set(turned.labels.tolist()) == {0, 1, 2, 3}
    for before, after, k in zip(split.inputs, turned.inputs, turned.labels, strict=True):
        assert torch.equal(after, torch.rot90(before, int(k), dims=(1, 2)))


def test_the_rotation_of_an_image_depends_on_its_index_and_part_alone():
    split = made.split(40)
    whole = data_recipe.with_rotations(split, "train")
    some = torch.tensor([30, 2, 17])
    part = data_recipe.with_rotations(split.take(some), "train")
    assert torch.equal(part.labels, whole.labels[some])
    assert not torch.equal(data_recipe.with_rotations(split, "test").labels, whole.labels)


def test_rotations_of_a_stream_are_left_to_decoding():
    turned = data_recipe.with_rotations(STREAM, "train")
    assert torch.equal(turned.labels, turned.quarter_turns)


@pytest.mark.parametrize("split", [made.split(2, height=4, width=6), made.features(2)])
def test_rotations_need_square_images(split):
    with pytest.raises(ValueError, match="unsupervised_labels: rotation needs square images, got"):
        data_recipe.with_rotations(split, "train")


def test_blur_is_that_of_pillow():
    images = made.split(3, height=32, width=32).inputs
    blurred = data_recipe.blur(images, 4)
    for before, after in zip(images, blurred, strict=True):
        image = Image.fromarray(before.permute(1, 2, 0).numpy())
        small = image.resize((8, 8), Image.Resampling.BILINEAR)
        expected = np.asarray(small.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
        difference = np.abs(after.permute(1, 2, 0).numpy().astype(int) - expected)
        assert difference.max() <= 2  # Pillow rounds the small image to whole values too


def test_blur_leaves_even_images_and_takes_detail_from_others():
    even = torch.full((1, 1, 9, 7), 200, dtype=torch.uint8)
    assert torch.equal(data_recipe.blur(even, 3), even)
    images = made.split(3).inputs
    assert data_recipe.blur(images, 2).float().var() < images.float().var() / 2


def test_blur_in_chunks_is_blur_at_once(monkeypatch):
    monkeypatch.setattr(data_recipe, "CHUNK", 3)
    split = made.split(7)
    assert torch.equal(data_recipe.with_blur(split, 2).inputs, data_recipe.blur(split.inputs, 2))
    assert data_recipe.with_blur(split, 1) is split


def test_blur_of_a_stream_is_left_to_decoding():
    assert data_recipe.with_blur(STREAM, 4).blur_factor == 4


@pytest.mark.parametrize("split", [made.split(2), made.features(20), STREAM])
def test_blur_beyond_the_side_of_an_image_is_refused(split):
    message = "blur_factor: must be at most the side of an image, got 17"
    with pytest.raises(ValueError, match=message):
        data_recipe.with_blur(split, 17)


def test_a_stream_is_held_out_and_subsampled_like_images_in_memory():
    stream, memory = STREAM, made.split(4)
    rest, held_out = data_recipe.hold_out(stream, 0.5, seed=3)
    rest_in_memory, held_out_in_memory = data_recipe.hold_out(memory, 0.5, seed=3)
    assert torch.equal(rest.indices // 5, rest_in_memory.indices // 3)
    assert torch.equal(held_out.indices // 5, held_out_in_memory.indices // 3)
    assert [int(name) for name in rest.files] == (rest.indices // 5).tolist()
    assert len(data_recipe.subsample(stream, 0.5, seed=0)) == 2
    assert data_recipe.with_random_labels(stream, 1.0, 1, seed=0).labels.tolist() == [0, 0, 0, 0]
