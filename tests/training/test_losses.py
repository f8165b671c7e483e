import math

import pytest
import torch
import torch.nn.functional as F

from isthmus.training import losses

OUTPUTS = torch.randn(3, 6, 1, generator=torch.Generator().manual_seed(0))  # (models, batch, 1)
CLASSES, NUMBERS = torch.tensor([0, 1, 1, 0, 1, 0]), torch.linspace(-1, 1, 6)


def test_the_logistic_loss_is_cross_entropy_of_two_logits_one_of_which_is_zero():
    two = torch.cat([torch.zeros_like(OUTPUTS), OUTPUTS], dim=2)
    for model in range(3):
        expected = F.cross_entropy(two[model], CLASSES, reduction="none")
        torch.testing.assert_close(
            losses.example_losses("logistic", OUTPUTS, CLASSES)[model], expected
        )
    torch.testing.assert_close(
        losses.is_correct("logistic", OUTPUTS, CLASSES),
        losses.is_correct("cross_entropy", two, CLASSES),
    )


def test_the_squared_error_is_that_of_hand():
    assert (
        losses.mean_loss("squared", torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0])) == 2.5
    )


@pytest.mark.parametrize(
    ("loss", "labels"), [("cross_entropy", CLASSES), ("logistic", CLASSES), ("squared", NUMBERS)]
)
def test_the_mean_is_that_of_the_losses_of_all_examples(loss, labels):
    outputs = torch.cat([OUTPUTS, -OUTPUTS], dim=2) if loss == "cross_entropy" else OUTPUTS
    each = losses.example_losses(loss, outputs, labels)
    assert each.shape == (3, 6)
    for model in range(3):
        torch.testing.assert_close(
            each[model].mean(), losses.mean_loss(loss, outputs[model], labels)
        )


def test_an_output_of_zero_says_class_0():
    assert losses.is_correct("logistic", torch.zeros(2, 1), torch.tensor([0, 1])).tolist() == [1, 0]
    assert losses.mean_loss("logistic", torch.zeros(2, 1), CLASSES[:2]).item() == pytest.approx(
        math.log(2)
    )


def test_no_number_is_right():
    assert not losses.is_correct("squared", NUMBERS[:, None], NUMBERS).any()
