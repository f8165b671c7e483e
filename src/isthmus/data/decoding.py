"""Decoding of image files to 8-bit RGB, and a cache of decoded data sets."""

import functools
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from isthmus.store import locks

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

CHUNK = 256  # images in one task of a thread
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # of the endings that are read
ORIENTATION = 0x0112  # tag of EXIF, and of TIFF as those below
BITS, PHOTOMETRIC, PLANAR, SAMPLE_FORMAT = 258, 262, 284, 339
SIGNED, WHITE_IS_ZERO, SEPARATE_PLANES = 2, 0, 2  # values of the last three


def open_image(path: str) -> "Image":
    """Open an image file as upright RGB in 8 bits; the first image of several.

    Integers of 12, 16 or 32 bits keep the highest 8 of their bits (without the sign bit), so that
    8-bit values stored in 16 bits times 257 or 256 come back as they were. Floating-point numbers
    must be in [0, 1] and are multiplied by 255 and rounded. An image is rotated and mirrored by its
    EXIF orientation. Gray values become three equal channels, a palette is replaced by its colours,
    CMYK is converted without its colour profile, transparency is dropped.

    Raises:
        ValueError: the file holds no image that can be read to its end, or its values cannot be
            scaled: floating-point numbers outside [0, 1], negative integers, integers so small
            for their type that all would become black.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_formats()) as image:
            return _upright(_in_8_bits(image), image).convert("RGB")
    except UnidentifiedImageError:
        reason = (
            f"it is none of {', '.join(FORMATS)}, or of a kind of these that Pillow cannot read"
        )
    except Exception as error:  # nearly any of them, on the bytes of a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise ValueError(f"{path} cannot be read as an image: {reason}")


@functools.cache
def _formats() -> list[str]:
    """Formats of `FORMATS` that this Pillow can read; others, such as PostScript, run programs."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _in_8_bits(image: "ImageFile") -> "Image":
    """An opened image, read completely, with 8 bits per channel."""
    from PIL.Image import fromarray

    tags = getattr(image, "tag_v2", {})  # of a TIFF
    bits = tags.get(BITS, (16,))[0]
    tile = image.tile[0] if image.tile else None  # how it is decoded; empty after decoding
    if bits > 8 and tile and tile[0] == "raw" and tags.get(PLANAR) == SEPARATE_PLANES:
        raise ValueError(f"its channels of {bits} bits are stored one after the other")
    image.load()
    image.info.pop("transparency", None)  # else to convert some of them is a warning
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return image
    values = np.asarray(image)
    is_swapped = tile is not None and tile[0] == "libtiff" and "B" in str(tile[3])
    if is_swapped and sys.byteorder == "little":
        # Pillow takes for big-endian what libtiff has put in the order of this machine.
        values = values.astype(np.int16 if bits == 16 else values.dtype).byteswap()
    if image.mode == "F":
        scaled = _from_floats(values)
    else:
        is_signed = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
        unsigned = values.view(np.uint32) if image.mode == "I" and bits == 32 else values
        scaled = _from_integers(values if is_signed else unsigned, bits - is_signed)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        scaled = 255 - scaled
    return fromarray(scaled)


def _from_integers(values: np.ndarray, bits: int) -> np.ndarray:
    """Integers of `bits` bits as their highest 8 bits."""
    if values.min() < 0:
        raise ValueError(f"its values begin at {values.min()}; only 0 and more can be scaled")
    scaled = (values >> (bits - 8)).astype(np.uint8)
    if values.any() and not scaled.any():
        raise ValueError(
            f"its values end at {values.max()} of {2**bits - 1}, which in 8 bits is all black; "
            "store such values in fewer bits, or scale them"
        )
    return scaled


def _from_floats(values: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] scaled to 0 to 255."""
    if not ((values >= 0) & (values <= 1)).all():  # nan is neither
        raise ValueError(
            f"its values go from {values.min():g} to {values.max():g}; floating-point numbers must "
            "be in [0, 1]"
        )
    return np.rint(values * np.float32(255)).astype(np.uint8)


def _upright(pixels: "Image", image: "Image") -> "Image":
    """Pixels rotated and mirrored by the EXIF orientation of their image."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ORIENTATION)  # None in a TIFF that Pillow has turned
    except Exception:  # of nearly any type; viewers, too, ignore unreadable EXIF
        return pixels
    steps = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return pixels.transpose(steps[orientation]) if orientation in steps else pixels


def to_square(image: "Image", size: int) -> "Image":
    """The central square of an image, resized (bilinear, antialiased) to `size` x `size` pixels."""
    from PIL.Image import Resampling

    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Resampling.BILINEAR, box=box)


def decode(folder: Path, files: np.ndarray, image_size: int | None) -> Tensor:
    """Decode all images of a split into one tensor.

    Args:
        folder: that `files` are relative to.
        files: (examples,) paths as bytes, at least one.
        image_size: side in pixels after `to_square`; None if all images have the same size.

    Returns:
        (examples, 3, height, width) uint8.

    Raises:
        ValueError: a file is no image, or sizes differ while `image_size` is None.
    """
    from tqdm import tqdm

    first = str(folder / os.fsdecode(files[0]))
    width, height = (image_size, image_size) if image_size else open_image(first).size
    images = np.empty((len(files), 3, height, width), dtype=np.uint8)

    def fill(start: int) -> int:
        chunk = range(start, min(start + CHUNK, len(files)))
        for position in chunk:
            path = str(folder / os.fsdecode(files[position]))
            image = open_image(path)
            image = to_square(image, image_size) if image_size else image
            if image.size != (width, height):
                raise ValueError(
                    f"images differ in size: {first} is {width}x{height}, {path} is "
                    f"{image.width}x{image.height}; set dataset.image_size=PIXELS to resize them"
                )
            images[position] = np.asarray(image).transpose(2, 0, 1)
        return len(chunk)

    # Threads are enough: Pillow releases the interpreter's lock while it decodes.
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(files), desc="decoding", unit="image", disable=None, leave=False) as bar,
    ):
        try:
            for done in pool.map(fill, range(0, len(files), CHUNK)):
                bar.update(done)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return torch.from_numpy(images)


def cache_decoded(
    cache_dir: str, key: str, build: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Read named tensors from `cache_dir/key.safetensors`; build and write them if necessary.

    A file that cannot be read is built again. Of several jobs one builds, the others wait.

    Args:
        cache_dir: created if it does not exist.
        key: differs for different tensors.
        build: makes them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    path = Path(cache_dir) / f"{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.hold(path.with_suffix(".lock")):
        if path.exists():
            try:
                return load_file(path)
            except SafetensorError:
                pass  # cut short or overwritten: replaced below
        for leftover in path.parent.glob(f"{key}.*.tmp"):  # of a job that was killed while writing
            leftover.unlink()
        tensors = build()
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.write_bytes(save(tensors))  # save_file hides a full disk in its own error
            os.replace(temporary, path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            temporary.unlink(missing_ok=True)
    return tensors
