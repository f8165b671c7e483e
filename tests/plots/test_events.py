import io

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from isthmus.plots import files, studies
from tests.plots import made


def picture(path, size, mode="RGBA"):
    Image.new(mode, size, "red").save(path)
    return path.read_bytes()


def test_tensorboard_reads_the_figures_of_a_folder_as_images(tmp_path):
    pngs = {"accuracy_plain": picture(tmp_path / "accuracy_plain.png", (30, 20))}
    pngs["gain"] = picture(tmp_path / "gain.png", (10, 40), "RGB")
    (tmp_path / "gain.csv").write_text("a\n1\n")
    assert files.write_events(tmp_path) == tmp_path / files.FILE
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert sorted(found.Tags()["images"]) == sorted(pngs)
    for name, png in pngs.items():
        (image,) = found.Images(name)
        assert image.encoded_image_string == png
        with Image.open(io.BytesIO(png)) as opened:
            assert (image.width, image.height) == opened.size


def test_figures_that_are_new_take_the_place_of_earlier_ones_and_equal_ones_are_equal(tmp_path):
    picture(tmp_path / "a.png", (3, 3))
    first = files.write_events(tmp_path).read_bytes()
    assert files.write_events(tmp_path).read_bytes() == first
    picture(tmp_path / "b.png", (3, 3))
    assert len(files.write_events(tmp_path).read_bytes()) > len(first)
    assert len(list(tmp_path.glob("events*"))) == 1


def test_a_folder_without_figures_has_no_events(tmp_path):
    assert files.write_events(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_study_has_its_figures_as_events(tmp_path):
    made.of_plane(tmp_path)
    studies.update_connectivity(tmp_path)
    found = EventAccumulator(str(tmp_path / "figures"))
    found.Reload()
    (image,) = found.Images("plane")
    assert image.encoded_image_string == (tmp_path / "figures" / "plane.png").read_bytes()
