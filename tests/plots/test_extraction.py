from pathlib import Path

import numpy as np
import pytest

from isthmus.plots import extraction, options, studies
from tests.plots import extractions

SINGLE = [
    ("dendrogram", extractions.merges),
    ("cluster_counts", extractions.counts),
    ("distances", extractions.matrix),
    ("angles", extractions.clusters),
    ("losses", extractions.losses),
]


def figure_of(name, table):
    (drawing,) = getattr(extraction, f"make_{name}")(table)
    assert drawing.name == name
    return drawing.figure()


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


@pytest.mark.parametrize(("name", "make"), SINGLE[:4])
def test_each_layer_has_a_panel(name, make):
    figure = figure_of(name, make(layers=(1, 2, 3)))
    assert titles(figure) == ["hidden layer 1", "hidden layer 2", "hidden layer 3"]
    figure.canvas.draw()


@pytest.mark.parametrize(("name", "make"), SINGLE)
def test_a_table_of_no_rows_or_other_columns_is_refused(name, make):
    table = make()
    with pytest.raises(ValueError, match="^nothing to draw: the table of .* has no rows$"):
        figure_of(name, table[:0])
    column = table.columns[0]
    with pytest.raises(ValueError, match=f"^the table has no column {column}; it has "):
        figure_of(name, table.drop(columns=column))


def test_the_tree_is_drawn_merge_by_merge_with_a_colour_a_cluster():
    figure = figure_of("dendrogram", extractions.merges(num_units=9))
    (axes,) = figure.axes
    (lines,) = axes.collections
    across = [segment[1:3].tolist() for segment in lines.get_segments()]
    assert across[2] == [[0.5, 0.7], [2.5, 0.7]]
    lowest = axes.get_ylim()[0]
    assert min(segment[:, 1].min() for segment in lines.get_segments()) == lowest > 0
    colours = [tuple(colour) for colour in lines.get_colors()]
    assert len(set(colours)) == 3
    assert axes.get_xlabel() == "units of all students (4 of 9)"
    assert [line.get_ydata()[0] for line in axes.get_lines()] == [0.01]


def test_the_counts_hold_to_the_next_height_and_the_plateau_is_marked():
    (axes,) = figure_of("cluster_counts", extractions.counts()).axes
    steps, *_ = axes.get_lines()
    assert steps.get_drawstyle() == "steps-post"
    assert steps.get_ydata().tolist() == [1, 2, 1, 1]
    assert steps.get_xdata()[:3].tolist() == [1e-7, 1e-4, 0.3]
    (plateau,) = axes.patches
    assert plateau.get_x() == 1e-4 and plateau.get_width() == pytest.approx(0.3 - 1e-4)


def test_the_matrix_is_in_order():
    figure = figure_of("distances", extractions.matrix())
    (image,) = figure.axes[0].images
    shown = np.asarray(image.get_array())
    assert shown[0].tolist() == pytest.approx([0.1, 0.1, 0.2])  # what is 0 is the smallest colour
    assert shown[2, 1] == pytest.approx(0.3)


def test_angles_are_sorted_and_what_is_not_kept_comes_last():
    (axes,) = figure_of("angles", extractions.clusters()).axes
    kept, rest, beta = axes.get_lines()
    assert kept.get_ydata().tolist() == [0.001, 0.02]
    assert (rest.get_xdata().tolist(), rest.get_ydata().tolist()) == ([2], [0.9])
    assert beta.get_ydata()[0] == 0.5


@pytest.mark.parametrize("some", [True, False])
def test_units_of_the_teacher_then_those_in_excess(some):
    drawn = extraction.teacher_distances_table(extractions.comparison(), extractions.excess(some))
    assert drawn["quantity"].tolist().count("missing") == 1
    figure = extraction.draw_teacher_distances(drawn)
    first, second = figure.axes
    marks = {line.get_label(): line for line in first.get_lines()}
    assert marks["what goes in"].get_ydata().tolist() == [1e-9]
    assert marks["missing"].get_xdata().tolist() == [1]
    assert ("in excess" in marks) == some
    if some:
        assert marks["in excess"].get_xdata()[0] > 1
    lowest = next(line for line in second.get_lines() if line.get_label() == "what goes in")
    assert lowest.get_ydata().tolist() == [extraction.LOWEST_COSINE]
    with pytest.raises(ValueError, match="^nothing to draw: the table of the comparison"):
        extraction.teacher_distances_table(extractions.comparison()[:0], extractions.excess())


@pytest.mark.parametrize("students", [1, 40])
def test_every_student_has_a_curve_and_a_legend_has_room(students):
    figure = figure_of("losses", extractions.losses(students))
    curves = figure.axes[0].get_lines()[::2]
    assert len(curves) == students
    assert curves[0].get_ydata().tolist() == pytest.approx([0.1, 0.01])
    (legend,) = figure.legends
    assert len(legend.get_texts()) <= extraction.NAMED_MOST


def test_without_a_teacher_there_are_all_figures_but_one(tmp_path):
    tables = {
        "losses": extractions.losses(),
        "merges": extractions.merges(),
        "counts": extractions.counts(),
        "matrix": extractions.matrix(),
        "clusters": extractions.clusters(),
    }
    names = ["losses", "dendrogram", "cluster_counts", "distances", "angles"]
    assert drawn(tables, tmp_path / "a") == names
    tables |= {"comparison": extractions.comparison(), "excess": extractions.excess()}
    assert drawn(tables, tmp_path / "b") == [*names, "teacher"]


def drawn(tables, folder):
    """Names of the figures of tables."""
    names = {Path(name).stem: name for name in options.tables_of_kind("extract")}
    named = {names[stem]: table for stem, table in tables.items()}
    paths = studies.draw_tables("extract", named, folder)
    return [path.stem for path in paths if path.suffix == ".png"]
