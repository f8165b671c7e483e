import pandas as pd
import pytest

from isthmus.plots import widths

LRS = [0.1, 0.2, 0.4, 0.8]


def results(seeds=(1, 2)):
    """The best rate is .2 at every width under mup, and falls under standard; .8 diverges there."""
    rows = []
    for name in ("standard", "mup"):
        for width in (64, 256):
            best = 1 if name == "mup" else {64: 2, 256: 0}[width]
            for place, lr in enumerate(LRS):
                for seed in seeds:
                    gone = name == "standard" and lr == 0.8 and seed == 1
                    rows.append(
                        {
                            "parametrization": name,
                            "width": width,
                            "lr": lr,
                            "seed": seed,
                            "status": "diverged" if gone else "done",
                            "train_loss": None if gone else 1 + (place - best) ** 2 + 0.1 * seed,
                        }
                    )
    return pd.DataFrame(rows)


def test_the_best_rate_of_each_width_is_marked():
    drawn = widths.lr_transfer_table(results())
    best = drawn[drawn["is_best"]].set_index(["parametrization", "width"])["lr"].to_dict()
    assert best == {
        ("mup", 64): 0.2,
        ("mup", 256): 0.2,
        ("standard", 64): 0.4,
        ("standard", 256): 0.1,
    }
    assert widths.shifts(drawn).to_dict() == pytest.approx({"mup": 0, "standard": 2})


def test_a_point_is_the_mean_of_its_seeds_and_empty_if_one_diverged():
    drawn = widths.lr_transfer_table(results()).set_index(["parametrization", "width", "lr"])
    assert drawn.loc[("mup", 64, 0.2), "value"] == pytest.approx(1.15)
    gone = drawn.loc[("standard", 64, 0.8)]
    assert pd.isna(gone["value"]) and gone["num_diverged"] == 1 and gone["num_seeds"] == 2


def test_what_failed_is_left_out():
    table = results()
    table.loc[table["lr"] == 0.1, "status"] = "failed"
    assert 0.1 not in set(widths.lr_transfer_table(table)["lr"])


def test_the_figure_has_a_star_at_the_best_and_a_cross_where_a_training_diverged():
    figure = widths.draw_lr_transfer(widths.lr_transfer_table(results()))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mup", "standard"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["width 64", "width 256"]
    mup, standard = figure.axes
    stars = [line for line in mup.get_lines() if line.get_marker() == "*"]
    assert [list(star.get_xdata()) for star in stars] == [[0.2], [0.2]]
    crosses = [line for line in standard.get_lines() if line.get_marker() == "x"]
    assert [list(cross.get_xdata()) for cross in crosses] == [[0.8], [0.8]]


def test_nothing_is_drawn_if_all_have_diverged():
    with pytest.raises(ValueError, match="nothing to draw: no train_loss of any training"):
        widths.lr_transfer_table(results().assign(status="diverged", train_loss=None))
