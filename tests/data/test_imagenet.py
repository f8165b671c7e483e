import pytest

from isthmus.data.imagenet import ImageNet
from isthmus.data.splits import Augmentation, StreamedSplit
from tests.data import made


def write(root):
    made.write_folder(root / "imagenet", ("train", "val"), size=(20, 16), each=10)
    return ImageNet(root=str(root), image_size=8, resize=10)


def test_imagenet_is_streamed_and_its_val_is_the_test_split(tmp_path):
    data = write(tmp_path).load(0)
    assert all(isinstance(split, StreamedSplit) for split in (data.train, data.val, data.test))
    assert (len(data.train), len(data.val), len(data.test)) == (19, 1, 20)
    assert data.input_shape == (3, 8, 8) and data.class_names == ("cat", "dog")
    assert data.augmentation == Augmentation(resized_crop=True, flip=True)
    assert data.train.path(18).endswith("imagenet/train/dog/9.png")


def test_options_of_training_data_apply_to_files(tmp_path):
    write(tmp_path)
    recipe = ImageNet(
        root=str(tmp_path),
        val_fraction=0.25,
        subsample_fraction=0.4,
        random_labels_fraction=1.0,
        blur_factor=2,
        unsupervised_labels="rotation",
    )
    data = recipe.load(0)
    assert (len(data.train), len(data.val)) == (6, 5)
    assert not set(data.train.indices.tolist()) & set(data.val.indices.tolist())
    assert data.train.blur_factor == 2 and data.val.blur_factor == data.test.blur_factor == 1
    assert data.num_classes == 4 and not data.augmentation.flip
    assert data.val.labels.tolist() == data.val.quarter_turns.tolist()
    assert data.train.labels.tolist() != data.train.quarter_turns.tolist()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("resize", 200, "must be at least image_size, 224, got 200"),
        ("image_size", 0, "must be at least 1, or null, got 0"),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        ImageNet(**{name: value})


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no train/ and val/ in .*/imagenet, which does no"):
        ImageNet(root=str(tmp_path)).load(0)


def test_without_a_test_split_its_folder_need_not_be_there(tmp_path):
    made.write_folder(tmp_path / "imagenet", ("train",), size=(20, 16), each=10)
    recipe = ImageNet(root=str(tmp_path), image_size=8, resize=10, test=False)
    assert list(recipe.load(0).splits) == ["train", "val"]


def test_a_test_set_alone_can_be_evaluated(tmp_path):
    made.write_folder(tmp_path / "imagenet", ("val",), size=(20, 16), each=10)
    data = ImageNet(root=str(tmp_path), image_size=8, resize=10).load(0)
    assert list(data.splits) == ["test"] and data.class_names == ("cat", "dog")
    with pytest.raises(FileNotFoundError, match="no train/ in"):
        ImageNet(root=str(tmp_path), image_size=8, resize=10, test=False).load(0)
