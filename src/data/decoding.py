"""From image files to one tensor, decoded once and kept in a cache."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from src import locks

if TYPE_CHECKING:
    from PIL.Image import Image

CHUNK = 256  # images that a thread decodes before it takes more


def open_image(path: str) -> "Image":
    """The RGB image in a file; gray values become three equal channels, transparency is dropped.

    Raises:
        ValueError: the file holds no image that can be read to its end.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def to_square(image: "Image", size: int) -> "Image":
    """The central square of an image, resized (bilinear, antialiased) to `size` pixels a side."""
    from PIL.Image import Resampling

    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Resampling.BILINEAR, box=box)


def decode(folder: Path, files: np.ndarray, image_size: int | None) -> Tensor:
    """All images of a split.

    Args:
        folder: what `files` are relative to.
        files: (examples,) paths as bytes, at least one.
        image_size: pixels of a side after `to_square`; None if all images have one size already.

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


def cached(cache_dir: str, key: str, build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Named tensors from `cache_dir/key.safetensors`, built and written there if need be.

    A file that cannot be read is built anew. Of several jobs one builds, the others wait.

    Args:
        cache_dir: made if it does not exist.
        key: changes whenever the tensors would.
        build: makes them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    path = Path(cache_dir) / f"{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.held(path.with_suffix(".lock")):
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
