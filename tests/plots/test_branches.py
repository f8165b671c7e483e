import pandas as pd
import pytest

from isthmus.plots import branching

MOMENT = "spawn_step,child_step,spawn_epoch,child_epoch"
AVERAGES = f"""{MOMENT},seeds,kind,model,num_models,bn,split,loss,accuracy
0,0,0,0,1,child,plain,1,keep,test,2.0,0.1
0,4,0,1,1,child,plain,1,keep,test,1.0,0.5
0,4,0,1,2,child,plain,1,keep,test,1.0,0.6
0,4,0,1,1-2,across,plain,2,reset,test,0.8,0.7
0,4,0,1,1-2,across,plain,2,keep,test,0.9,0.6
0,4,0,1,1,back,plain,2,reset,test,0.9,0.65
0,4,0,1,1,child,ema_0.9,1,keep,test,1.0,0.7
0,4,0,1,1,child,plain,1,keep,train,0.9,0.55
"""
L2 = "l2_origin,l2_initialization,l2_parent,l2_siblings"
DISTANCES = f"""{MOMENT},seed,{L2},cosine_initialization,cosine_parent,cosine_siblings
0,4,0,1,1,5.0,1.0,1.0,1.5,0.9,0.9,0.8
0,4,0,1,2,5.0,1.0,1.0,1.5,0.9,0.9,0.8
"""


def tables(tmp_path, averages=AVERAGES, distances=DISTANCES):
    for name, content in (("a", averages), ("b", distances)):
        (tmp_path / name).write_text(content)
    return pd.read_csv(tmp_path / "a"), pd.read_csv(tmp_path / "b")


def names(paths):
    return sorted({path.stem for path in paths})


def test_each_model_and_each_treatment_of_batch_norm_has_its_figures(tmp_path):
    paths = branching.save_branches(*tables(tmp_path), tmp_path / "figures")
    assert all(path.is_file() for path in paths)
    assert names(paths) == [
        "accuracy_ema_0.9",
        "accuracy_plain",
        "accuracy_plain_keep",
        "distances",
        "gain_across_plain",
        "gain_across_plain_keep",
        "gain_back_plain",
    ]


def test_the_test_split_is_drawn_where_it_was_evaluated(tmp_path):
    averages, distances = tables(tmp_path)
    branching.save_branches(averages, distances, tmp_path / "both")
    drawn = pd.read_csv(tmp_path / "both" / "accuracy_plain.csv")
    assert set(drawn["split"]) == {"test"}
    only = averages[averages["split"] == "train"]
    branching.save_branches(only, distances, tmp_path / "train")
    assert set(pd.read_csv(tmp_path / "train" / "accuracy_plain.csv")["split"]) == {"train"}


@pytest.mark.parametrize("which", ["averages", "distances"])
def test_an_empty_table_has_no_figures(tmp_path, which):
    empty = {which: {"averages": AVERAGES, "distances": DISTANCES}[which].splitlines()[0] + "\n"}
    paths = branching.save_branches(*tables(tmp_path, **empty), tmp_path / "figures")
    assert ("distances" in names(paths)) == (which == "averages")
    assert any(name.startswith("accuracy") for name in names(paths)) == (which == "distances")
