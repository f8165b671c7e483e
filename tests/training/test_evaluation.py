import pytest
import torch
import torch.nn.functional as F

from isthmus.models.mlp import MLP
from isthmus.training.evaluation import MANY, evaluate, measure_network
from tests import toys

INPUTS = torch.randn(23, 2, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(23) % 3


def batches(size):
    return [(INPUTS[i : i + size], LABELS[i : i + size]) for i in range(0, 23, size)]


def networks(make, num):
    models = []
    for seed in range(num):
        torch.manual_seed(seed)
        models.append(make().train())
        models[-1](torch.randn(8, 2, 4, 4))  # moves batch-norm statistics
    return models


@pytest.mark.parametrize("make", [lambda: toys.Small((2, 4, 4), 3), lambda: MLP((2, 4, 4), 3)])
@pytest.mark.parametrize("num", [1, 3, MANY])
def test_evaluation_equals_each_network_on_its_own(make, num):
    models = networks(make, num)
    result = evaluate(models[0], [m.state_dict() for m in models], batches(8))
    for number, model in enumerate(models):
        with torch.no_grad():
            logits = model.eval()(INPUTS)
        assert result.loss[number].item() == pytest.approx(F.cross_entropy(logits, LABELS).item())
        assert torch.equal(result.correct[number], logits.argmax(dim=1) == LABELS)
        assert result.accuracy[number].item() == pytest.approx(
            result.correct[number].double().mean().item()
        )


@pytest.mark.parametrize("size", [1, 22, 23, 24])
def test_evaluation_does_not_depend_on_the_batch_size(size):
    models = networks(lambda: toys.Small((2, 4, 4), 3), 2)
    state_dicts = [m.state_dict() for m in models]
    once, parts = (evaluate(models[0], state_dicts, batches(s)) for s in (23, size))
    torch.testing.assert_close(once.loss, parts.loss, rtol=1e-6, atol=1e-7)
    assert torch.equal(once.correct, parts.correct)


def test_loss_of_a_network_is_the_same_whatever_is_evaluated_beside_it():
    models = networks(lambda: toys.Small((2, 4, 4), 3), 5)
    state_dicts = [m.state_dict() for m in models]
    together = evaluate(models[0], state_dicts, batches(8))
    for number, state_dict in enumerate(state_dicts):
        alone = evaluate(models[0], [state_dict], batches(8))
        assert alone.loss.equal(together.loss[number : number + 1])


def test_logits_of_any_origin_can_be_measured():
    logits = torch.randn(2, 23, 3, generator=torch.Generator().manual_seed(1))
    parts = iter(logits.split(8, dim=1))
    result = measure_network(lambda inputs: next(parts), batches(8))
    for number in range(2):
        expected = F.cross_entropy(logits[number], LABELS).item()
        assert result.loss[number].item() == pytest.approx(expected)
        assert result.correct[number].equal(logits[number].argmax(dim=1) == LABELS)


def test_evaluation_leaves_model_and_chance_as_they_were():
    model, other = networks(lambda: toys.Small((2, 4, 4), 3), 2)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    evaluate(model, [other.state_dict()], batches(8))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert toys.equal(before, model.state_dict())


def test_bfloat16_changes_the_loss_only_a_little():
    models = networks(lambda: MLP((2, 4, 4), 3), MANY)
    state_dicts = [m.state_dict() for m in models]
    full = evaluate(models[0], state_dicts, batches(8))
    half = evaluate(models[0], state_dicts, batches(8), autocast=torch.bfloat16)
    assert not torch.equal(full.loss, half.loss)
    torch.testing.assert_close(full.loss, half.loss, atol=0.02, rtol=0.02)
