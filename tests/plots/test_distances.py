import pytest

from isthmus.plots import branching, style
from tests.plots import tables


def test_a_value_is_the_mean_over_the_children():
    drawn = branching.distances_table(tables.distances(spawn_steps=(8,), child_steps=(4,)))
    columns = ["measure", "to", "spawn_step", "child_step", "seeds", "value"]
    assert list(drawn[columns].itertuples(index=False, name=None)) == [
        ("l2", "origin", 8, 4, "1 2", 1.5),
        ("l2", "initialization", 8, 4, "1 2", 11.5),
        ("l2", "parent", 8, 4, "1 2", 21.5),
        ("l2", "siblings", 8, 4, "1 2", 31.5),
        ("cosine", "initialization", 8, 4, "1 2", pytest.approx(0.25)),
        ("cosine", "parent", 8, 4, "1 2", pytest.approx(0.35)),
        ("cosine", "siblings", 8, 4, "1 2", pytest.approx(0.45)),
    ]


def test_a_child_that_is_missing_at_a_step_is_not_in_its_mean():
    table = tables.distances(spawn_steps=(8,), child_steps=(4, 16))
    drawn = branching.distances_table(table[:-1])  # without child 2 at step 16
    origin = drawn[(drawn["measure"] == "l2") & (drawn["to"] == "origin")]
    assert origin["seeds"].tolist() == ["1 2", "1"]
    assert origin["value"].tolist() == [1.5, 1.0]


def test_the_figure_shows_exactly_what_was_tabled():
    drawn = branching.distances_table(tables.distances())
    figure = branching.draw_distances(drawn)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "to origin (norm of the weights)",
        *2 * ["to initialization", "to parent at the spawn step", "to siblings (mean)"],
    ]
    shown = [line.get_ydata().tolist() for axes in panels for line in axes.get_lines()]
    assert sum(shown, []) == drawn["value"].tolist()
    assert panels[0].get_ylabel() == "L2 distance"
    assert panels[4].get_ylabel() == "cosine similarity"
    assert figure.get_supxlabel() == "child step (iterations)"
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == ["0it", "8it (2ep)"]


def test_one_child_has_no_siblings():
    drawn = branching.distances_table(tables.distances(seeds=(7,)))
    assert set(drawn["to"]) == {"origin", "initialization", "parent"}
    assert len([axes for axes in branching.draw_distances(drawn).axes if axes.axison]) == 5


@pytest.mark.parametrize("spawn_steps", [(0,), (8,), range(33)])
@pytest.mark.parametrize("child_steps", [(0,), (4,)])
def test_figures_of_all_sizes_are_drawn(spawn_steps, child_steps):
    figure = branching.draw_distances(
        branching.distances_table(tables.distances(spawn_steps, child_steps))
    )
    with style.look():
        figure.canvas.draw()
    assert all(len(axes.get_lines()) == len(spawn_steps) for axes in figure.axes if axes.axison)
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_legend())
    assert len(legend.get_texts()) <= branching.LEGEND_MOST


def test_a_table_of_no_rows_or_other_columns_is_refused():
    table = tables.distances()
    with pytest.raises(ValueError, match="nothing to draw: the table of distances has no numbers"):
        branching.distances_table(table[:0])
    with pytest.raises(ValueError, match="no column l2_parent; it has spawn_step, child_step"):
        branching.distances_table(table.drop(columns="l2_parent"))
