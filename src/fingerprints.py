"""What a file or a folder of files is, in ten hexadecimal digits."""

import functools
import hashlib
import os


@functools.cache
def folder(root: str) -> str:
    """Ten hexadecimal digits that name the files under a folder by relative path and size.

    Reads no file, so that a folder of 60,000 images takes a fraction of a second: a file whose
    content changes while its size does not goes unnoticed.

    Args:
        root: the folder, `~` for home; one that is not there has the fingerprint "absent".
    """
    root = os.path.expanduser(root)
    if not os.path.isdir(root):
        return "absent"
    digest = hashlib.blake2b(digest_size=5)
    for line in sorted(_lines(root, "")):
        digest.update(os.fsencode(line))  # a name need not be UTF-8
    return digest.hexdigest()


def file(path: str | None) -> str | None:
    """Ten hexadecimal digits that name the content of a file, which is read.

    Args:
        path: of the file; None has no fingerprint, and what is no file has "absent".
    """
    if path is None:
        return None
    if not os.path.isfile(path):
        return "absent"
    with open(path, "rb") as content:
        return hashlib.blake2b(content.read(), digest_size=5).hexdigest()


def _lines(root: str, prefix: str) -> list[str]:
    lines = []
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir():
                lines += _lines(entry.path, f"{prefix}{entry.name}/")
            else:
                lines.append(f"{prefix}{entry.name} {_size(entry)}\n")
    return lines


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a dangling link: whoever reads the folder will say so
        return -1
