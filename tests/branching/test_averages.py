import contextlib
import csv
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isthmus import state_dicts
from isthmus import tables as core_tables
from isthmus.averaging.ema import EMA
from isthmus.branching import averages as branching_averages
from isthmus.branching import results
from isthmus.store import files as store_files
from isthmus.training.evaluator import Evaluator
from isthmus.training.loop import train
from isthmus.training.optimizers import adam, sgd
from isthmus.training.session import Session
from tests import toys
from tests.branching.families import RESTLESS, family, grown, trained, weights

KINDS = ["across", "back", "back_plus_one", "back_plus_three", "back_all"]
SPAWNED = 4  # 1ep1it, in the middle of an epoch
MODELS = ["plain", "ema_0.5", "ema_0.9"]

# Members of each average at child step 6, by seed and child step; the grid is 0, 1, 2, 3, 4, 6.
MEMBERS = {
    ("child", "2"): [(2, 6)],
    ("across", "1-2"): [(1, 6), (2, 6)],
    ("across", "1-2-3"): [(1, 6), (2, 6), (3, 6)],
    ("back", "2"): [(2, 0), (2, 6)],
    ("back_plus_one", "2"): [(2, 0), (2, 3), (2, 6)],
    ("back_plus_three", "2"): [(2, 0), (2, 1), (2, 3), (2, 4), (2, 6)],
    ("back_all", "2"): [(2, step) for step in (0, 1, 2, 3, 4, 6)],
}


def average_rows(tree):
    """The rows of all averages and children of a tree."""
    results.complete_tables(tree)
    return core_tables.read(tree.averages).to_dict("records")


def distance_rows(tree):
    """The rows of the distances of a tree."""
    results.complete_tables(tree)
    return core_tables.read(tree.distances).to_dict("records")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three children, with every kind of average, under every treatment of batch norm."""
    made = family(tmp_path_factory.mktemp("study"))
    for bn in ("reset", "average", "keep"):
        asked = {"averages": KINDS, "bn": bn, "splits": ["train", "val", "test"]}
        steps = {"spawn_steps": ["1ep1it"], "child_steps": ["0", "1it", "6it", "2ep2it"]}
        grown(made, save=bn == "reset", child_seeds=[1, 2, 3], child_length="8it", **asked, **steps)
    return made


@pytest.fixture(scope="module")
def table(study):
    names = ("child_step", "kind", "seeds", "model", "bn", "split")
    rows = average_rows(study.tree)
    found = {tuple(row[name] for name in names): row for row in rows}
    assert len(found) == len(rows)
    return found


def member(tree, seed, child_step, model):
    if child_step == 0:
        return weights(tree.parent, SPAWNED, model)
    return weights(tree.child("1ep1it", seed), SPAWNED + child_step, model)


def naive_mean(networks):
    """All at once, in float64; integers of the last one."""
    return {
        name: torch.stack([network[name].double() for network in networks]).mean(0).to(last.dtype)
        if last.is_floating_point()
        else last
        for name, last in networks[-1].items()
    }


def images(split):
    return (split.inputs / 255 - 0.5) / 0.25


def naive(networks, bn, split):
    """Loss and accuracy of the mean of some networks, by hand."""
    mean, data = naive_mean(networks), toys.data()
    model = toys.Small((2, 4, 4), 3)
    model.load_state_dict(mean)
    model.eval()
    with torch.no_grad():
        if bn == "reset":
            hidden = model.conv(images(data.train)).transpose(0, 1).flatten(1)  # (channels, values)
            model.bn.running_mean.copy_(hidden.mean(1))
            model.bn.running_var.copy_(hidden.var(1))
        elif bn == "keep":
            model.bn.running_mean.copy_(networks[-1]["bn.running_mean"])
            model.bn.running_var.copy_(networks[-1]["bn.running_var"])
        logits = model(images(data.splits[split]))
    labels = data.splits[split].labels
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    return F.cross_entropy(logits, labels).item(), accuracy


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("kind", "seeds"), MEMBERS)
def test_a_row_is_the_evaluation_of_a_naive_mean(study, table, kind, seeds, model, bn):
    members = MEMBERS[kind, seeds]
    networks = [member(study.tree, *place, model) for place in members]
    for split in ("train", "val", "test"):
        row = table["6", kind, seeds, model, bn, split]
        found = float(row["loss"]), float(row["accuracy"])
        assert found == pytest.approx(naive(networks, bn, split), rel=2e-5)
        assert row["num_models"] == str(len(members))


def test_the_treatment_of_batch_norm_makes_a_difference(table):
    losses = {table["6", "back", "2", "plain", bn, "test"]["loss"] for bn in ("reset", "average")}
    assert len(losses) == 2
    losses = {table["6", "child", "2", "plain", bn, "test"]["loss"] for bn in ("reset", "keep")}
    assert len(losses) == 2


@pytest.mark.parametrize("child_step", ["0", "1", "6", "8"])
@pytest.mark.parametrize("model", MODELS)
def test_the_row_of_a_child_is_that_of_its_snapshot_bit_for_bit(study, table, child_step, model):
    network = member(study.tree, 3, int(child_step), model)
    expected = study.session.evaluator.table({"network": network})["network"]
    for split in ("train", "val", "test"):
        row = table[child_step, "child", "3", model, "keep", split]
        assert {name: float(row[name]) for name in ("loss", "accuracy")} == expected[split]


@pytest.mark.parametrize("child_step", ["0", "1", "6", "8"])
@pytest.mark.parametrize("model", MODELS)
def test_the_row_of_a_child_like_averages_is_that_of_its_snapshot_with_statistics_reset(
    study, table, child_step, model
):
    for seed in (1, 2, 3):
        network = member(study.tree, seed, int(child_step), model)
        for split in ("train", "val", "test"):
            row = table[child_step, "child", str(seed), model, "reset", split]
            found = float(row["loss"]), float(row["accuracy"])
            assert found == pytest.approx(naive([network], "reset", split), rel=2e-5)
            assert row["num_models"] == "1"


@pytest.mark.parametrize("child_step", ["0", "1", "6", "8"])
@pytest.mark.parametrize("model", MODELS)
def test_an_average_of_one_has_the_statistics_that_it_was_trained_with(table, child_step, model):
    for seed in "123":
        for split in ("train", "val", "test"):
            keys = [(child_step, "child", seed, model, bn, split) for bn in ("average", "keep")]
            first, second = ({**table[key], "bn": ""} for key in keys)
            assert first == second


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_children_are_evaluated_as_trained_and_as_their_averages_are(tmp_path, bn):
    made = family(tmp_path)
    grown(made, bn=bn, child_length="1ep", averages=["across", "back"])
    found = {(row["kind"], row["bn"]) for row in average_rows(made.tree)}
    assert found == {("child", "keep"), ("child", bn), ("across", bn), ("back", bn)}


def test_the_table_has_one_row_for_each_thing_that_was_asked_for(table):
    children = {(step, str(seed)) for step in "0168" for seed in (1, 2, 3)}
    assert {(key[0], key[2]) for key in table if key[1] == "child"} == children
    across = {(step, seeds) for step in "168" for seeds in ("1-2", "1-2-3")}
    assert {(key[0], key[2]) for key in table if key[1] == "across"} == across
    kinds = [key[1] for key in table]
    assert kinds.count("child") == 12 * 3 * 3 * 3  # models, splits, treatments
    for kind in KINDS:
        of_kind = [key[4] for key in table if key[1] == kind]
        assert len(of_kind) == (6 if kind == "across" else 9) * 3 * 3 * 3  # and bn


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_averages_of_identical_children_are_the_child(tmp_path, bn):
    made = family(tmp_path, vary=[])
    grown(made, spawn_steps=["1ep"], child_seeds=[1, 2, 3], bn=bn, averages=["across"])
    values = {}
    for row in average_rows(made.tree):
        reset = row["bn"] == "reset"
        cell = (row["child_step"], row["model"], row["split"], reset)
        values.setdefault(cell, {}).setdefault((row["loss"], row["accuracy"]), set())
        values[cell][row["loss"], row["accuracy"]].add(row["kind"])
    assert all(len(found) == 1 for found in values.values())
    compared = 0
    for (child_step, _, _, reset), found in values.items():
        (kinds,) = found.values()
        averaged = child_step != "0" and reset == (bn == "reset")
        assert kinds == ({"child", "across"} if averaged else {"child"})
        compared += averaged
    assert compared > 0


@pytest.mark.parametrize(("kind", "seeds"), [key for key in MEMBERS if key[0] != "child"])
@pytest.mark.parametrize("model", MODELS)
def test_saved_averages_are_the_naive_mean_with_statistics_reset(study, kind, seeds, model):
    networks = [member(study.tree, *place, model) for place in MEMBERS[kind, seeds]]
    folder = study.tree.folder / ("avg_across" if kind == "across" else "avg_back") / "1ep1it"
    folder /= f"seeds_{seeds}" if kind == "across" else f"seed_{seeds}"
    name = "step_10" if kind in ("across", "back") else f"{kind}_step_10"
    suffix = "" if model == "plain" else f".{model}"
    found, metadata = store_files.load_weights(folder / "weights" / f"{name}{suffix}.safetensors")
    expected = study.session.evaluator.reset_batch_norm(naive_mean(networks))
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-6, atol=1e-7)
    said = {
        "average": kind,
        "members": [list(place) for place in MEMBERS[kind, seeds]],
        "bn": "reset",
        "spawn_step": SPAWNED,
        "iteration": 10,
        "kind": model,
        "num_classes": 3,
    }
    assert metadata.items() >= said.items()
    assert "child_seed" not in metadata


def saved_in(folder):
    return list(folder.rglob("weights/*.safetensors"))


def test_averages_saved_under_several_treatments_are_all_kept(tmp_path, evaluations):
    made = family(tmp_path)
    changes = {"child_length": "1ep", "child_steps": ["2it", "1ep"], "averages": ["across", "back"]}
    grown(made, save=True, bn="reset", **changes)
    files = [path for name in ("avg_across", "avg_back") for path in (tmp_path / name).rglob("*")]
    first = {path: path.read_bytes() for path in files if path.parent.name == "weights"}
    assert len(first) == 3 * 2 * (len(MODELS) + 1)  # folders, child steps
    grown(made, save=True, bn="keep", **changes)
    second = {path.with_name(f"keep_{path.name}"): content for path, content in first.items()}
    assert all(path.exists() for path in second)
    evaluations.clear()
    grown(made, save=True, bn="reset", **changes)
    assert evaluations == []
    assert {path: path.read_bytes() for path in first} == first

    for path in first:
        twin = path.with_name(f"keep_{path.name}")
        if path.name.endswith(".state.pt"):
            pair = store_files.load_state(path), store_files.load_state(twin)
            torch.testing.assert_close(*pair, rtol=0, atol=0)
            continue
        (reset, of_reset), (kept, of_kept) = map(store_files.load_weights, (path, twin))
        assert (of_reset["bn"], of_kept["bn"]) == ("reset", "keep")
        assert {**of_reset, "bn": ""} == {**of_kept, "bn": ""}
        seed, last_step = of_kept["members"][-1]
        model = of_kept["kind"]
        last = weights(made.tree.child("0ep", seed), last_step, model)
        assert list(reset) == list(kept) == list(last)
        for name, tensor in kept.items():
            if "running" in name or "tracked" in name:
                assert torch.equal(tensor, last[name])
            else:
                assert torch.equal(tensor, reset[name])
        for name in ("bn.running_mean", "bn.running_var"):
            assert not torch.equal(kept[name], reset[name])


def momenta(state):
    found = state["training"]["optimizer"]["state"]
    return {i: buffers["momentum_buffer"] for i, buffers in found.items()}


@pytest.mark.parametrize("run", ["across", "back"])
def test_one_can_train_on_from_a_saved_average_with_the_mean_momentum(study, run):
    tree = study.tree
    child = tree.child("1ep1it", 2)
    files = [tree.child("1ep1it", 1).snapshot_state(10), child.snapshot_state(10)]
    saved = tree.average_across("1ep1it", [1, 2])
    if run == "back":
        files, saved = [tree.parent.snapshot_state(4), files[1]], tree.average_back("1ep1it", 2)
    first, second = (momenta(store_files.load_state(file)) for file in files)

    made = Session(toys.recipe(), toys.data(), toys.SEEDS, toys.RUNTIME)
    made.load_snapshot(saved, 10)
    assert made.training.iteration == 10
    found = momenta(made.state_dict())
    assert list(found) == list(first)
    for i, momentum in found.items():
        torch.testing.assert_close(momentum, (first[i] + second[i]) / 2)
    start = state_dicts.copy(made.model.state_dict())
    assert toys.equal(start, weights(saved, 10))
    train(made.training, made.batches, 12, [])
    assert not toys.equal(start, made.model.state_dict())
    assert all(tensor.isfinite().all() for tensor in made.model.state_dict().values())


def test_a_parent_that_has_not_begun_is_left_out_of_the_mean_of_momentum(tmp_path):
    made = family(tmp_path)
    grown(made, save=True, child_steps=["1ep"], child_length="1ep", averages=["back", "back_all"])
    child, back = made.tree.child("0ep", 1), made.tree.average_back("0ep", 1)
    own, found = (momenta(store_files.load_state(run.snapshot_state(3))) for run in (child, back))
    torch.testing.assert_close(own, found, rtol=0, atol=0)
    states = [momenta(store_files.load_state(child.snapshot_state(i))) for i in (1, 2, 3)]
    path = back.folder / "weights" / "back_all_step_3.state.pt"
    for i, momentum in momenta(store_files.load_state(path)).items():
        torch.testing.assert_close(momentum, sum(state[i] for state in states) / 3)


@pytest.fixture
def evaluations(monkeypatch):
    """Split and networks of each evaluation that is made."""
    made, original = [], Evaluator.evaluate

    def evaluate(self, models, split, reference=None):
        made.append((split, [state_dicts.copy(model) for model in models.values()]))
        return original(self, models, split)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    return made


def num_networks(evaluations):
    """Networks that were evaluated, by split."""
    counts = Counter()
    for split, networks in evaluations:
        counts[split] += len(networks)
    return counts


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_saving_averages_later_changes_no_number_and_evaluates_nothing(tmp_path, evaluations, bn):
    made = family(tmp_path)
    grown(made, child_length="1ep", bn=bn)
    before = average_rows(made.tree)
    assert evaluations
    evaluations.clear()
    _, evaluated = grown(made, save=True, child_length="1ep", bn=bn)
    assert evaluations == []
    assert average_rows(made.tree) == before
    run = made.tree.average_across("0ep", [1, 2])
    assert run.snapshots() == ([1, 2, 3] if bn == "reset" else [])  # to train on from
    files = saved_in(tmp_path / "avg_across") + saved_in(tmp_path / "avg_back")
    assert evaluated.num_evaluated == len(files) == 3 * 3 * len(MODELS)  # worked on, all the same


def test_a_finished_study_evaluates_nothing(tmp_path, evaluations):
    grown(family(tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert evaluations
    evaluations.clear()
    _, evaluated = grown(family(tmp_path))
    assert evaluations == []
    assert evaluated.num_evaluated == 0
    assert files == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}


def test_the_beginning_that_children_share_is_evaluated_once(tmp_path, evaluations):
    changes = {"child_steps": ["0", "1it", "1ep"], "child_length": "1ep", "averages": []}
    changes["child_seeds"] = [1, 2, 3, 4]
    made = family(tmp_path)
    trained(made, **changes)
    evaluations.clear()
    _, evaluated = grown(made, **changes)
    # The end of a child was evaluated when it was trained: as trained, 0 and 1it are left.
    as_trained, reset = 1 + 4, 1 + 4 + 4
    expected = (as_trained + reset) * len(MODELS)
    assert num_networks(evaluations) == {"train": expected, "test": expected}
    assert evaluated.num_evaluated == 4 * 3 * 2 * len(MODELS)  # with those that were known


@pytest.mark.parametrize(
    ("network", "bn"), [("mlp", "reset"), ("mlp", "average"), ("small", "average")]
)
def test_children_that_no_treatment_changes_are_not_evaluated_twice(
    tmp_path, evaluations, network, bn
):
    changes = {"child_steps": ["0", "1it", "1ep"], "child_length": "1ep", "averages": []}
    changes |= {"child_seeds": [1, 2, 3, 4], "bn": bn}
    made = family(tmp_path, toys.recipe(model={"mlp": Mlp, "small": toys.Small}[network]))
    trained(made, **changes)
    evaluations.clear()
    grown(made, **changes)
    expected = (1 + 4) * len(MODELS)
    assert num_networks(evaluations) == {"train": expected, "test": expected}


def test_ends_evaluated_anew_because_many_were_side_by_side_are_not_evaluated_twice(
    tmp_path, evaluations
):
    decays = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    made = family(tmp_path, toys.recipe(model=Mlp, averages=lambda: EMA(decays)))
    changes = {"child_steps": ["1it", "1ep"], "child_length": "1ep", "averages": []}
    trained(made, **changes)
    evaluations.clear()
    grown(made, **changes)
    expected = 2 * 2 * 9  # children, child steps, models
    assert num_networks(evaluations) == {"train": expected, "test": expected}


@pytest.mark.parametrize(
    ("network", "bn"), [("mlp", "reset"), ("mlp", "average"), ("small", "average")]
)
def test_children_that_no_treatment_changes_have_the_same_numbers_twice(tmp_path, network, bn):
    made = family(tmp_path, toys.recipe(model={"mlp": Mlp, "small": toys.Small}[network]))
    grown(made, child_length="1ep", bn=bn)
    rows = [row for row in average_rows(made.tree) if row["kind"] == "child"]
    sides = [[{**row, "bn": ""} for row in rows if row["bn"] == side] for side in ("keep", bn)]
    assert sides[0] == sides[1]
    assert len(sides[0]) == len(rows) / 2 > 0


def test_a_split_asked_for_later_is_added(tmp_path, evaluations):
    made = family(tmp_path)
    grown(made, child_length="1ep", splits=["test"])
    evaluations.clear()
    _, evaluated = grown(made, child_length="1ep", splits=["test", "val"])
    assert evaluated.num_evaluated > 0
    assert set(num_networks(evaluations)) == {"val"}
    assert {row["split"] for row in average_rows(made.tree)} == {"val", "test"}


def test_a_model_without_averages_has_plain_rows_alone(tmp_path, evaluations):
    made = family(tmp_path, toys.recipe(averages=None))
    grown(made, child_length="1ep")
    assert {row["model"] for row in average_rows(made.tree)} == {"plain"}
    evaluations.clear()
    assert grown(made, child_length="1ep", models=["averaged"])[1].num_evaluated == 0
    assert evaluations == []


def test_children_that_stopped_early_have_no_rows_later(tmp_path):
    made = family(tmp_path, toys.recipe(**RESTLESS))
    steps = {"child_length": "40ep", "child_steps": ["1ep", "2ep", "40ep"]}
    plan, _ = grown(made, **steps)
    ends = [made.tree.child("0ep", seed).read_result()["iteration"] for seed in (1, 2)]
    assert max(ends) < 120
    found = {(int(r["child_step"]), r["kind"], r["seeds"]) for r in average_rows(made.tree)}
    reached = {
        str(seed): [s for s in (3, 6) if s <= end] for seed, end in zip("12", ends, strict=True)
    }
    for seed, steps_there in reached.items():
        assert {step for step, _, seeds in found if seeds == seed} == set(steps_there)
    assert max(step for step, *_ in found) < 120
    assert all(int(row["child_step"]) < 120 for row in distance_rows(made.tree))


class Mlp(nn.Sequential):
    """Without convolutions: many are evaluated side by side, and sums of 400 terms round apart."""

    def __init__(self, input_shape, num_classes):
        width = input_shape[0] * input_shape[1] * input_shape[2]
        super().__init__(
            nn.Flatten(), nn.Linear(width, 400), nn.ReLU(), nn.Linear(400, num_classes)
        )


def tables(made):
    """The tables of the whole tree, as they are written."""
    results.complete_tables(made.tree)
    return made.tree.averages.read_bytes(), made.tree.distances.read_bytes()


WHOLE = {
    "spawn_steps": ["0ep", "4it"],
    "child_seeds": [1, 2, 3],
    "averages": ["across", "back", "back_plus_one"],
    "child_length": "4it",
}
REQUESTS = [
    {"averages": ["back"], "child_seeds": [1], "splits": ["test"]},
    {"child_steps": ["0", "2it"], "child_length": "1ep", "child_seeds": [1, 2]},
    {"spawn_step": "4it", "child_seeds": [3], "averages": ["back_plus_one"]},
    {"only": 0, "models": ["averaged"], "num_children": [3]},
]


@pytest.mark.parametrize("network", [toys.Small, Mlp], ids=["small", "mlp"])
@pytest.mark.parametrize("backwards", [False, True])
def test_tables_do_not_depend_on_the_order_of_requests(tmp_path, network, backwards):
    at_once = family(tmp_path / "at_once", toys.recipe(model=network))
    grown(at_once, **WHOLE)
    bit_by_bit = family(tmp_path / "bit_by_bit", toys.recipe(model=network))
    for changes in REQUESTS[::-1] if backwards else REQUESTS:
        grown(bit_by_bit, **(WHOLE | changes))
    grown(bit_by_bit, **WHOLE)
    assert tables(bit_by_bit) == tables(at_once)


@pytest.mark.parametrize("network", [toys.Small, Mlp], ids=["small", "mlp"])
def test_tables_do_not_depend_on_how_many_are_evaluated_at_once(tmp_path, monkeypatch, network):
    found = []
    for at_once in (1, 3, branching_averages.AT_ONCE):
        monkeypatch.setattr(branching_averages, "AT_ONCE", at_once)
        made = family(tmp_path / str(at_once), toys.recipe(model=network))
        grown(made, child_length="2ep")
        found.append(tables(made))
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("network", [toys.Small, Mlp])
def test_a_study_killed_again_and_again_ends_as_an_uninterrupted_one(
    tmp_path, monkeypatch, network
):
    changes = {"spawn_steps": ["0ep", "4it"], "child_length": "1ep"}
    recipe, write = toys.recipe(model=network), store_files.write_bytes
    whole = family(tmp_path / "whole", recipe)
    grown(whole, save=True, **changes)

    for survived in (1, 4, 5, 9, 17, 30, 31, 60, 1000):  # files that are written before the kill
        left = iter(range(survived))

        def killed(path, content, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            write(path, content)

        monkeypatch.setattr(store_files, "write_bytes", killed)
        parts = family(tmp_path / "parts", recipe)
        with contextlib.suppress(KeyboardInterrupt):
            grown(parts, save=True, **changes)
    assert tables(parts) == tables(whole)
    weights_files = list(whole.tree.folder.rglob("weights/*.safetensors"))
    assert len(weights_files) > 60
    for path in weights_files:
        twin = parts.tree.folder / path.relative_to(whole.tree.folder)
        assert twin.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("decays", [[0.9], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]], ids=len)
def test_an_end_from_which_children_were_trained_on_leaves_no_trace_in_the_table(tmp_path, decays):
    recipe = toys.recipe(model=Mlp, averages=lambda: EMA(decays))
    parts, whole = (family(tmp_path / name, recipe) for name in ("parts", "whole"))
    grown(parts, child_length="1ep", child_steps=["1ep"])
    for made in (parts, whole):
        grown(made, child_length="2ep", child_steps=["1ep", "2ep"])
    assert tables(parts) == tables(whole)


@pytest.fixture(scope="module")
def study_distances(tmp_path_factory):
    """Three children of the middle of the second epoch, with their distances."""
    made = family(tmp_path_factory.mktemp("study"))
    grown(made, spawn_steps=["4it"], child_seeds=[1, 2, 3], child_steps=["0", "2it", "5it"])
    return made


@pytest.fixture(scope="module")
def distances_table(study_distances):
    """Rows of the table of the tree by child step and seed."""
    rows = distance_rows(study_distances.tree)
    return {(int(row["child_step"]), int(row["seed"])): row for row in rows}


def flat(study_distances, run, iteration):
    """The parameters, without running statistics, as one vector."""
    network = weights(run, iteration)
    return torch.cat([network[name].flatten().double() for name in study_distances.parameters()])


def networks(study_distances, child_step):
    """The initialization, the parent at the spawn step, and every child."""
    tree = study_distances.tree
    start = flat(study_distances, tree.parent, 4)
    children = {
        seed: flat(study_distances, tree.child("1ep1it", seed), 4 + child_step)
        if child_step
        else start
        for seed in (1, 2, 3)
    }
    return flat(study_distances, tree.parent, 0), start, children


@pytest.mark.parametrize("child_step", [0, 2, 5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_distances_are_those_of_flat_vectors_of_parameters(
    study_distances, distances_table, child_step, seed
):
    initial, start, children = networks(study_distances, child_step)
    child = children.pop(seed)
    row = distances_table[child_step, seed]
    norm, cosine = torch.linalg.vector_norm, torch.nn.functional.cosine_similarity
    expected = {
        "l2_origin": norm(child),
        "l2_initialization": norm(child - initial),
        "l2_parent": norm(child - start),
        "l2_siblings": sum(norm(child - other) for other in children.values()) / 2,
        "cosine_initialization": cosine(child, initial, dim=0),
        "cosine_parent": cosine(child, start, dim=0),
        "cosine_siblings": sum(cosine(child, other, dim=0) for other in children.values()) / 2,
    }
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value.item(), rel=1e-5, abs=1e-12), name


def test_the_table_has_one_row_for_each_child_and_child_step(distances_table):
    assert sorted(distances_table) == [(step, seed) for step in (0, 2, 5) for seed in (1, 2, 3)]
    row = distances_table[5, 2]
    moment = [row[n] for n in ("spawn_step", "spawn_epoch", "child_epoch")]
    assert moment == ["4", "1.33333", "1.66667"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_the_spawn_step_a_child_is_its_parent_and_its_siblings(distances_table, seed):
    row = distances_table[0, seed]
    assert float(row["l2_parent"]) == float(row["l2_siblings"]) == 0
    assert float(row["cosine_parent"]) == float(row["cosine_siblings"]) == 1


def test_running_statistics_do_not_count(study_distances):
    path = study_distances.tree.child("1ep1it", 1).weights(9)
    names = study_distances.parameters()
    assert len(names) < len(weights(study_distances.tree.child("1ep1it", 1), 9)) and path.exists()
    assert not [name for name in names if "running" in name or "num_batches" in name]


def test_an_only_child_has_empty_cells_for_siblings(tmp_path):
    made = family(tmp_path)
    grown(made, child_seeds=[1], child_steps=["0", "1ep"], child_length="1ep")
    rows = distance_rows(made.tree)
    assert len(rows) == 2
    for row in rows:
        assert {name for name, cell in row.items() if cell == ""} == {
            "l2_siblings",
            "cosine_siblings",
        }


def test_identical_children_are_at_no_distance(tmp_path):
    made = family(tmp_path, vary=[])
    grown(made, child_steps=["1ep"], child_length="1ep")
    rows = distance_rows(made.tree)
    assert [float(row["l2_siblings"]) for row in rows] == [0, 0]
    assert [float(row["cosine_siblings"]) for row in rows] == [1, 1]


def test_of_children_that_are_added_only_new_pairs_are_measured(tmp_path, monkeypatch):
    made = family(tmp_path)
    changes = {"child_length": "1ep", "child_steps": ["1ep"]}
    grown(made, child_seeds=[2, 3], **changes)
    path = made.tree.distance("0ep")
    marked = path.read_text().replace("\n0,3,0,1,2,3,", "\n0,3,0,1,2,3,1e9")  # whatever it was
    path.write_text(marked)
    grown(made, child_seeds=[3, 1, 2], **changes)
    rows = core_tables.read(path).to_dict("records")
    assert [(row["seed"], row["other"]) for row in rows if row["other"] not in results.ALONE] == [
        ("1", "2"),
        ("1", "3"),
        ("2", "3"),
    ]
    (kept,) = [row for row in rows if (row["seed"], row["other"]) == ("2", "3")]
    assert kept["l2"].startswith("1e9")


def test_what_is_measured_is_left_alone(tmp_path):
    made = family(tmp_path)
    grown(made, child_length="1ep")
    path = made.tree.distance("0ep")
    before = path.stat().st_mtime_ns
    grown(made, child_length="1ep")
    grown(made, child_seeds=[2], child_length="1ep")
    assert path.stat().st_mtime_ns == before


def test_the_table_of_a_spawn_step_has_the_columns_it_says(tmp_path):
    made = family(tmp_path)
    plan = trained(made, child_length="1it", child_steps=["1it"])
    assert not made.tree.distance("0ep").exists()
    grown(made, child_length="1it", child_steps=["1it"])
    with made.tree.distance(plan.text(0)).open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert tuple(header) == results.PAIRS
    assert [row[4:6] for row in rows] == [
        *(["1", other] for other in (*results.ALONE, "2")),
        *(["2", other] for other in results.ALONE),
    ]
    assert all((row[7] == "") == (row[5] == "origin") for row in rows)


def state(momentum=None, averages=None, iteration=5, lr=0.1):
    """As a session returns it, of one parameter of two numbers."""
    buffers = {} if momentum is None else {0: {"momentum_buffer": torch.tensor(momentum)}}
    optimizer = {"state": buffers, "param_groups": [{"lr": lr, "params": [0]}]}
    training = {"iteration": iteration, "optimizer": optimizer, "scheduler": {}, "running": {}}
    return {"training": training, "averages": averages or {}}


def momentum(mean):
    return mean["training"]["optimizer"]["state"][0]["momentum_buffer"]


def test_momentum_is_averaged():
    found = branching_averages.mean_state(
        [state([1.0, -4.0]), state([2.0, 0.0]), state([6.0, 1.0])]
    )
    torch.testing.assert_close(momentum(found), torch.tensor([3.0, -1.0]))


def test_a_training_that_has_not_begun_does_not_count_as_0():
    found = branching_averages.mean_state([state(None), state([2.0, 4.0]), state([4.0, 0.0])])
    torch.testing.assert_close(momentum(found), torch.tensor([3.0, 2.0]))


def test_momentum_that_none_has_is_not_made_up():
    assert (
        branching_averages.mean_state([state(None), state(None)])["training"]["optimizer"]["state"]
        == {}
    )


def test_momentum_is_summed_in_float64_and_keeps_its_type():
    many = [state([1e8, 1.0])] + [state([1.0, 1.0])] * 3 + [state([-1e8, 1.0])]
    found = momentum(branching_averages.mean_state(many))  # in float32 the ones would be lost
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([0.6, 1.0]))


def test_counters_rates_and_schedule_are_those_of_the_last():
    found = branching_averages.mean_state(
        [state([1.0], iteration=3, lr=0.5), state([3.0], iteration=8, lr=0.25)]
    )
    assert found["training"]["iteration"] == 8
    assert found["training"]["optimizer"]["param_groups"] == [{"lr": 0.25, "params": [0]}]
    assert list(found) == ["training", "averages"]


def test_averaged_models_are_averaged_if_all_have_the_same():
    def averages(value):
        return {"ema_0.9": {"weight": torch.tensor([value, 1.0])}, "num": 3}

    found = branching_averages.mean_state(
        [state(averages=averages(1.0)), state(averages=averages(4.0))]
    )
    torch.testing.assert_close(found["averages"]["ema_0.9"]["weight"], torch.tensor([2.5, 1.0]))
    assert found["averages"]["num"] == 3


def test_averaged_models_that_not_all_have_are_those_of_the_last():
    own = {"ema_0.9": {"weight": torch.tensor([4.0])}}
    found = branching_averages.mean_state([state(averages={"ema_0.5": {}}), state(averages=own)])
    assert found["averages"] == own


def test_lists_are_averaged_entry_by_entry_and_those_of_unequal_length_are_the_last():
    def averages(*values):
        return {"latest": [torch.tensor([value]) for value in values]}

    found = branching_averages.mean_state(
        [state(averages=averages(1.0, 2.0)), state(averages=averages(3.0, 6.0))]
    )
    assert [tensor.item() for tensor in found["averages"]["latest"]] == [2.0, 4.0]
    found = branching_averages.mean_state(
        [state(averages=averages(1.0)), state(averages=averages(3.0, 6.0))]
    )
    assert [tensor.item() for tensor in found["averages"]["latest"]] == [3.0, 6.0]


def test_integers_and_counters_held_in_tensors_are_those_of_the_last():
    def averages(count):
        return {"tracked": torch.tensor(count), "counts": torch.tensor([count])}

    found = branching_averages.mean_state(
        [state(averages=averages(1)), state(averages=averages(4))]
    )
    assert found["averages"]["tracked"].item() == 4
    assert found["averages"]["counts"].tolist() == [4]


def test_the_mean_of_a_state_with_itself_is_that_state():
    one = state([0.1, 0.7], {"ema_0.9": {"weight": torch.tensor([0.3])}})
    torch.testing.assert_close(branching_averages.mean_state([one, one, one]), one, rtol=0, atol=0)
    torch.testing.assert_close(branching_averages.mean_state([one]), one, rtol=0, atol=0)


def test_the_states_are_left_as_they_are():
    first, second = state([1.0]), state([3.0])
    branching_averages.mean_state([first, second])
    torch.testing.assert_close([first, second], [state([1.0]), state([3.0])], rtol=0, atol=0)


def stepped(make, gradient, num=2):
    """An optimizer after some steps, and its one parameter."""
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = make([parameter])
    for _ in range(num):
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda p: sgd(p, lr=0.1, momentum=0.9), ["momentum_buffer"]),
        (lambda p: adam(p, lr=0.1), ["exp_avg", "exp_avg_sq"]),
    ],
    ids=["sgd", "adam"],
)
def test_an_optimizer_takes_the_mean_and_steps_on(make, names, tmp_path):
    found = []
    for position, gradient in enumerate(([1.0, -2.0], [3.0, 0.5])):
        one = state()
        one["training"]["optimizer"] = stepped(make, gradient).state_dict()
        store_files.save_state(tmp_path / f"{position}.pt", one)
        found.append(one["training"]["optimizer"]["state"][0])
    branching_averages.save_mean_state(tmp_path / "mean.pt", [tmp_path / "0.pt", tmp_path / "1.pt"])
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = make([parameter])
    optimizer.load_state_dict(store_files.load_state(tmp_path / "mean.pt")["training"]["optimizer"])
    held = optimizer.state_dict()["state"][0]
    for name in names:
        torch.testing.assert_close(held[name], (found[0][name] + found[1][name]) / 2)
    parameter.grad = torch.ones(2)
    optimizer.step()
    assert parameter.isfinite().all()
