import pytest

from isthmus.config import naming, validation
from isthmus.plots import options
from tests.values import defaults

VALUES = defaults(options.Plots, figure="ema_study", runs="outputs")


def errors(**values):
    return validation.validation_errors(VALUES | values, options.Plots)


def test_what_is_asked_by_default_is_right():
    assert errors() == []
    for figure in (*options.figure_names(), options.REPORT):
        compare = VALUES["compare"] | {"x": "scheduler" if figure == "compare" else None}
        assert errors(figure=figure, compare=compare) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"figure": "nope"}, "figure=nope: must be one of ema_study, schedule_decay_table, lr_ta"),
        ({"runs": []}, "runs=[]: must hold at least one value"),
        ({"size": [3]}, "size=[3]: must be width and height in inches, [6,4]"),
        ({"size": [3, 0]}, "size=[3,0]: must be width and height in inches, [6,4]"),
        ({"epochs": [5, 1]}, "epochs=[5,1]: must be the first and the last, [90,180]"),
        ({"epochs": [1]}, "epochs=[1]: must be the first and the last, [90,180]"),
        ({"style": VALUES["style"] | {"dpi": 0}}, "style.dpi=0: must be positive"),
        ({"figure": "compare"}, "compare.x: needs a value, such as compare.x=optimizer.lr"),
        (
            {"typed": ["compare.x"]},
            "compare.x=null: has no effect, figure=ema_study does not take it",
        ),
        (
            {"typed": ["epochs"]},
            "epochs=null: has no effect, figure=ema_study does not take it; stab",
        ),
        (
            {"typed": ["images"]},
            "images=true: has no effect, figure=ema_study does not take it; pers",
        ),
        (
            {"figure": "mismatch", "typed": ["window", "epochs"]},
            "window=1: has no effect, figure=mismatch does not take it; stability",
        ),
        (
            {"figure": "lr_table", "typed": ["style.grid", "style.font_size"]},
            "style.grid=0.9: has no effect, figure=lr_table has nothing that it changes",
        ),
        (
            {
                "figure": "persistence",
                "persistence": VALUES["persistence"] | {"examples": [3]},
                "typed": ["persistence.sort", "persistence.examples"],
            },
            "persistence.sort=stability: has no effect, persistence.examples says which",
        ),
        (
            {"persistence": VALUES["persistence"] | {"num_examples": 0}},
            "persistence.num_examples=0: must be at least 1",
        ),
        (
            {"figure": "report", "labels": VALUES["labels"] | {"x": "a"}},
            "labels.x: of one figure, not with figure=report",
        ),
        (
            {"figure": "report", "colours": ["red"]},
            "colours: of one figure, not with figure=report",
        ),
    ],
)
def test_what_cannot_be_asked_is_named(values, message):
    (found,) = errors(**values)
    assert found.startswith(message)


def test_all_that_is_wrong_is_told_at_once():
    assert len(errors(figure="nope", size=[1], runs=[])) == 3


def test_a_kind_of_folders_has_what_it_needs_and_all_that_a_figure_of_it_needs():
    for kind, row in options.KINDS.items():
        names = options.tables_of_kind(kind)
        assert names[: len(row.needed)] == list(row.needed) and len(names) == len(set(names))
    assert {row.kind for row in options.FIGURES} == set(options.KINDS)
    assert options.tables_of_kind("prune") == [
        "levels.csv",
        "instability.csv",
        "level_*/sparsity.csv",
    ]


def test_a_name_stands_for_rows_of_every_kind_and_a_short_one_for_several():
    kinds = [row.kind for row in options.rows_of_figure("accuracy_plain")]
    assert kinds == ["spawn", "prune"]
    names = [row.name for row in options.rows_of_figure("persistence")]
    assert names == ["persistence_barcode", "persistence_images"]
    assert options.rows_of_figure("nope") == []
    assert options.rows_of_figure("report") == list(options.FIGURES)


def prefix(figure):
    return options.Plots.folder_prefix("plots", {"figure": figure})


def test_a_folder_is_named_by_the_figure_if_there_is_one():
    assert prefix("accuracy_plain") == "plots/accuracy_plain"
    assert prefix("report") == "plots/report"
    assert prefix("../nope") == prefix("???") == "plots/unknown"


def test_what_is_drawn_otherwise_has_another_name():
    names = {
        naming.run_name(VALUES | other, options.Plots)
        for other in ({}, {"runs": "a"}, {"size": [1, 2]}, {"where": {"a": 1}}, {"figure": "gain"})
    }
    assert len(names) == 5
    assert naming.run_name(VALUES | {"output_dir": "b"}, options.Plots) in names
