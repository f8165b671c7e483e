"""Image files written byte by byte, of kinds that Pillow reads and does not write."""

import struct
import zlib
from pathlib import Path

import numpy as np

KINDS = {"u": 1, "i": 2, "f": 3}  # sample formats of TIFF


def png(path: Path, pixels: np.ndarray) -> None:
    """A PNG of 8 or 16 bits: gray, with transparency, RGB or RGBA by the number of channels."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    height, width, channels = pixels.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels)

    def chunk(name: bytes, content: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + end

    bits = 8 * pixels.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def tiff(
    path: Path,
    pixels: np.ndarray,
    order: str = "<",
    compressed: bool = False,
    separate: bool = False,
    white_is_zero: bool = False,
) -> None:
    """A TIFF of any type of numbers, gray or RGB, in either byte order.

    Args:
        path: of the file.
        pixels: (height, width) or (height, width, 3).
        order: "<" or ">".
        compressed: with deflate.
        separate: store one channel after the other.
        white_is_zero: only says so.
    """
    pixels = pixels.reshape(*pixels.shape[:2], -1).astype(pixels.dtype.newbyteorder(order))
    height, width, channels = pixels.shape
    planes = np.split(pixels, channels, axis=2) if separate else [pixels]
    strips = [plane.tobytes() for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if compressed else strips
    body = bytearray(8)
    entries: dict[int, bytes] = {}

    def entry(tag: int, values: list[int], code: str = "H") -> None:
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            body.extend(b"\0" * (len(body) % 2))
            packed, where = struct.pack(f"{order}I", len(body)), packed
            body.extend(where)
        kind = {"H": 3, "I": 4}[code]
        entries[tag] = struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")

    starts = []
    for strip in strips:
        starts.append(len(body))
        body += strip
    entry(256, [width], "I")
    entry(257, [height], "I")
    entry(258, [8 * pixels.itemsize] * channels)
    entry(259, [8 if compressed else 1])
    entry(262, [2 if channels == 3 else 0 if white_is_zero else 1])
    entry(273, starts, "I")
    entry(277, [channels])
    entry(278, [height], "I")
    entry(279, [len(strip) for strip in strips], "I")
    entry(284, [2 if separate else 1])
    entry(339, [KINDS[pixels.dtype.kind]] * channels)
    body += b"\0" * (len(body) % 2)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, len(body))
    directory = b"".join(entries[tag] for tag in sorted(entries))
    end = struct.pack(f"{order}H", len(entries)) + directory + struct.pack(f"{order}I", 0)
    path.write_bytes(head + bytes(body[8:]) + end)
