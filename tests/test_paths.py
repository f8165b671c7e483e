from pathlib import Path

from isthmus import paths


def test_a_path_is_shown_as_one_would_type_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.display_path(tmp_path / "outputs" / "a") == str(Path("outputs/a"))
    assert paths.display_path(tmp_path.parent / "b") == str(tmp_path.parent / "b")
