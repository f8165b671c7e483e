import numpy as np
import pytest
from matplotlib.figure import Figure

from isthmus.plots import layout, panels, style
from tests.plots import boxes


def test_a_line_is_wrapped_between_words_and_within_them_only_if_it_must_be():
    assert layout.wrap_line("one two three", 7, len) == ["one two", "three"]
    assert layout.wrap_line("dataset.val_fraction=0.2, a", 12, len) == [
        "dataset.val_",
        "fraction=",
        "0.2, a",
    ]
    assert layout.wrap_line("unbreakable", 4, len) == ["unbreakable"]
    assert layout.wrap_line("short", 9, len) == ["short"]


@pytest.mark.parametrize("columns", [1, 4])
def test_long_titles_and_labels_are_wrapped_and_panels_keep_their_size(columns):
    figure, several = panels.make_grid(4, columns, labels=("x " * 90, "y " * 60))
    for number, axes in enumerate(several):
        axes.plot([0, 1], [0, 1])
        axes.set_title(f"dataset.val_fraction=0.{number}, " * 9)
    layout.fit_words(figure)
    assert boxes.faults(figure) == []
    sizes = [axes.get_position().size * figure.get_size_inches() for axes in several]
    assert (np.min(sizes, axis=0) > np.array(figure.least) - 0.05).all()


def test_words_on_an_axis_are_turned_and_numbers_left_out_if_they_touch():
    for words, angle, count in (
        ([f"schedule_{n}" for n in range(12)], layout.SLANT, 12),
        ([f"schedule_{n}" for n in range(26)], 90, 26),
        ([f"{n / 3:.9f}" for n in range(12)], 0, 6),
    ):
        figure, axes = panels.make_panel(5, 3)
        axes.plot(range(len(words)))
        axes.set_xticks(range(len(words)), words)
        layout.fit_words(figure)
        labels = [label for label in axes.get_xticklabels() if label.get_text()]
        assert labels[0].get_rotation() == angle
        assert len(labels) <= count and (angle == 0 or len(labels) == count)
        assert boxes.faults(figure) == []


def test_a_legend_has_as_many_columns_as_fit():
    figure = Figure(figsize=(6, 3))
    assert layout.legend_columns(figure, ["a", "b", "c"]) == 3
    assert layout.legend_columns(figure, ["a", "b", "c"], 2) == 2
    assert layout.legend_columns(figure, ["a" * 50, "b" * 50]) == 1


def test_a_figure_of_a_size_that_was_typed_does_not_grow():
    figure, axes = panels.make_panel(2, 1.2)
    axes.set_title("dataset.val_fraction=0.2, " * 9)
    layout.fit_words(figure, may_grow=False)
    assert figure.get_size_inches().tolist() == [2, 1.2]
    layout.fit_words(figure)
    assert figure.get_size_inches()[1] > 1.2


def test_boxes_find_words_that_overlap_are_cut_or_too_small():
    figure = Figure(figsize=(4, 2))
    for x, word in ((0.1, "first"), (0.12, "second"), (0.98, "third")):
        figure.text(x, 0.5, word)
    figure.text(0.5, 0.2, "small", fontsize=4)
    found = [line.split(":")[0] for line in boxes.faults(figure)]
    assert sorted(found) == ["cut", "overlap", "small"]
    with style.look():
        assert boxes.faults(Figure(figsize=(4, 2))) == []
