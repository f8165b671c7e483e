import csv
from functools import partial

import pytest
import torch

from isthmus.averaging.swa import SWA
from isthmus.pruning import plan
from isthmus.pruning.strategies import Fc19, Random, SparseGlobal
from isthmus.store import files as store_files
from isthmus.store.files import Run
from isthmus.training import masks, optimizers, pretraining
from isthmus.training.fit import fit
from isthmus.training.loop import Training
from isthmus.training.optimizers import adam
from isthmus.training.options import Pretrain
from isthmus.training.schedulers import Cosine, Linear, MultiStep, Scheduler
from isthmus.training.session import Session
from tests import toys
from tests.pruning.studies import (
    OFTEN,
    assert_same,
    assert_sparse,
    grown,
    mask,
    some_mask,
    study,
    weights,
)

ADAM = {
    "optimizer": lambda parameters: adam(parameters, lr=0.01),
    "averages": lambda: SWA(start="1ep", every="2it"),
    "scheduler": Cosine,
}
RECIPES = {"sgd and ema bank": {}, "adam and swa": ADAM}
TOTAL = 72 + 192  # weights of the convolution and of the output layer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return grown(study(tmp_path_factory.mktemp("study"), levels=3))


def test_levels_have_the_exact_counts_and_are_nested(made):
    before = masks.dense_mask({name: part.shape for name, part in mask(made.tree.level(1)).items()})
    for level in (1, 2, 3):
        kept = mask(made.tree.level(level))
        assert TOTAL - sum(masks.num_kept(kept).values()) == masks.num_pruned(TOTAL, 0.4, level)
        assert all((kept[name] <= before[name]).all() for name in kept)
        before = kept


def test_every_network_of_a_level_is_sparse(made):
    for level in (1, 2, 3):
        run = made.tree.level(level)
        files = list((run.folder / "weights").glob("*.safetensors"))
        assert len(files) == 5  # plain, two averages, best, best_averaged
        for file in files:
            assert_sparse(store_files.load_weights(file)[0], mask(run))


def test_weights_say_what_they_are(made):
    _, said = store_files.load_weights(made.tree.level(2).weights(9))
    kept = mask(made.tree.level(2))
    assert said["level"] == 2 and said["density"] == masks.density(kept)
    assert (said["strategy"], said["rewind"], said["rewind_step"]) == (
        "sparse_global",
        "weights",
        0,
    )
    assert said["mask"]["file"] == "../mask.safetensors"
    _, dense = store_files.load_weights(made.tree.level(0).weights(9))
    assert "mask" not in dense and dense["density"] == 1


def test_level_0_is_the_training_without_any_pruning(made, tmp_path):
    run = Run(tmp_path)
    fit(run, lambda: Session(toys.recipe(), toys.data(), toys.SEEDS, toys.RUNTIME))
    assert_same(made.tree.level(0), run)


def test_the_table_of_sparsity_adds_up(made):
    for level in range(4):
        with plan.sparsity_file(made.tree.level(level)).open() as file:
            rows = list(csv.DictReader(file))
        assert [row["layer"] for row in rows] == ["conv.weight", "output.weight", "total"]
        kept = [int(row["num_kept"]) for row in rows]
        assert kept[0] + kept[1] == kept[2] == TOTAL - masks.num_pruned(TOTAL, 0.4, level)
        for row in rows:
            assert float(row["density"]) + float(row["sparsity"]) == pytest.approx(1)


def test_more_levels_are_added_and_are_those_of_one_go(made, tmp_path):
    first = grown(study(tmp_path, levels=1))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    later = grown(study(tmp_path, levels=3))
    assert first.num_steps == later.num_steps == 2 * 9
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for level in range(4):
        assert_same(later.tree.level(level), made.tree.level(level))
    assert grown(study(tmp_path, levels=3)).num_steps == 0


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize(("asked", "killed_at"), [("0", 14), ("4it", 9 + 5 + 2), ("1ep", 17)])
def test_a_killed_study_goes_on_bit_for_bit(tmp_path, monkeypatch, changes, asked, killed_at):
    recipe = toys.recipe(**changes)
    whole = grown(study(tmp_path / "whole", recipe, rewind_step=asked))
    original, made = Training.step, []

    def step(self, inputs, labels):
        made.append(self.iteration)
        if len(made) == killed_at:
            raise KeyboardInterrupt
        original(self, inputs, labels)

    monkeypatch.setattr(Training, "step", step)
    with pytest.raises(KeyboardInterrupt):
        grown(study(tmp_path / "parts", recipe, rewind_step=asked, runtime=OFTEN))
    monkeypatch.setattr(Training, "step", original)
    parts = grown(study(tmp_path / "parts", recipe, rewind_step=asked, runtime=OFTEN))
    for level in range(3):
        assert_same(parts.tree.level(level), whole.tree.level(level))
    for level in (1, 2):
        first, second = (mask(of.tree.level(level)) for of in (parts, whole))
        assert all(first[name].equal(second[name]) for name in first)


class Nothing(SparseGlobal):
    """Prunes nothing at all, whatever its fraction."""

    def groups(self, of):
        return []


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("rewind_step", ["0", "2it", "1ep", "1ep2it"])
def test_a_level_that_has_lost_nothing_is_level_0(tmp_path, changes, rewind_step):
    """All of the state is rewound: weights, optimizer, schedule, order, averaged models."""
    recipe = toys.recipe(**changes)
    made = grown(study(tmp_path, recipe, Nothing(0.4), levels=1, rewind_step=rewind_step))
    assert_same(made.tree.level(1), made.tree.level(0))


@pytest.mark.parametrize("rewind_step", ["0", "4it"])
def test_a_ticket_begins_with_the_weights_of_level_0_at_the_rewind_step(tmp_path, rewind_step):
    made = grown(study(tmp_path, levels=2, rewind_step=rewind_step, snapshots=[rewind_step]))
    iteration = made.plan.rewind
    dense = weights(made.tree.level(0), iteration)
    for level in (1, 2):
        run = made.tree.level(level)
        found = weights(run, iteration)
        assert toys.equal(found, masks.apply_mask(dense, mask(run)))
        assert_sparse(found, mask(run))


def beginnings(made):
    """Iteration, weights and learning rate at the first step of each training."""
    found, original = [], Training.step

    def step(self, inputs, labels):
        level = made.starts.session.origin["level"]
        if level == len(found) and self.iteration == made.plan.begin(level):
            state = {k: v.clone() for k, v in self.model.state_dict().items()}
            found.append((self.iteration, state, self.lr(), dict(self.optimizer.state)))
        original(self, inputs, labels)

    Training.step = step
    try:
        grown(made)
    finally:
        Training.step = original
    return found


def test_learning_rate_rewinding_keeps_the_weights(tmp_path):
    made = study(tmp_path, toys.recipe(scheduler=Cosine), rewind="lr", rewind_step="2it")
    found = beginnings(made)
    rates = [made.starts.session.recipe.scheduler(9, 3).factor(i) * 0.05 for i in (0, 2)]
    assert [(iteration, lr) for iteration, _, lr, _ in found] == [
        (0, rates[0]),
        (2, rates[1]),
        (2, rates[1]),
    ]
    for level in (1, 2):
        run = made.tree.level(level)
        before = weights(made.tree.level(level - 1))
        assert toys.equal(found[level][1], masks.apply_mask(before, mask(run)))
        assert found[level][3] == {}  # a fresh optimizer
        assert_sparse(weights(run), mask(run))


@pytest.mark.parametrize(("retrain_lr", "last"), [(None, 0.005), (0.02, 0.02)])
def test_without_rewinding_weights_are_trained_on_at_one_learning_rate(tmp_path, retrain_lr, last):
    scheduler = partial(MultiStep, milestones=["2ep"])
    recipe = toys.recipe(scheduler=scheduler)
    made = study(tmp_path, recipe, rewind="none", retrain_lr=retrain_lr)
    found = beginnings(made)
    assert [iteration for iteration, *_ in found] == [0, 0, 0]
    assert [lr for *_, lr, _ in found] == pytest.approx([0.05, last, last])
    for level in (1, 2):
        before = weights(made.tree.level(level - 1))
        assert toys.equal(found[level][1], masks.apply_mask(before, mask(made.tree.level(level))))
        assert made.tree.level(level).read_result()["iteration"] == 9


@pytest.mark.parametrize("scheduler", [Cosine, Linear])
def test_levels_are_not_trained_on_at_a_rate_that_has_fallen_to_0(tmp_path, scheduler):
    recipe = toys.recipe(scheduler=scheduler)
    with pytest.raises(ValueError, match="^rewind=none: .*retrain_lr=0.005 "):
        study(tmp_path, recipe, rewind="none")
    assert not list(tmp_path.iterdir())
    study(tmp_path, recipe, rewind="none", levels=0)  # there is nothing to train on
    study(tmp_path, recipe, rewind="lr")
    made = grown(study(tmp_path, recipe, rewind="none", retrain_lr=0.01, levels=1))
    assert not toys.equal(weights(made.tree.level(0)), weights(made.tree.level(1)))


class Stepped(Scheduler):
    """Falls with every observation, as a plateau does: what it does next is in its state."""

    def __init__(self, iterations, iterations_per_epoch):
        self.value = 1.0

    def factor(self, iteration):
        return self.value

    def observe(self, val_loss):
        self.value /= 2

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


@pytest.mark.parametrize(
    ("rewind", "step", "rates"),
    [
        ("weights", "4it", [0.05, 0.025, 0.025]),
        ("lr", "4it", [0.05, 0.025, 0.025]),
        ("lr", "0", [0.05, 0.05, 0.05]),
        ("none", "0", [0.05, 0.05 / 8, 0.05 / 8]),  # after three epochs
    ],
)
def test_a_schedule_with_a_state_is_rewound_with_it(tmp_path, rewind, step, rates):
    made = study(tmp_path, toys.recipe(scheduler=Stepped), rewind=rewind, rewind_step=step)
    assert [lr for _, _, lr, _ in beginnings(made)] == rates


def test_levels_go_on_from_where_a_pretraining_ended(tmp_path):
    given = toys.Small((2, 4, 4), 3).state_dict()
    made = study(
        tmp_path,
        weights=lambda initial: given,
        pretrain=Pretrain(hparams={"steps": "1ep"}),
        snapshots=["1ep", "2ep"],
    )
    found = beginnings(made)
    assert [iteration for iteration, *_ in found] == [3, 3, 3]
    assert made.num_steps == 3 * 6
    assert toys.equal(found[0][1], given)
    for level in (1, 2):
        run = made.tree.level(level)
        assert toys.equal(found[level][1], masks.apply_mask(given, mask(run)))
    assert [made.tree.level(level).snapshots() for level in range(3)] == [[3, 6]] * 3
    assert toys.equal(weights(made.tree.level(0), 3), given)


def test_a_pretraining_on_other_classes_lends_all_but_its_output_layer(tmp_path):
    given = toys.Small((2, 4, 4), 7).state_dict()
    begun = partial(pretraining.fit_weights, given, file="a file")
    made = study(tmp_path, weights=begun, levels=0, pretrain=Pretrain(hparams={"steps": "1ep"}))
    (begin,) = beginnings(made)
    assert begin[1]["conv.weight"].equal(given["conv.weight"])
    assert begin[1]["output.weight"].equal(made.starts.initial["output.weight"])


def test_data_of_every_level_comes_in_the_order_of_level_0(tmp_path):
    seen, original = {}, Training.step
    made = study(tmp_path, rewind_step="4it")

    def step(self, inputs, labels):
        level = made.starts.session.origin["level"]
        seen.setdefault(self.iteration, {})[level] = inputs.clone()
        original(self, inputs, labels)

    Training.step = step
    try:
        grown(made)
    finally:
        Training.step = original
    assert [len(seen[i]) for i in range(9)] == [1] * 4 + [3] * 5
    assert all(batch.equal(seen[i][0]) for i in range(9) for batch in seen[i].values())


def test_one_shot_is_one_level_of_that_sparsity(tmp_path):
    strategy = SparseGlobal(0.9, ignore=[])
    made = grown(study(tmp_path, strategy=strategy, one_shot=0.9, levels=1))
    assert sum(masks.num_kept(mask(made.tree.level(1))).values()) == 26  # 264 - round(237.6)
    assert made.fraction_text() == "one_shot=0.9"


def test_random_levels_depend_on_the_seed_of_the_study(tmp_path):
    made = grown(study(tmp_path, strategy=Random(0.4, ignore=[]), levels=1))
    other = grown(study(tmp_path / "b", strategy=Random(0.4, ignore=[], seed=2), levels=1))
    pair = [mask(of.tree.level(1))["conv.weight"] for of in (made, other)]
    assert not pair[0].equal(pair[1])


def test_snapshots_asked_for_later_are_those_kept_at_once(tmp_path):
    steps = {"snapshots": ["4it", "5it", "2ep"], "rewind_step": "4it"}
    at_once = grown(study(tmp_path / "at_once", **steps))
    grown(study(tmp_path / "later", rewind_step="4it"))
    later = grown(study(tmp_path / "later", **steps))
    for level in (0, 1, 2):
        pair = [made.tree.level(level) for made in (at_once, later)]
        assert [run.snapshots() for run in pair] == [[4, 5, 6]] * 2
        for iteration in (4, 5, 6):
            assert_same(*pair, iteration)


def test_rewinding_to_what_was_never_reached_is_refused(tmp_path):
    restless = {
        "epochs": 50,
        "patience": 1,
        "optimizer": lambda parameters: adam(parameters, lr=0.3),
    }
    message = r"^rewind_step=49ep: is after the early stop of level 0 \(hparams.patience=1\)$"
    with pytest.raises(ValueError, match=message):
        grown(study(tmp_path, toys.recipe(**restless), rewind_step="49ep"))


def test_levels_that_would_certainly_empty_a_layer_are_refused_before_any_work(tmp_path):
    message = (
        "^pruning.fraction=0.9: level 2 would keep 1 of the 72 weights of conv.weight|"
        "^pruning.fraction=0.9: level 3 would keep 0 of the 72 weights of conv.weight"
    )
    with pytest.raises(ValueError, match=message):
        study(tmp_path, strategy=Fc19(0.9), levels=5)
    assert list(tmp_path.iterdir()) == []


def test_a_level_that_empties_a_layer_is_named_and_those_before_stay(tmp_path):
    def weak(parameters):  # the convolution ends with the smallest weights
        return optimizers.sgd(parameters, lr=1e-6)

    made = study(tmp_path, toys.recipe(optimizer=weak), SparseGlobal(0.6, ignore=[]), levels=3)
    made.starts.initial["conv.weight"].mul_(1e-3)
    message = r"^pruning.fraction=0.6: level \d would empty conv.weight: no weight is left of it$"
    with pytest.raises(ValueError, match=message):
        grown(made)
    assert made.tree.levels() != [] and not plan.mask_file(made.tree.level(3)).exists()


def test_a_mask_of_another_model_in_the_tree_is_refused(tmp_path):
    grown(study(tmp_path, levels=1))
    kept = some_mask(torch.nn.Sequential(torch.nn.Linear(3, 3)))
    masks.save_mask(plan.mask_file(study(tmp_path).tree.level(2)), kept, {})
    with pytest.raises(
        ValueError, match="^a mask of another model: it has 0.weight, and the model"
    ):
        grown(study(tmp_path, levels=2))


class Backwards(torch.nn.Module):
    """Two layers whose names are not in the order of the alphabet."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.stem, self.body = torch.nn.Linear(32, 6), torch.nn.Linear(6, 5)
        self.output = torch.nn.Linear(5, num_classes)

    def forward(self, inputs):
        return self.output(self.body(self.stem(inputs.flatten(1))).relu())


def test_layers_stay_in_the_order_of_the_network(tmp_path):
    made = grown(study(tmp_path, toys.recipe(model=Backwards), levels=2))
    names = ["stem.weight", "body.weight", "output.weight"]
    assert list(made.mask(2)) == names
    for level in (0, 1, 2):
        with plan.sparsity_file(made.tree.level(level)).open() as file:
            assert [row["layer"] for row in csv.DictReader(file)] == [*names, "total"]


def test_a_mask_that_lacks_a_layer_is_refused(tmp_path):
    made = grown(study(tmp_path, levels=1))
    some = {"conv.weight": made.mask(1)["conv.weight"]}
    masks.save_mask(plan.mask_file(made.tree.level(1)), some, {})
    with pytest.raises(ValueError, match="^a mask of another model: it lacks output.weight$"):
        made.mask(1)


def test_a_bad_pattern_is_named_as_typed(tmp_path):
    with pytest.raises(ValueError, match="^pruning.ignore: 'fc' matches no layer; there are conv"):
        study(tmp_path, strategy=SparseGlobal(0.2, ignore=["fc"]))


def test_what_is_not_pruned_has_all_of_its_weights(tmp_path):
    made = grown(study(tmp_path, strategy=SparseGlobal(0.4), levels=1))
    kept = mask(made.tree.level(1))
    assert kept["output.weight"].all() and int(kept["conv.weight"].sum()) == 72 - 29
    assert made.pruned == ["conv.weight"]
    assert masks.prunable_layers(made.starts.session.model).output == "output.weight"
