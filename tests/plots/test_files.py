import io
import subprocess
import sys

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from isthmus.plots import barriers, branching, lines, plane
from isthmus.plots import files as plots_files
from isthmus.store import files as store_files
from tests.plots import connected, tables

LINES, PER_CHILD, INTERVALS = connected.tables(connected.study((0.0, 1.0), splits=("test",)))
FIGURES = {
    "child_steps": (branching.child_steps_table, branching.draw_child_steps, tables.study()),
    "gain": (branching.gain_table, branching.draw_gain, tables.study()),
    "distances": (branching.distances_table, branching.draw_distances, tables.distances()),
    "line": (lines.line_table, lines.draw_line, LINES, (0, 5)),
    "barriers": (barriers.barriers_table, barriers.draw_barriers, INTERVALS, PER_CHILD),
    "barrier_map": (barriers.barrier_map_table, barriers.draw_barrier_map, INTERVALS),
    "plane": (plane.plane_table, plane.draw_plane, connected.plane(), connected.networks()),
}


def made(name: str) -> tuple[pd.DataFrame, Figure]:
    """A figure with its table, made again."""
    make_table, draw, *arguments = FIGURES[name]
    drawn = make_table(*arguments)
    return drawn, plots_files.Drawing(name, drawn, draw).figure()


@pytest.mark.parametrize("name", FIGURES)
def test_equal_data_are_equal_bytes_whatever_the_settings_of_the_user(tmp_path, name, monkeypatch):
    drawn, figure = made(name)
    first = [path.read_bytes() for path in plots_files.save(figure, drawn, tmp_path / "a", name)]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 50, "figure.facecolor": "red"}):
        drawn, figure = made(name)
        second = [
            path.read_bytes() for path in plots_files.save(figure, drawn, tmp_path / "b", name)
        ]
    assert first == second


def test_saving_a_figure_again_changes_no_byte(tmp_path):
    drawn, figure = made("child_steps")
    first = [path.read_bytes() for path in plots_files.save(figure, drawn, tmp_path, "a")]
    assert first == [path.read_bytes() for path in plots_files.save(figure, drawn, tmp_path, "a")]


def test_the_files_are_a_picture_a_page_and_the_numbers(tmp_path):
    drawn, figure = made("gain")
    paths = plots_files.save(figure, drawn, tmp_path / "new", "ema_0.99")
    assert [path.name for path in paths] == ["ema_0.99.csv", "ema_0.99.png", "ema_0.99.pdf"]
    table, picture, page = (path.read_bytes() for path in paths)
    read = pd.read_csv(io.BytesIO(table))
    pd.testing.assert_frame_equal(read, drawn, check_dtype=False, rtol=1e-12)
    with Image.open(io.BytesIO(picture)) as image:
        assert image.width > 500
    assert page.startswith(b"%PDF") and b"CreationDate" not in page
    assert not list((tmp_path / "new").glob(".*"))


def test_several_figures_are_changed_and_written_with_what_is_for_a_text(tmp_path):
    table, _ = made("gain")
    changed = []

    def change(figure):
        changed.append(figure)
        figure.set_size_inches(2, 2)
        return figure

    first = plots_files.Drawing("a", table, branching.draw_gain, "| a |\n")
    paths = plots_files.save_all(
        iter([first, plots_files.Drawing("b", table, branching.draw_gain)]), tmp_path, change
    )
    names = ["a.csv", "a.png", "a.pdf", "a.md", "b.csv", "b.png", "b.pdf"]
    assert [path.name for path in paths] == names and len(changed) == 2
    assert (tmp_path / "a.md").read_text() == "| a |\n"
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (400, 400)


def test_a_figure_that_cannot_be_drawn_leaves_no_file(tmp_path):
    figure = Figure()
    figure.text(0, 0, "$\\nothing$")  # mathtext that does not exist
    with pytest.raises(ValueError, match="nothing"):
        plots_files.save(figure, pd.DataFrame(), tmp_path, "a")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_keeps_what_was_there(tmp_path, monkeypatch):
    drawn, figure = made("gain")
    before = [path.read_bytes() for path in plots_files.save(figure, drawn, tmp_path, "a")]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_files.os, "replace", full)
    with pytest.raises(OSError, match="a.csv"):
        plots_files.save(figure, drawn[:1], tmp_path, "a")
    assert [(tmp_path / f"a.{kind}").read_bytes() for kind in ("csv", "png", "pdf")] == before


def test_drawing_imports_no_torch_and_no_pyplot():
    code = (
        "import sys; from isthmus.plots import branching, files, style; "
        "print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def picture(path, size, mode="RGBA"):
    Image.new(mode, size, "red").save(path)
    return path.read_bytes()


def test_tensorboard_reads_the_figures_of_a_folder_as_images(tmp_path):
    pngs = {"accuracy_plain": picture(tmp_path / "accuracy_plain.png", (30, 20))}
    pngs["gain"] = picture(tmp_path / "gain.png", (10, 40), "RGB")
    (tmp_path / "gain.csv").write_text("a\n1\n")
    assert plots_files.write_events(tmp_path) == tmp_path / plots_files.FILE
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
    first = plots_files.write_events(tmp_path).read_bytes()
    assert plots_files.write_events(tmp_path).read_bytes() == first
    picture(tmp_path / "b.png", (3, 3))
    assert len(plots_files.write_events(tmp_path).read_bytes()) > len(first)
    assert len(list(tmp_path.glob("events*"))) == 1


def test_a_folder_without_figures_has_no_events(tmp_path):
    assert plots_files.write_events(tmp_path) is None
    assert not list(tmp_path.iterdir())
