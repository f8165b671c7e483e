import os
import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from isthmus.data.splits import Augmentation
from isthmus.data.torchvision_files import CIFAR10, CIFAR100, MNIST, FashionMNIST
from isthmus.data.torchvision_import import datasets

RANDOM = np.random.default_rng(0)
needs_data = pytest.mark.skipif("DATA_ROOT" not in os.environ, reason="DATA_ROOT is not set")


def write_idx(root, name, sizes=(20, 5)):
    """The four files of MNIST or Fashion-MNIST, of few images."""
    raw, written = root / name / "raw", {}
    raw.mkdir(parents=True)
    for part, size in zip(("train", "t10k"), sizes, strict=True):
        images = RANDOM.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        labels = RANDOM.integers(0, 10, size, dtype=np.uint8)
        header = struct.pack(">iiii", 2051, size, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">ii", 2049, size) + labels.tobytes()
        )
        written[part] = images, labels
    return written


def write_in_root(reader):
    """In place of the method that downloads."""
    write_idx(Path(reader.root), "MNIST")


def write_cifar(root, reader, label_key, monkeypatch):
    """The files of CIFAR-10 or CIFAR-100, of two images each."""
    folder, written = root / reader.base_folder, []
    folder.mkdir(parents=True)
    for name, _ in reader.train_list + reader.test_list:
        images = RANDOM.integers(0, 256, (2, 3 * 32 * 32), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": images, label_key: [3, 1]}))
        written.append(images.reshape(2, 3, 32, 32))
    names = [f"class {label}" for label in range(100 if "100" in reader.base_folder else 10)]
    (folder / reader.meta["filename"]).write_bytes(pickle.dumps({reader.meta["key"]: names}))
    checksum = "torchvision.datasets.cifar.check_integrity"
    monkeypatch.setattr(checksum, lambda path, md5=None: os.path.isfile(path))
    return written


@pytest.mark.parametrize("recipe", [MNIST, FashionMNIST])
def test_idx_files_are_read_bit_for_bit(tmp_path, recipe):
    written = write_idx(tmp_path, recipe.__name__)
    data = recipe(root=str(tmp_path), val_fraction=0.0).load(0)
    for split, part in ((data.train, "train"), (data.test, "t10k")):
        images, labels = written[part]
        assert np.array_equal(split.inputs.squeeze(1).numpy(), images)
        assert split.labels.tolist() == labels.tolist() and split.labels.dtype == torch.int64
        assert split.indices.tolist() == list(range(len(labels)))
    assert data.input_shape == (1, 28, 28) and data.num_classes == 10


@pytest.mark.parametrize(
    ("recipe", "label_key", "num_classes"),
    [(CIFAR10, "labels", 10), (CIFAR100, "fine_labels", 100)],
)
def test_cifar_files_are_read_bit_for_bit(tmp_path, monkeypatch, recipe, label_key, num_classes):
    reader = getattr(datasets(), recipe.__name__)
    *train, test = write_cifar(tmp_path, reader, label_key, monkeypatch)
    data = recipe(root=str(tmp_path), val_fraction=0.0).load(0)
    assert np.array_equal(data.train.inputs.numpy(), np.concatenate(train))
    assert np.array_equal(data.test.inputs.numpy(), test) and data.test.labels.tolist() == [3, 1]
    assert data.num_classes == num_classes and data.input_shape == (3, 32, 32)
    assert data.train.inputs.is_contiguous()


def test_each_set_has_the_augmentation_that_suits_it(tmp_path):
    for name in ("MNIST", "FashionMNIST"):
        write_idx(tmp_path, name)
    root = str(tmp_path)
    assert MNIST(root=root).load(0).augmentation is None
    assert MNIST(root=root, augment=True).load(0).augmentation == Augmentation(padding=2)
    fashion = FashionMNIST(root=root, augment=True).load(0)
    assert fashion.augmentation == Augmentation(padding=2, flip=True)
    assert CIFAR10().augment and CIFAR100().augment


@pytest.mark.parametrize("recipe", [MNIST, FashionMNIST, CIFAR10, CIFAR100])
def test_missing_files_that_cannot_be_downloaded_are_one_error(tmp_path, monkeypatch, recipe):
    def unreachable(*args, **kwargs):
        raise URLError("unreachable")

    for module in ("mnist", "cifar"):
        name = f"torchvision.datasets.{module}.download_and_extract_archive"
        monkeypatch.setattr(name, unreachable)
    root = tmp_path / "data"
    with pytest.raises(FileNotFoundError) as caught:
        recipe(root=str(root)).load(0)
    text = str(caught.value)
    assert text.startswith(f"{recipe.__name__} cannot be read from {root} (which does not exist)")
    assert "unreachable" in text and "\n" not in text and "dataset=digits" in text
    assert str(root / recipe.__name__ / "raw") in text or str(root / "cifar-10") in text
    assert not root.exists() and caught.value.__suppress_context__


@pytest.mark.parametrize("kept", [0, 8, 3000])
def test_files_cut_short_are_not_taken_as_complete(tmp_path, monkeypatch, kept):
    write_idx(tmp_path, "MNIST")
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:kept])
    monkeypatch.setattr(datasets().MNIST, "download", write_in_root)
    assert MNIST(root=str(tmp_path), val_fraction=0.0).load(0).train.inputs.shape[0] == 20


def test_missing_files_are_downloaded_to_the_root(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets().MNIST, "download", write_in_root)
    root = tmp_path / "data"
    assert len(MNIST(root=str(root), val_fraction=0.0).load(0).train) == 20
    assert (root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").exists()
    assert sorted(path.name for path in root.iterdir()) == ["MNIST"]


def test_no_root_is_refused():
    with pytest.raises(ValueError, match="^root: must be the folder that has CIFAR10, got null"):
        CIFAR10(root=None).load(0)


@needs_data
def test_normalization_makes_mnist_standard():
    data = MNIST(root=os.environ["DATA_ROOT"], val_fraction=0.0).load(0)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    values = data.train.inputs.double() / 255
    assert abs(values.mean() - data.normalization.mean[0]) < 1e-4
    assert abs(values.std() - data.normalization.std[0]) < 1e-4
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]


@needs_data
def test_mnist_holds_out_a_tenth():
    data = MNIST(root=os.environ["DATA_ROOT"]).load(0)
    assert (len(data.train), len(data.val)) == (54_000, 6_000)


def test_without_a_test_split_its_files_are_not_read(tmp_path):
    written = write_idx(tmp_path, "MNIST")
    for path in (tmp_path / "MNIST" / "raw").glob("t10k-*"):
        path.write_bytes(b"")  # torchvision wants to see them
    data = MNIST(root=str(tmp_path), val_fraction=0.0, test=False).load(0)
    assert data.test is None
    assert np.array_equal(data.train.inputs.squeeze(1).numpy(), written["train"][0])
