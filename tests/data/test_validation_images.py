import numpy as np
import pytest

from isthmus.data import validation_images
from isthmus.data.digits import Digits
from isthmus.data.torchvision_files import MNIST


def test_images_are_found_by_their_indices_in_any_order():
    data = Digits(val_fraction=0.3).load(1)
    indices = data.val.indices.numpy()[[5, 0, 17]]
    pixels, labels = validation_images.read_validation_images(Digits(), indices)
    assert np.array_equal(pixels, data.val.inputs[[5, 0, 17]].numpy() / np.float32(16))
    assert labels == [str(label) for label in data.val.labels[[5, 0, 17]].tolist()]


def test_a_data_set_that_is_not_there_is_not_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"^MNIST is not in dataset.root={tmp_path}$"):
        validation_images.read_validation_images(MNIST(root=str(tmp_path)), np.array([0]))
    assert not list(tmp_path.iterdir())


def test_examples_that_are_no_images_are_refused():
    with pytest.raises(ValueError, match="^the examples of Features are no images in memory$"):
        validation_images.read_validation_images(Features(), np.array([0]))


class Features(Digits):
    """Digits as rows of features."""

    def read(self):
        from dataclasses import replace

        data = super().read()
        return replace(data, train=replace(data.train, inputs=data.train.inputs.flatten(1)))
