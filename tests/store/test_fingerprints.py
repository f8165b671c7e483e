import hashlib
import os
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest

from isthmus.store import fingerprints


@pytest.fixture(autouse=True)
def forget():
    fingerprints.folder_fingerprint.cache_clear()  # a job reads a folder once


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, size in {"train/a/1.png": 3, "train/b/1.png": 4, "test/a/10.png": 0}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    return tmp_path


def fresh(root: Path, *arguments) -> str:
    fingerprints.folder_fingerprint.cache_clear()
    return fingerprints.folder_fingerprint(str(root), *arguments)


def test_a_fingerprint_is_the_hash_of_sorted_names_and_sizes(root):
    lines = "test/a/10.png 0\ntrain/a/1.png 3\ntrain/b/1.png 4\n"
    assert fresh(root) == hashlib.blake2b(lines.encode(), digest_size=5).hexdigest()


def test_the_place_of_a_folder_does_not_matter(root, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(root, elsewhere)
    assert fresh(elsewhere) == fresh(root)
    monkeypatch.chdir(root.parent)
    assert fresh(Path(root.name)) == fresh(root)
    assert fingerprints.folder_fingerprint(f"{root}/") == fresh(root)


def test_contents_and_empty_folders_do_not_matter(root):
    before = fresh(root)
    (root / "train/a/1.png").write_bytes(b"yyy")
    (root / "train/c").mkdir()
    assert fresh(root) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "train/a/1.png").write_bytes(b"1234"),
        lambda root: (root / "train/a/1.png").rename(root / "train/a/2.png"),
        lambda root: (root / "train/a/1.png").rename(root / "train/b/2.png"),
        lambda root: (root / "train/a/1.png").unlink(),
        lambda root: (root / "train/a/2.png").write_bytes(b""),
        lambda root: (root / "test").rename(root / "val"),
    ],
    ids=["resized", "renamed", "moved", "removed", "added", "folder renamed"],
)
def test_every_other_change_matters(root, change):
    before = fresh(root)
    change(root)
    assert fresh(root) != before


def test_a_folder_that_is_not_there_is_absent(tmp_path):
    assert fresh(tmp_path / "nowhere") == "absent"
    (tmp_path / "file").write_text("")
    assert fresh(tmp_path / "file") == "absent"


def test_an_empty_folder_is_not_absent(tmp_path):
    assert fresh(tmp_path) == hashlib.blake2b(digest_size=5).hexdigest()


def test_a_linked_folder_is_read_like_a_folder(root, tmp_path_factory):
    (tmp_path_factory.mktemp("links") / "root").symlink_to(root)
    linked = tmp_path_factory.mktemp("parts")
    for part in ("train", "test"):
        (linked / part).symlink_to(root / part)
    assert fresh(linked) == fresh(root)


def test_what_is_not_read_does_not_matter(root):
    before = fresh(root)
    for name in (
        "README.md",
        ".DS_Store",
        "train/a/.DS_Store",
        "train/a/notes.txt",
        "train/b/.ipynb_checkpoints/1.png",
        "train/loose.png",
        "outputs/train_x/1.png",
        "extra/a/1.png",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    assert fresh(root) == before


def test_only_the_parts_that_are_read_count(root):
    both, train = fresh(root), fresh(root, False)
    assert both == fresh(root, True, "test") != train == fresh(root, True, "nowhere")
    (root / "val/a").mkdir(parents=True)
    (root / "val/a/1.png").write_bytes(b"x")
    assert fresh(root, True, "test") == both and fresh(root, False) == train
    assert fresh(root, True, "val") not in (both, train)


def test_a_copy_with_decomposed_names_is_the_same_folder(tmp_path):
    for form in ("NFC", "NFD"):
        path = tmp_path / form / "train" / unicodedata.normalize(form, "é") / "è.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    assert fresh(tmp_path / "NFC") == fresh(tmp_path / "NFD")


def test_a_folder_that_cannot_be_read_has_no_digits(root, monkeypatch):
    (root / "train/a/again").symlink_to("..")
    assert fresh(root) == "unreadable"
    (root / "train/a/again").unlink()

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    assert fresh(root) == "unreadable"


@pytest.mark.skipif(sys.platform != "linux", reason="file names there must be UTF-8")
def test_a_name_need_not_be_utf8(tmp_path):
    (tmp_path / "train/a").mkdir(parents=True)
    Path(os.fsdecode(bytes(tmp_path) + b"/train/a/\xff.png")).write_bytes(b"x")
    expected = hashlib.blake2b(b"train/a/\xff.png 1\n", digest_size=5).hexdigest()
    assert fresh(tmp_path) == expected


def test_a_tilde_is_home(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert fingerprints.folder_fingerprint(f"~/{root.name}") == fresh(root)


def test_the_fingerprint_of_a_file_is_the_hash_of_its_content(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"weights")
    expected = hashlib.blake2b(b"weights", digest_size=5).hexdigest()
    assert fingerprints.file_digest(str(path)) == expected
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "b")
    assert fingerprints.file_digest(str(moved)) == expected


def test_another_content_of_the_same_size_is_another_file(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"weights")
    before = fingerprints.file_digest(str(path))
    path.write_bytes(b"WEIGHTS")
    assert fingerprints.file_digest(str(path)) != before


def test_an_empty_file_is_not_absent_and_no_file_has_no_fingerprint(tmp_path):
    (tmp_path / "empty").touch()
    empty = hashlib.blake2b(digest_size=5).hexdigest()
    assert fingerprints.file_digest(str(tmp_path / "empty")) == empty
    assert fingerprints.file_digest(str(tmp_path / "nowhere")) == "absent"
    assert fingerprints.file_digest(str(tmp_path)) == "absent"
    assert fingerprints.file_digest(None) is None
