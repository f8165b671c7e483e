"""Every figure that `plots.py` knows, from a small table to an opened image."""

import io
import re

import numpy as np
import pytest
from matplotlib.collections import Collection
from PIL import Image

from isthmus.plots import files, options, render, restyle, style
from isthmus.plots import folders as plots_folders
from isthmus.plots.options import Compare, Style
from isthmus.plots.persistence import Images
from isthmus.plots.runs import TrainingOptions
from tests.plots import boxes, made

UNIT = re.compile(r"\(.+\)", re.DOTALL)
WITHOUT = re.compile(  # what has no unit
    r"k1|k2|alpha|layer|model|scheduler|optimizer\.lr|cosine|^(epoch|distance)|"
    r"clusters?|units of|distance|mean squared error|changes|constant|multistep|"
    r"averaged\.decay|width|learning rate|^x$|value|rank|trial|mean \|f|importance"
)
COMPARE = Compare(x="averaged.decay", hue=["scheduler", "optimizer.lr", "dataset.val_fraction"])


def images(study):
    """A grey image of each example, its class the last digit of its index."""
    pixels = np.linspace(0, 1, made.NUM_EXAMPLES * 16).reshape(made.NUM_EXAMPLES, 1, 4, 4)
    return Images(made.INDICES, pixels, [str(index % 10) for index in made.INDICES])


ASKED = TrainingOptions(COMPARE, images=images)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = made.everything(tmp_path_factory.mktemp("everything"))
    return plots_folders.find_folders(str(made.crowd(root)))


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Fewer pixels than in a paper, which is faster."""
    with style.use_theme(Style(dpi=50)):
        yield


def drawings(name, folders):
    made_of, failed = render.drawings(name, render.sources(folders, name, ASKED))
    assert made_of and not failed
    sorts = {re.sub(r"_\d+$", "", each.name): each for each in reversed(made_of)}
    return list(reversed(sorts.values()))  # the first page of each


@pytest.mark.parametrize("name", options.figure_names())
def test_it_is_an_image_whose_axes_have_data_and_whose_labels_have_units(name, folders):
    for drawing in drawings(name, folders):
        assert len(drawing.shown)
        figure = drawing.figure()
        for axes in figure.axes:
            assert axes.has_data() or axes.get_label() == "<colorbar>" or not axes.axison
        words = [label for axis in "xy" for label in restyle.axis_labels(figure, axis)]
        assert words, drawing.name
        for label in words:
            assert UNIT.search(label) or WITHOUT.search(label), (drawing.name, label)
        assert boxes.faults(figure) == [], drawing.name
        with Image.open(io.BytesIO(files.render(figure, "png"))) as image:
            pixels = np.asarray(image.convert("L"))
        assert min(pixels.shape) > 50
        assert len(np.unique(pixels)) > 10  # more than a frame
        assert 0.01 < (pixels < 250).mean()


@pytest.mark.parametrize("name", ["ema_study", "line", "losses", "teacher"])
def test_in_the_dark_every_curve_and_every_word_is_seen(name, folders):
    from matplotlib.colors import to_rgb

    dark = Style(background="#14171c", foreground="#e8e8e8", grid="#343a42")
    wished = restyle.FigureOverrides(dark)
    with wished.context():
        for drawing in drawings(name, folders)[:2]:
            figure = wished.apply(drawing.figure())
            lines = [line for axes in figure.axes for line in axes.get_lines()]
            texts = [figure.get_suptitle() and figure._suptitle]
            texts += [text for legend in figure.legends for text in legend.get_texts()]
            for artist in [*lines, *filter(None, texts)]:
                seen = restyle.contrast(to_rgb(artist.get_color()), to_rgb(dark.background))
                assert seen >= restyle.CONTRAST, drawing.name
            assert to_rgb(figure.get_facecolor()) == to_rgb(dark.background)


def test_a_colour_that_is_a_number_stays_in_the_dark(folders):
    wished = restyle.FigureOverrides(Style(background="#14171c"))
    for name in ("gain", "schedule_decay_table"):
        first = drawings(name, folders)[0]
        maps = [
            [m.get_cmap().name for m in figure.findobj(Collection) if m.get_array() is not None]
            for figure in (first.figure(), wished.apply(first.figure()))
        ]
        assert maps[0] == maps[1] != []


def test_fonts_are_embedded_as_outlines(folders):
    (drawing,) = drawings("ema_study", folders)
    page = files.render(drawing.figure(), "pdf")
    assert b"/FontFile2" in page and b"/Type3" not in page


def test_a_figure_belongs_to_the_longest_name_that_it_begins_with():
    assert options.figure_family("mismatch_over_time") == "mismatch_over_time"
    assert options.figure_family("mismatch_2") == "mismatch"
    assert options.figure_family("lines_none_reset_loss") == "lines"
    assert options.figure_family("line_none_reset") == "line"
    assert options.figure_family("nope") is None
    assert options.figure_family("ema") is None
