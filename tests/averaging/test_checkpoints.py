from isthmus.averaging import checkpoints
from isthmus.averaging.options import Average


def test_files_of_a_glob_are_sorted_with_numbers_by_their_value(tmp_path):
    names = [f"step_{i}.safetensors" for i in (3, 20, 100)]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "step_7.safetensors").mkdir()
    first = str(tmp_path / names[0])
    found = checkpoints.find_files([f"{tmp_path}/step_*.safetensors", first], None, None)
    assert [path.name for path in found] == [*names, names[0]]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    file = tmp_path / "a[1].safetensors"
    file.touch()
    assert checkpoints.find_files([str(file)], None, None) == [file]


def test_the_latest_are_the_last_in_the_order_given(tmp_path):
    files = [tmp_path / name for name in "cab"]
    assert checkpoints.select_files(files, Average(method="latest", num=2)) == files[1:]
