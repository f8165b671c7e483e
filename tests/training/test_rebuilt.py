import pytest
import torch

from isthmus.training.evaluator import saved_evaluator
from tests import toys

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
    made = saved_evaluator(METADATA, {"root": None}, [], "cache", toys.RUNTIME, None)
    assert [len(split) for split in made.data.splits.values()] == [1005, 432, 360]
    table = made.table({"plain": made.model.state_dict()}, ["val"])
    assert 0 <= table["plain"]["val"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("precision", "autocast"), [(None, torch.bfloat16), ("bf16", torch.bfloat16), ("fp32", None)]
)
def test_the_precision_is_that_of_the_training_unless_given(precision, autocast):
    made = saved_evaluator(METADATA, {"root": None}, [], "cache", toys.RUNTIME, precision)
    assert made.autocast == autocast


def test_data_that_does_not_fit_the_model_is_refused():
    rotated = {"root": None, "unsupervised_labels": "rotation"}
    with pytest.raises(ValueError, match=r"\[1, 8, 8\] in 4 classes do not fit this model.*10"):
        saved_evaluator(METADATA, rotated, [], "cache", toys.RUNTIME, None)
