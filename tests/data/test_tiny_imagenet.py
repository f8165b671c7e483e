import pytest

from isthmus.data.tiny_imagenet import TinyImageNet
from tests.data import made

CLASSES = ("n01", "n02", "n03")


def write(root, lines=("val_0.JPEG\tn03\t0\t0\t62\t62", "val_1.JPEG\tn01\t0\t0\t62\t62")):
    """Tiny ImageNet as distributed, with two images a class."""
    base = root / "tiny-imagenet-200"
    for label, name in enumerate(CLASSES):
        for number in range(2):
            path = base / "train" / name / "images" / f"{name}_{number}.JPEG"
            made.write_image(path, (64, 64), seed=10 * label + number)
        (base / "train" / name / f"{name}_boxes.txt").write_text("boxes")
    for number in range(2):
        made.write_image(base / "val" / "images" / f"val_{number}.JPEG", (64, 64), seed=number)
    if lines is not None:
        (base / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return root


def load(root):
    return TinyImageNet(root=str(root), cache_dir=str(root / "cache"), val_fraction=0.0).load(0)


def test_the_distributed_folder_is_read_and_its_val_is_the_test_split(tmp_path):
    data = load(write(tmp_path))
    assert data.class_names == CLASSES and data.input_shape == (3, 64, 64)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.labels.tolist() == [2, 0]
    assert data.augmentation.padding == 8 and data.augmentation.flip


def test_missing_annotations_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="val_annotations.txt: .* has images; .*=imagefold"):
        load(write(tmp_path, lines=None))


def test_an_image_without_a_known_class_is_named(tmp_path):
    write(tmp_path, lines=["val_0.JPEG\tn03"])
    with pytest.raises(ValueError, match="gives val/images/val_1.JPEG the class None, which tra"):
        load(tmp_path)
    write(tmp_path, lines=["val_0.JPEG\tn03", "val_1.JPEG\tn09"])
    with pytest.raises(ValueError, match="gives val/images/val_1.JPEG the class n09, which train"):
        load(tmp_path)


def test_a_val_folder_without_images_is_named(tmp_path):
    for image in (write(tmp_path) / "tiny-imagenet-200" / "val" / "images").iterdir():
        image.unlink()
    with pytest.raises(FileNotFoundError, match="val/images has no image"):
        load(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    message = "no train/ and val/ in .*/tiny-imagenet-200, which does not exist"
    with pytest.raises(FileNotFoundError, match=message):
        load(tmp_path)


def test_a_value_outside_its_range_is_refused_by_name():
    with pytest.raises(ValueError, match="^image_size: must be at least 1, or null, got 0"):
        TinyImageNet(image_size=0)


def test_without_a_test_split_its_folder_need_not_be_there(tmp_path):
    write(tmp_path, lines=None)
    data = TinyImageNet(root=str(tmp_path), cache_dir=str(tmp_path / "c"), test=False).load(0)
    assert data.test is None and data.class_names == CLASSES
