import pytest

from isthmus.config import naming, validation
from isthmus.plots import options
from tests.values import defaults

VALUES = defaults(options.Plots, figure="ema_study", runs="outputs")


def errors(**values):
    return validation.validation_errors(VALUES | values, options.Plots)


def test_what_is_asked_by_default_is_right():
    assert errors() == []
    for figure in (*options.FIGURES, options.REPORT):
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
            {"compare": VALUES["compare"] | {"x": "lr"}},
            "compare.x=lr: needs figure=compare or figure=report",
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


def test_the_tables_of_every_figure_are_those_of_a_kind_of_folder():
    known = {name for needed, possible in options.TABLES.values() for name in (*needed, *possible)}
    assert {name for tables in options.FIGURES.values() for name in tables} <= known


def prefix(figure):
    return options.Plots.folder_prefix("plots", {"figure": figure})


def test_a_folder_is_named_by_the_figure_if_there_is_one():
    assert prefix("accuracy_plain") == "plots/accuracy_plain"
    assert prefix("report") == "plots/report"
    assert prefix("../nope") == prefix("???") == "plots/unknown"


def test_what_is_drawn_otherwise_has_another_name():
    names = {
        naming.run_name(VALUES | other, options.Plots)
        for other in ({}, {"runs": "a"}, {"size": [1, 2]}, {"epochs": [1, 2]}, {"figure": "gain"})
    }
    assert len(names) == 5
    assert naming.run_name(VALUES | {"output_dir": "b"}, options.Plots) in names
