from pathlib import Path

from isthmus import paths


def test_a_path_is_shown_as_one_would_type_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.display_path(tmp_path / "outputs" / "a") == str(Path("outputs/a"))
    assert paths.display_path(tmp_path.parent / "b") == str(tmp_path.parent / "b")


def test_a_path_that_exists_as_it_is_written_is_no_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a[1]/train_2", "a[1]/train_10", "a1/train_3", "b1"):
        Path(name).mkdir(parents=True)
    assert paths.expand_glob("a[1]") == [Path("a[1]")]
    assert paths.expand_glob("a[1]/train_*") == [Path("a[1]/train_10"), Path("a[1]/train_2")]
    assert paths.expand_glob("b[1]") == [Path("b1")]  # no such folder: a pattern
    assert paths.expand_glob("a?/**") == [Path("a1"), Path("a1/train_3")]
    assert paths.expand_glob(".") == [Path(".")]
    assert paths.expand_glob(str(tmp_path / "[ab]1")) == [tmp_path / "a1", tmp_path / "b1"]
    assert paths.expand_glob("c*") == paths.expand_glob("c") == []
