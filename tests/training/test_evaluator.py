import pytest
import torch
import torch.nn.functional as F

from isthmus import state_dicts
from isthmus.config.parts import Part
from isthmus.training.evaluator import Evaluator, saved_evaluator
from isthmus.training.options import SavedOptions
from tests import toys

CPU = torch.device("cpu")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return toys.Small((2, 4, 4), 3)


def evaluator(model, data=None):
    return Evaluator(model, data or toys.data(), CPU, toys.RUNTIME)


def normalized(split):
    return (split.inputs / 255 - 0.5) / 0.25


def test_the_table_equals_a_plain_pass_over_each_split(model):
    data = toys.data()
    table = evaluator(model, data).table({"plain": model.state_dict()})
    assert list(table["plain"]) == ["train", "val", "test"]
    for name, split in data.splits.items():
        with torch.no_grad():
            logits = model.eval()(normalized(split))
        loss = F.cross_entropy(logits, split.labels).item()
        accuracy = (logits.argmax(dim=1) == split.labels).double().mean().item()
        assert table["plain"][name] == pytest.approx({"loss": loss, "accuracy": accuracy})


def test_training_images_are_not_augmented(model):
    models = {"plain": model.state_dict()}
    augmented, bare = (
        evaluator(model, toys.data(augment=augment)).table(models, ["train"])
        for augment in (True, False)
    )
    assert augmented == bare


def test_a_split_that_is_not_there_is_refused(model):
    with pytest.raises(ValueError, match="splits=val: this data set has train, test"):
        evaluator(model, toys.data(num_val=0)).table({"plain": model.state_dict()}, ["val"])


def test_reset_statistics_are_those_of_the_training_images(model):
    weights = evaluator(model).reset_batch_norm(model.state_dict())
    with torch.no_grad():
        hidden = model.conv(normalized(toys.data().train))  # (examples, 4, height, width)
    torch.testing.assert_close(weights["bn.running_mean"], hidden.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(weights["bn.running_var"], hidden.var(dim=(0, 2, 3)))


def test_stale_statistics_make_no_difference_after_a_reset(model):
    stale = state_dicts.copy(model.state_dict())
    stale["bn.running_mean"] += 5
    holder = evaluator(model)
    first, second = (holder.reset_batch_norm(w) for w in (model.state_dict(), stale))
    assert toys.equal(dict(first), dict(second))


def test_without_batch_norm_a_reset_changes_nothing():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32, 3))
    weights = model.state_dict()
    assert evaluator(model).reset_batch_norm(weights) is weights


def changed(model):
    """Weights, and others with statistics that are neither theirs nor right."""
    weights = state_dicts.copy(model.state_dict())
    last = {name: torch.full_like(tensor, 7) for name, tensor in weights.items()}
    return weights, last


def test_combined_weights_keep_the_statistics_of_the_last_network(model):
    weights, last = changed(model)
    found = evaluator(model).with_bn_statistics(weights, last, "keep")
    for name, tensor in found.items():
        statistic = name in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked")
        assert torch.equal(tensor, last[name] if statistic else weights[name])


def test_combined_weights_are_as_they_are_or_have_statistics_reset(model):
    weights, last = changed(model)
    holder = evaluator(model)
    assert toys.equal(dict(holder.with_bn_statistics(weights, last, "average")), weights)
    reset = holder.with_bn_statistics(weights, last, "reset")
    assert toys.equal(dict(reset), dict(holder.reset_batch_norm(weights)))
    assert not torch.equal(reset["bn.running_mean"], weights["bn.running_mean"])


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_combining_leaves_the_networks_as_they_are(model, bn):
    weights, last = changed(model)
    evaluator(model).with_bn_statistics(weights, last, bn)
    again, last_again = changed(model)
    assert toys.equal(weights, again) and toys.equal(last, last_again)


@pytest.mark.parametrize("bn", ["reset", "average", "keep"])
def test_without_batch_norm_combined_weights_are_as_they_are(bn):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32, 3))
    weights = state_dicts.copy(model.state_dict())
    assert toys.equal(dict(evaluator(model).with_bn_statistics(weights, weights, bn)), weights)


def test_batches_of_a_split_are_its_normalized_images_again_and_again(model):
    holder = evaluator(model)
    for _ in range(2):
        inputs, labels = zip(*holder.batches("test"), strict=True)
        split = toys.data().test
        torch.testing.assert_close(torch.cat(inputs), normalized(split))
        assert torch.cat(labels).equal(split.labels)
        assert len(inputs[0]) == min(holder.batch_size, len(split))


METADATA = {
    "config": {
        "model": {"_target_": "isthmus.models.mlp.MLP", "_partial_": True, "width": [3]},
        "dataset": {"_target_": "isthmus.data.digits.Digits", "val_fraction": 0.3},
        "seeds": {"label_noise": None},
        "global_seed": 1,
        "precision": "bf16",
    },
    "input_shape": [1, 8, 8],
    "num_classes": 10,
}


def test_saved_weights_are_evaluated_on_the_data_of_their_training():
    made = saved_evaluator(METADATA, SavedOptions(runtime=toys.RUNTIME))
    assert [len(split) for split in made.data.splits.values()] == [1005, 432, 360]
    table = made.table({"plain": made.model.state_dict()}, ["val"])
    assert 0 <= table["plain"]["val"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("precision", "autocast"), [(None, torch.bfloat16), ("bf16", torch.bfloat16), ("fp32", None)]
)
def test_the_precision_is_that_of_the_training_unless_given(precision, autocast):
    made = saved_evaluator(METADATA, SavedOptions(runtime=toys.RUNTIME, precision=precision))
    assert made.autocast == autocast


def test_data_that_does_not_fit_the_model_is_refused():
    rotated = Part("dataset", None, {"unsupervised_labels": "rotation"})
    with pytest.raises(ValueError, match=r"\[1, 8, 8\] in 4 classes do not fit this model.*10"):
        saved_evaluator(METADATA, SavedOptions(dataset=rotated, runtime=toys.RUNTIME))
