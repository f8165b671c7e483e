import numpy as np
import pandas as pd
import pytest

from isthmus.plots import runs
from isthmus.plots.runs import TrainingRuns
from tests.plots import made


def study(root, *folders):
    return TrainingRuns([runs.read_training(root / folder) for folder in folders])


def test_over_seeds_each_seed_counts_once():
    points = pd.DataFrame(
        [("a", "1", 0.1), ("a", "1", 0.1), ("a", "2", 0.4), ("b", "10", 1.0)],
        columns=["model", "seed", "value"],
    )
    first, second = runs.mean_over_seeds(points, ["model"]).to_dict("records")
    assert first["value"] == pytest.approx(0.25)
    assert first["std"] == pytest.approx(np.std([0.1, 0.4], ddof=1))
    assert (first["lowest"], first["highest"]) == (0.1, 0.4)
    assert (first["num_seeds"], first["seeds"]) == (2, "1 2")
    assert (second["seeds"], second["num_seeds"], np.isnan(second["std"])) == ("10", 1, True)


def test_seeds_are_listed_by_value():
    assert runs.join_numbers(pd.Series(["10", "2", "1"])) == "1 2 10"


def test_trainings_have_their_setting_and_seed(tmp_path):
    made.trainings(tmp_path, seeds=(1, 12), lrs=(0.1,))
    found = study(tmp_path, "train_constant_0.1/seed_1", "train_multistep_0.1/seed_12")
    assert found.settings == ["constant", "multistep"]
    rows = found.metrics.groupby(["setting", "seed"]).size()
    assert list(rows.index) == [("constant", "1"), ("multistep", "12")]
    assert found.runs[0].iterations_per_epoch == made.PER_EPOCH


def test_predictions_are_read_as_they_were_made_with_epochs(tmp_path):
    made.training(tmp_path / "a" / "seed_3", 3)
    (one,) = study(tmp_path, "a/seed_3").predictions
    assert (one.setting, one.seed) == ("", "3")
    assert one.epochs["plain"].tolist() == list(range(made.NUM_EPOCHS + 1))
    assert one.indices.tolist() == made.INDICES.tolist()
    for model, bits in made.correct(3).items():
        assert np.array_equal(one.correct[model], bits)


def test_trainings_that_differ_in_the_decays_of_their_averages_are_one(tmp_path):
    for decay in (0.9, 0.99):
        models, values = ("plain", f"ema_{decay}"), {"averaged": {"decay": decay}}
        made.training(tmp_path / f"{decay}" / "seed_1", models=models, values=values)
    both = study(tmp_path, "0.9/seed_1", "0.99/seed_1")
    assert both.settings == ["", ""]
    (one,) = both.predictions
    assert set(one.correct) == {"plain", "ema_0.9", "ema_0.99"}


def test_a_study_without_predictions_says_so(tmp_path):
    folder = made.training(tmp_path / "a" / "seed_1")
    (folder / "predictions.npz").unlink()
    with pytest.raises(ValueError, match="^nothing to draw: none of 1 runs has predictions.npz$"):
        study(tmp_path, "a/seed_1").predictions  # noqa: B018


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    folder = made.training(tmp_path / "a" / "seed_1")
    with (folder / "metrics.csv").open("a") as file:
        file.write("28,7,val,plain,accuracy,0.4")
    assert len(runs.read_training(folder).metrics) == len(made.metrics())


def test_another_table_and_an_empty_one_are_refused(tmp_path):
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        ValueError, match="metrics.csv: has no column step, epoch, .*; it has a, b$"
    ):
        runs.read_training(tmp_path)
    made.metrics()[:0].to_csv(tmp_path / "metrics.csv", index=False)
    with pytest.raises(ValueError, match="^nothing to draw: .*metrics.csv has no rows$"):
        runs.read_training(tmp_path)
