import socket
from pathlib import Path
from urllib.error import URLError

import pytest

from isthmus.data.download import TIMEOUT, download

BELONGS = "made/raw/images"


def attempt_in(root):
    """What reads the text of a made-up data set, None where it is not there."""
    path = root / BELONGS
    return lambda: path.read_text() if path.exists() else None


def fetch(folder):
    path = folder / BELONGS
    path.parent.mkdir(parents=True)
    path.write_text("pixels")
    path.with_suffix(".gz").write_text("archive")


def fail(folder):
    fetch(folder)
    (folder / BELONGS).write_text("pix")
    raise URLError("no route to host")


def run(root, fetch):
    return download("Made", root, BELONGS, attempt_in(root), fetch)


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_is_downloaded_lies_below_the_root_without_archives(tmp_path):
    root = tmp_path / "new" / "data"
    assert run(root, fetch) == "pixels"
    assert below(root) == ["made", "made/raw", "made/raw/images"]


def test_a_root_given_relative_to_the_working_directory_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(Path("data"), fetch) == "pixels"
    assert (tmp_path / "data" / BELONGS).exists()


def test_a_failed_download_leaves_nothing_and_says_what_belongs_where(tmp_path):
    root = tmp_path / "new" / "data"
    with pytest.raises(FileNotFoundError) as caught:
        run(root, fail)
    assert str(caught.value) == (
        f"Made cannot be read from {root} (which does not exist) and could not be downloaded "
        f"(<urlopen error no route to host>). Put its files there, so that {root}/made/raw/images "
        f"is one of them, or name the folder that has them with dataset.root=FOLDER. "
        f"dataset=digits needs no files"
    )
    assert below(tmp_path) == []
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_failed_download_leaves_a_folder_as_it_was(tmp_path):
    (tmp_path / "other").touch()
    with pytest.raises(FileNotFoundError, match=r"\(which has other\) and could not be downloaded"):
        run(tmp_path, fail)
    assert below(tmp_path) == ["other"]


def test_a_download_that_is_interrupted_leaves_no_half_files(tmp_path):
    def interrupted(folder):
        fetch(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupted)
    assert below(tmp_path) == []


def test_a_root_that_cannot_be_made_is_the_same_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="Made cannot be read from .*file/data"):
        run(tmp_path / "file" / "data", fetch)


def test_files_that_cannot_be_read_after_all_are_the_same_error(tmp_path):
    message = "could not be downloaded .the files that arrived cannot be read."
    with pytest.raises(FileNotFoundError, match=message):
        download("Made", tmp_path, BELONGS, lambda: None, fetch)


def test_what_another_job_has_brought_meanwhile_is_not_downloaded(tmp_path):
    fetch(tmp_path)
    assert run(tmp_path, fail) == "pixels"


def test_archives_in_the_root_are_offered_to_the_download_as_copies(tmp_path):
    (tmp_path / "made.tar.gz").write_text("top")
    (tmp_path / "made" / "raw").mkdir(parents=True)
    (tmp_path / "made" / "raw" / "images.gz").write_text("raw")

    def unpack(folder):
        assert (folder / "made.tar.gz").read_text() == "top"
        assert (folder / "made" / "raw" / "images.gz").read_text() == "raw"
        (folder / "made.tar.gz").write_text("spoiled")
        (folder / BELONGS).write_text("unpacked")

    assert run(tmp_path, unpack) == "unpacked"
    assert (tmp_path / "made.tar.gz").read_text() == "top"


def test_a_silent_server_is_given_up_soon_and_only_during_the_download(tmp_path):
    before, during = socket.getdefaulttimeout(), []

    def watch(folder):
        during.append(socket.getdefaulttimeout())
        fetch(folder)

    run(tmp_path, watch)
    assert during == [TIMEOUT] and socket.getdefaulttimeout() == before and TIMEOUT <= 10
