from isthmus.plots import frames
from tests.plots import tables


def test_networks_are_listed_in_the_order_of_their_numbers():
    assert frames.join_seeds(["10", "2", "1"]) == "1 2 10"
    assert frames.join_seeds(["1-10", "1-2"]) == "1-2 1-10"


def test_children_are_selected_beside_averages_of_any_statistics():
    table = tables.study()
    kept = table.assign(bn="keep")
    assert set(frames.select_averages(kept, "test", "plain", "keep")["kind"]) == set(table["kind"])
    chosen = frames.select_averages(table, "test", "plain", "reset")
    assert set(chosen.loc[chosen["kind"] == "child", "bn"]) == {"keep"}
    assert set(chosen.loc[chosen["kind"] != "child", "bn"]) == {"reset"}
