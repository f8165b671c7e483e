import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.data import decoding
from tests.data import made, stored


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


GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16)
RGB = np.stack([GRAY, GRAY.T, 255 - GRAY], axis=2)
BOTH_ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def pixels_of(path):
    return np.asarray(decoding.open_image(str(path)))


def check(path, expected):
    """The file is read as these pixels, (height, width) or with 3 channels, of 8 bits."""
    wanted = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=2)
    assert np.array_equal(pixels_of(path), wanted)


@pytest.mark.parametrize("pixels", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize("factor", [257, 256])
def test_a_png_of_16_bits_is_the_same_in_8(tmp_path, pixels, factor):
    stored.png(tmp_path / "a.png", pixels.astype(np.uint16) * np.uint16(factor))
    check(tmp_path / "a.png", pixels)


@BOTH_ORDERS
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("pixels", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize("factor", [257, 256])
def test_a_tiff_of_16_bits_is_the_same_in_8(tmp_path, pixels, factor, compressed, order):
    wide = pixels.astype(np.uint16) * np.uint16(factor)
    stored.tiff(tmp_path / "a.tif", wide, order, compressed)
    check(tmp_path / "a.tif", pixels)


@BOTH_ORDERS
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("dtype", "scale"), [("i2", 2**15 - 1), ("i4", 2**31 - 1), ("f4", 1)], ids=str
)
def test_signed_integers_and_floats_are_scaled(tmp_path, dtype, scale, compressed, order):
    wide = np.ceil(GRAY * (scale / 255)) if dtype != "f4" else GRAY / np.float32(255)
    stored.tiff(tmp_path / "a.tif", wide.astype(dtype), order, compressed)
    check(tmp_path / "a.tif", GRAY)


@pytest.mark.parametrize("compressed", [False, True])
def test_integers_of_32_bits_without_a_sign_are_scaled(tmp_path, compressed):
    stored.tiff(tmp_path / "a.tif", GRAY.astype("u4") * np.uint32(2**24 + 1), "<", compressed)
    check(tmp_path / "a.tif", GRAY)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_where_white_is_zero_the_image_is_inverted(tmp_path, dtype):
    wide = GRAY / np.float32(255) if dtype == "f4" else GRAY.astype("u2") * np.uint16(257)
    stored.tiff(tmp_path / "a.tif", wide, white_is_zero=True)
    check(tmp_path / "a.tif", 255 - GRAY)


def test_a_pgm_of_16_bits_is_the_same_in_8(tmp_path):
    wide = (GRAY.astype(">u2") * np.uint16(257)).tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5 16 16 65535\n" + wide)
    check(tmp_path / "a.pgm", GRAY)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (np.full((4, 4), 255, "f4"), "255"),
        (np.full((4, 4), -0.01, "f4"), "-0.01"),
        (np.full((4, 4), np.nan, "f4"), "nan"),
        (np.full((4, 4), -3, "i4"), "-3"),
        (np.full((4, 4), -3, "i2"), "-3"),
        (np.full((4, 4), 65535, "i4"), "65535"),
        (np.full((4, 4), 200, "u2"), "200"),
    ],
    ids=[
        "large",
        "below 0",
        "nan",
        "negative",
        "negative 16",
        "small beside 32",
        "small beside 16",
    ],
)
def test_values_that_cannot_be_scaled_are_refused_by_file(tmp_path, values, name):
    stored.tiff(tmp_path / "a.tif", values)
    with pytest.raises(ValueError, match=f"^{tmp_path}/a.tif cannot be read .*{name}"):
        decoding.open_image(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u4", "f4"])
def test_an_image_that_is_all_black_is_one(tmp_path, dtype):
    stored.tiff(tmp_path / "a.tif", np.zeros((4, 4), dtype))
    check(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))


@BOTH_ORDERS
def test_wide_channels_one_after_the_other_are_refused_where_pillow_misreads_them(tmp_path, order):
    wide = RGB.astype(np.uint16) * np.uint16(257)
    stored.tiff(tmp_path / "a.tif", wide, order, separate=True)
    with pytest.raises(ValueError, match="a.tif cannot be read .* 16 bits"):
        decoding.open_image(str(tmp_path / "a.tif"))
    stored.tiff(tmp_path / "a.tif", wide, order, separate=True, compressed=True)
    check(tmp_path / "a.tif", RGB)
    stored.tiff(tmp_path / "a.tif", RGB, order, separate=True)
    check(tmp_path / "a.tif", RGB)


@pytest.mark.parametrize("dtype", ["f8", "f2"])
def test_a_tiff_that_pillow_cannot_read_is_named(tmp_path, dtype):
    stored.tiff(tmp_path / "a.tif", GRAY.astype(dtype) / np.array(255, dtype))
    with pytest.raises(ValueError, match="a.tif cannot be read as an image: "):
        decoding.open_image(str(tmp_path / "a.tif"))


UPRIGHT = {  # what is done to the stored rows and columns, by the EXIF standard
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp"])
def test_the_exif_orientation_is_applied(tmp_path, extension, orientation):
    image = made.write_image(tmp_path / f"plain.{extension}", (6, 4), seed=orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a.{extension}", exif=exif)
    expected = UPRIGHT[orientation](pixels_of(tmp_path / f"plain.{extension}"))
    check(tmp_path / f"a.{extension}", expected)
    size = expected.shape[:2]
    assert decoding.decode(tmp_path, listed(f"a.{extension}"), None).shape[2:] == size


def test_the_orientation_of_wide_gray_values_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for extension in ("png", "tif"):
        Image.fromarray(GRAY.astype(np.uint16) * 257).save(tmp_path / f"a.{extension}", exif=exif)
        check(tmp_path / f"a.{extension}", np.rot90(GRAY, -1))


def test_exif_that_cannot_be_read_says_nothing(tmp_path):
    image = made.write_image(tmp_path / "plain.png", (6, 4))
    image.save(tmp_path / "a.png", exif=b"Exif\0\0rubbish")
    check(tmp_path / "a.png", np.asarray(image))


@pytest.mark.filterwarnings("error")
def test_colours_of_palettes_remain_and_transparency_is_dropped(tmp_path):
    image = made.write_image(tmp_path / "rgb.png").quantize(200)
    image.save(tmp_path / "a.png", transparency=bytes(range(200)))
    image.save(tmp_path / "a.gif", transparency=3)
    expected = np.asarray(image.convert("RGB"))
    check(tmp_path / "a.png", expected)
    check(tmp_path / "a.gif", expected)
    stored.png(tmp_path / "la.png", np.stack([GRAY, GRAY.T], axis=2).astype(np.uint16) * 257)
    check(tmp_path / "la.png", GRAY)
    Image.fromarray(GRAY).save(tmp_path / "t.png", transparency=3)
    check(tmp_path / "t.png", GRAY)


def test_cmyk_becomes_rgb(tmp_path):
    shades = np.stack([GRAY, GRAY, GRAY, 0 * GRAY], axis=2)
    Image.fromarray(shades, mode="CMYK").save(tmp_path / "a.tif")
    check(tmp_path / "a.tif", 255 - GRAY)


def test_a_file_of_another_kind_is_refused_whatever_its_name(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.eps")  # Pillow starts a program to read it
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png cannot be read as an image: "):
        decoding.open_image(str(tmp_path / "a.png"))


def test_a_file_that_claims_to_be_huge_is_named(tmp_path):
    header = b"P5 100000 100000 255\n"
    (tmp_path / "a.pgm").write_bytes(header + b"0" * 100)
    with pytest.raises(ValueError, match="a.pgm cannot be read as an image: "):
        decoding.open_image(str(tmp_path / "a.pgm"))


@pytest.mark.filterwarnings("ignore")  # Pillow's, of metadata that is damaged
@pytest.mark.parametrize("extension", ["bmp", "gif", "jpg", "pgm", "png", "tif", "webp"])
def test_a_damaged_file_is_read_or_named(tmp_path, extension):
    path, random = tmp_path / f"a.{extension}", np.random.default_rng(0)
    made.write_image(path, (12, 12), mode="L" if extension == "pgm" else "RGB")
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(len(whole), size=4):
            damaged[place] = random.integers(256)
        path.write_bytes(bytes(damaged[: random.integers(1, len(whole) + 1)]))
        try:
            assert decoding.open_image(str(path)).mode == "RGB"
        except ValueError as error:
            assert str(error).startswith(f"{path} cannot be read") and "\n" not in str(error)


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
        found = decoding.cache_decoded(str(tmp_path / "deep" / "cache"), "key", build)
        assert set(found) == set(tensors)
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert len(calls) == 1
    decoding.cache_decoded(str(tmp_path / "deep" / "cache"), "other", build)
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_cache_is_built_anew(tmp_path, damage):
    build, calls = counting({"train": torch.arange(1000)})
    decoding.cache_decoded(str(tmp_path), "key", build)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:500] if damage is None else damage)
    assert torch.equal(
        decoding.cache_decoded(str(tmp_path), "key", build)["train"], torch.arange(1000)
    )
    assert torch.equal(
        decoding.cache_decoded(str(tmp_path), "key", build)["train"], torch.arange(1000)
    )
    assert len(calls) == 2


def test_a_failed_build_leaves_no_cache(tmp_path):
    with pytest.raises(ZeroDivisionError):
        decoding.cache_decoded(str(tmp_path), "key", lambda: 1 / 0)
    build, _ = counting({"train": torch.arange(3)})
    decoding.cache_decoded(str(tmp_path), "key", build)
    assert sorted(path.suffix for path in tmp_path.iterdir()) in (
        [".lock", ".safetensors"],
        [".safetensors"],
    )
