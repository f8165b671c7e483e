import numpy as np
import pytest
import torch
from PIL import Image

from src.data import decoding
from tests.data import made


def listed(*names):
    return np.array([name.encode() for name in names])


def test_decoded_images_are_those_that_were_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "CHUNK", 2)
    images = [made.write_image(tmp_path / f"{n}.png", (6, 4), seed=n) for n in range(5)]
    tensor = decoding.decode(tmp_path, listed(*(f"{n}.png" for n in range(5))), None)
    assert tensor.shape == (5, 3, 4, 6) and tensor.dtype == torch.uint8
    for image, decoded in zip(images, tensor, strict=True):
        assert np.array_equal(decoded.permute(1, 2, 0).numpy(), np.asarray(image))


def test_gray_images_become_three_equal_channels_and_transparency_is_dropped(tmp_path):
    gray = made.write_image(tmp_path / "gray.png", mode="L")
    glass = made.write_image(tmp_path / "glass.png", mode="RGBA")
    tensor = decoding.decode(tmp_path, listed("gray.png", "glass.png"), None)
    assert all(np.array_equal(channel, np.asarray(gray)) for channel in tensor[0].numpy())
    assert np.array_equal(tensor[1].permute(1, 2, 0).numpy(), np.asarray(glass)[:, :, :3])


def test_a_jpeg_is_decoded_as_by_pillow(tmp_path):
    made.write_image(tmp_path / "a.JPG", (9, 9))
    tensor = decoding.decode(tmp_path, listed("a.JPG"), None)
    with Image.open(tmp_path / "a.JPG") as image:
        assert np.array_equal(tensor[0].permute(1, 2, 0).numpy(), np.asarray(image))


@pytest.mark.parametrize("size", [(16, 8), (8, 16), (5, 31), (8, 8), (3, 3)])
def test_resizing_takes_the_central_square(tmp_path, size):
    image = made.write_image(tmp_path / "a.png", size)
    tensor = decoding.decode(tmp_path, listed("a.png"), 8)
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    expected = image.resize(
        (8, 8), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    assert np.array_equal(tensor[0].permute(1, 2, 0).numpy(), np.asarray(expected))


def test_images_of_different_sizes_are_refused_naming_the_first_two(tmp_path):
    made.write_image(tmp_path / "a.png", (6, 4))
    made.write_image(tmp_path / "b.png", (5, 4))
    message = "a.png is 6x4, .*b.png is 5x4; set dataset.image_size=PIXELS"
    with pytest.raises(ValueError, match=message):
        decoding.decode(tmp_path, listed("a.png", "b.png"), None)
    assert decoding.decode(tmp_path, listed("a.png", "b.png"), 4).shape == (2, 3, 4, 4)


def test_a_file_that_is_no_image_is_named(tmp_path):
    made.write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(ValueError, match="b.png cannot be read as an image: "):
        decoding.decode(tmp_path, listed("a.png", "b.png"), None)


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_a_file_cut_short_is_named(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    made.write_image(path, (64, 64))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match=f"a.{extension} cannot be read as an image: "):
        decoding.decode(tmp_path, listed(path.name), 8)


def counting(tensors):
    """What builds these tensors, and the list that tells how often it was asked to."""
    calls = []

    def build():
        calls.append(1)
        return tensors

    return build, calls


def test_the_cache_builds_once_and_returns_the_same(tmp_path):
    tensors = {"train": torch.arange(6, dtype=torch.uint8), "test": torch.ones(2, 2)}
    build, calls = counting(tensors)
    for _ in range(3):
        found = decoding.cached(str(tmp_path / "deep" / "cache"), "key", build)
        assert set(found) == set(tensors)
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert len(calls) == 1
    decoding.cached(str(tmp_path / "deep" / "cache"), "other", build)
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_cache_is_built_anew(tmp_path, damage):
    build, calls = counting({"train": torch.arange(1000)})
    decoding.cached(str(tmp_path), "key", build)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:500] if damage is None else damage)
    assert torch.equal(decoding.cached(str(tmp_path), "key", build)["train"], torch.arange(1000))
    assert torch.equal(decoding.cached(str(tmp_path), "key", build)["train"], torch.arange(1000))
    assert len(calls) == 2


def test_a_failed_build_leaves_no_cache(tmp_path):
    with pytest.raises(ZeroDivisionError):
        decoding.cached(str(tmp_path), "key", lambda: 1 / 0)
    build, _ = counting({"train": torch.arange(3)})
    decoding.cached(str(tmp_path), "key", build)
    assert sorted(path.suffix for path in tmp_path.iterdir()) in (
        [".lock", ".safetensors"],
        [".safetensors"],
    )
