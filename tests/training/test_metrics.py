import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from isthmus.data.digits import Digits
from isthmus.models.mlp import MLP
from isthmus.paths import SOURCES
from isthmus.training import evaluation, evaluator, metrics
from isthmus.training.evaluation import measure_network
from isthmus.training.metrics import METRIC_NAMES, METRICS, Metric
from tests import toys

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(3, 50, 4, generator=GENERATOR)
LABELS = torch.randint(4, (50,), generator=GENERATOR)
BATCHES = [(torch.arange(50)[i : i + 8], LABELS[i : i + 8]) for i in range(0, 50, 8)]


def measured(**how):
    return measure_network(lambda inputs: LOGITS[:, inputs], BATCHES, **how)


def add(monkeypatch, *several):
    """Add metrics to the table, as an entry of it would."""
    every = (*METRICS, *several)
    for module in (evaluation, evaluator):
        monkeypatch.setattr(module, "METRICS", every)
    monkeypatch.setattr(evaluation, "METRIC_NAMES", tuple(metric.name for metric in every))


def test_loss_and_accuracy_come_first_and_are_those_of_torch():
    assert METRIC_NAMES[:2] == ("loss", "accuracy")
    found = measured()
    for number, logits in enumerate(LOGITS):
        assert found.loss[number] == pytest.approx(F.cross_entropy(logits, LABELS).item())
        hits = (logits.argmax(dim=1) == LABELS).double()
        assert found.accuracy[number] == hits.mean()


def test_a_mean_of_examples_does_not_depend_on_the_batches(monkeypatch):
    top = Metric(
        "top_2",
        lambda logits, labels, *_: (logits.topk(2).indices == labels[:, None]).any(dim=-1),
        needs_classes=True,
    )
    add(monkeypatch, top)
    ranks = LOGITS.argsort(dim=2, descending=True)[..., :2]
    expected = (ranks == LABELS[:, None]).any(dim=2).double().mean(dim=1)
    assert measured().numbers["top_2"].tolist() == expected.tolist()


def test_a_metric_of_a_whole_split_is_given_all_of_it(monkeypatch):
    def calibration_error(logits, labels, loss, reference):
        assert logits.shape == (3, 50, 4) and labels.equal(LABELS)
        surest = logits.softmax(dim=2).amax(dim=2)
        hits = (logits.argmax(dim=2) == labels).double()
        return (surest.mean(dim=1) - hits.mean(dim=1)).abs()

    add(monkeypatch, Metric("calibration_error", calibration_error, is_mean=False))
    surest = LOGITS.softmax(dim=2).amax(dim=2).mean(dim=1)
    found = measured()
    expected = (surest - found.accuracy).abs()
    torch.testing.assert_close(found.numbers["calibration_error"], expected)


def test_a_metric_with_a_reference_needs_one(monkeypatch):
    def agreement(logits, labels, loss, reference):
        return logits.argmax(dim=2) == reference.argmax(dim=1)

    add(monkeypatch, Metric("agreement", agreement, needs_reference=True))
    assert measured().numbers["agreement"].isnan().all()
    found = measured(reference=lambda inputs: LOGITS[1, inputs]).numbers["agreement"]
    assert found[1] == 1 and 0 < found[0] < 1


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic", "squared"])
def test_where_labels_are_numbers_there_is_no_accuracy(loss):
    assert METRICS[0].applies(loss)
    assert metrics.ACCURACY.applies(loss) == (loss != "squared")
    labels = torch.ones(3) if loss != "cross_entropy" else torch.zeros(3, dtype=torch.int64)
    batches = [(torch.zeros(3), labels)]
    found = measure_network(lambda inputs: torch.zeros(2, 3, 1), batches, loss=loss)
    assert found.accuracy.isnan().all() == (loss == "squared")


def test_the_table_of_an_evaluation_has_every_metric(monkeypatch):
    entropy = Metric("entropy", lambda logits, *_: -logits.log_softmax(2).amax(dim=2))
    agreement = Metric(
        "agreement",
        lambda logits, labels, loss, reference: logits.argmax(dim=2) == reference.argmax(dim=1),
        needs_reference=True,
    )
    add(monkeypatch, entropy, agreement)
    model = MLP((1, 8, 8), 10, 4)
    data = Digits(root="").read()
    made = evaluator.Evaluator(model, data, torch.device("cpu"), toys.RUNTIME)
    weights = dict(model.state_dict())
    row = made.table({"plain": weights})["plain"]["test"]
    assert list(row) == ["loss", "accuracy", "entropy"]
    row = made.table({"plain": weights}, ["test"], reference=weights)["plain"]["test"]
    assert row["agreement"] == 1 and list(row)[-1] == "agreement"


def test_the_names_of_metrics_import_no_torch():
    code = "import sys, isthmus.training.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SOURCES)
