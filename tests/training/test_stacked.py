import pytest
import torch
from torch import nn

from src.averaging.ema import EMA
from src.averaging.latest import Latest
from src.averaging.swa import SWA
from src.models.mlp import MLP
from src.runs import Run
from src.training import loop
from src.training.loop import CHECK_EVERY, Callback
from src.training.metrics import Metrics
from src.training.optimizers import adam, adamw, lookahead, sgd
from src.training.plateau import Plateau
from src.training.recipe import Seeds
from src.training.report import Report
from src.training.schedulers import Cosine
from src.training.session import Session
from src.training.stacked import Shared, Stacked, clip_gradients_, train
from tests import toys

DATA = toys.data()  # three batches an epoch: 16, 16, 8


def mlp(input_shape, num_classes):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, num_classes)
    )


class Stepped(toys.Small):
    """A scalar parameter that is called as Adam calls its count of steps."""

    def __init__(self, *shapes):
        super().__init__(*shapes)
        self.step = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs):
        return self.step * super().forward(inputs)


def sessions(num=3, **changes):
    """Children of one parent: the same weights, but every other seed of their own."""
    seeds = [Seeds(1, 10 + k, 20 + k, 30 + k) for k in range(num)]
    return [Session(toys.recipe(**changes), DATA, each, toys.RUNTIME) for each in seeds]


def averaging(session):
    """What updates the averages of a session that is trained by itself."""
    averages = session.averages
    return [Callback(loop.after_every_step, lambda t: averages.update(t.iteration))]


def apart(made, end, each=None):
    """Train one session after the other."""
    for index, session in enumerate(made):
        callbacks = averaging(session) + (each[index] if each else [])
        loop.train(session.training, session.batches, end, callbacks)
        session.training.settle()
    return made


def together(made, end, each=None):
    stacked = Stacked(made)
    train(stacked, end, [], each or [[] for _ in made])
    stacked.scatter()
    return made


def assert_same(found, expected, rtol=1e-4, atol=1e-5):
    for one, other in zip(found, expected, strict=True):
        for read in (lambda s: s.model.state_dict(), Session.models, Session.state_dict):
            torch.testing.assert_close(read(one), read(other), rtol=rtol, atol=atol)


def using(make, **options):
    return {"model": mlp, "optimizer": lambda parameters: make(parameters, **options)}


@pytest.mark.parametrize("end", [1, 7])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": MLP, "scheduler": Cosine},
        using(sgd, lr=0.1),
        using(sgd, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        using(adam, lr=0.01, weight_decay=0.01),
        using(adamw, lr=0.01),
        using(lookahead, lr=0.1, momentum=0.9, period=2),
        {"grad_clip_max_norm": 0.3},
        {"averages": lambda: EMA([0.5, 0.9], bn="reset")},
        {"averages": lambda: SWA("2it", "2it")},
        {"averages": lambda: Latest(2, "1it")},
        {"freeze": ["others"], "freeze_exceptions": ["bn.*"]},
    ],
)
def test_training_together_equals_training_apart(changes, end):
    if "SWA" in str(changes.get("averages")) and end == 1:
        pytest.skip("no average yet")
    found = together(sessions(**changes), end)
    assert_same(found, apart(sessions(**changes), end))
    weights = [session.model.state_dict() for session in found]
    assert not toys.equal(weights[0], weights[1])


def test_without_averages_too():
    def trained(how):
        return how(sessions(averages=None), 4)

    found = trained(together)
    for session in (expected := sessions(averages=None)):
        loop.train(session.training, session.batches, 4, [])
    assert_same(found, expected)


def test_bfloat16_stays_near_and_keeps_weights_in_float32():
    found = together(sessions(precision="bf16"), 5)
    assert_same(found, apart(sessions(precision="bf16"), 5), rtol=0.05, atol=0.02)
    assert found[0].model.conv.weight.dtype == torch.float32


def test_a_stack_of_one_is_that_one():
    assert_same(together(sessions(1), 4), apart(sessions(1), 4))


@pytest.mark.parametrize(
    "changes",
    [{}, {"model": Stepped}, using(adamw, lr=0.01), using(lookahead, lr=0.1)],
)
def test_apart_then_together_then_apart_equals_apart_throughout(changes):
    found = apart(together(apart(sessions(**changes), 2), 5), 8)
    assert_same(found, apart(sessions(**changes), 8))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_together_as_apart():
    runtime = toys.Runtime(device="cuda", progress=False, tensorboard=False)

    def made():
        seeds = [Seeds(1, 10 + k, 20 + k, 30 + k) for k in range(3)]
        each = [Session(toys.recipe(), DATA, one, runtime) for one in seeds]
        for session, one in zip(each, seeds, strict=True):
            session.batches = each[0].batches.seeded(one.data_order, one.augmentation)
        return each

    assert_same(together(made(), 5), apart(made(), 5), rtol=1e-2, atol=1e-3)


def test_going_on_apart_leaves_the_other_networks_alone():
    made = together(sessions(), 4)
    before = {name: tensor.clone() for name, tensor in made[1].models()["ema_0.9"].items()}
    buffer = made[1].training.optimizer.state_dict()["state"][0]["momentum_buffer"].clone()
    apart(made[:1], 6)
    assert toys.equal(made[1].models()["ema_0.9"], before)
    after = made[1].training.optimizer.state_dict()["state"][0]["momentum_buffer"]
    assert torch.equal(after, buffer)


def test_reports_are_those_of_training_apart(tmp_path):
    def reported(how, folder):
        made = sessions()
        metrics = [Metrics(tmp_path / f"{folder}_{k}.csv", None, 3) for k in range(3)]
        reports = [Report(*pair) for pair in zip(made, metrics, strict=True)]
        how(made, 7, [[Callback(loop.every(3), report)] for report in reports])
        rows = [m.path.read_text().splitlines()[1:] for m in metrics]
        return [row.rsplit(",", 1) for child in rows for row in child], reports

    (found, reports), (expected, others) = reported(together, "a"), reported(apart, "b")
    assert [name for name, _ in found] == [name for name, _ in expected]
    timed = ("seconds", "images_per_second")
    for (name, value), (_, other) in zip(found, expected, strict=True):
        assert name.endswith(timed) or float(value) == pytest.approx(float(other), rel=1e-4)
    for report, other in zip(reports, others, strict=True):
        assert report.best_iteration == other.best_iteration


def test_a_snapshot_brings_back_a_child(tmp_path):
    made, again = sessions(), sessions()
    runs = [Run(tmp_path / str(k)) for k in range(3)]
    save = [
        [Callback(loop.at([0, 4]), lambda _, s=s, r=r: s.save_snapshot(r))]
        for s, r in zip(made, runs, strict=True)
    ]
    together(made, 6, save)
    again[2].load_snapshot(runs[2], 4)
    assert_same(apart(again[2:], 6), made[2:])
    assert runs[0].snapshots() == [0, 4]


def test_callbacks_are_called_at_their_moments_in_their_order():
    calls = []

    def noting(name):
        return lambda it: calls.append((name, it.iteration))

    each = [
        [Callback(loop.at([0, 2]), noting("first"))],
        [Callback(loop.at([2]), noting("second"))],
    ]
    shared = [Shared(loop.every(2), noting("all"))]
    train(Stacked(sessions(2)), 5, shared, each)
    assert calls == [
        ("first", 0), ("all", 0), ("first", 2), ("second", 2), ("all", 2), ("all", 4),
    ]  # fmt: skip


def test_sessions_stay_as_they_are_until_they_are_needed():
    made = sessions()
    before = {name: tensor.clone() for name, tensor in made[0].model.state_dict().items()}
    stacked = Stacked(made)
    train(stacked, 4, [Shared(loop.at([2]), lambda stacked: None)], [[], [], []])
    assert toys.equal(made[0].model.state_dict(), before)
    stacked.scatter()
    assert not toys.equal(made[0].model.state_dict(), before)
    assert type(made[0].model.dropout) is nn.Dropout


def test_a_loss_that_is_not_finite_stops_and_names_its_step():
    made = sessions()
    stacked = Stacked(made)

    def poison(stacked):
        stacked.gradients.parameters["output.bias"].data[1] = float("nan")

    with pytest.raises(FloatingPointError, match=r"loss is nan at step 1ep1it \(iteration 4\)"):
        train(stacked, 9, [Shared(loop.at([4]), poison)], [[], [], []])


def test_a_loss_that_is_not_finite_is_seen_without_anybody_looking():
    changes = using(sgd, lr=1e30) | {"epochs": 99}
    with pytest.raises(FloatingPointError, match="optimizer.lr"):
        train(Stacked(sessions(**changes)), 2 * CHECK_EVERY, [], [[], [], []])


def test_none_can_stop_before_the_others():
    def stop(stopping):
        stopping.stopped = True

    with pytest.raises(ValueError, match="one training was stopped at step 2it; together"):
        train(Stacked(sessions(2)), 5, [], [[], [Callback(loop.at([2]), stop)]])


def test_sessions_at_different_iterations_are_refused():
    made = sessions(2)
    apart(made[:1], 2)
    with pytest.raises(ValueError, match=r"start at one iteration, got \[2, 0\]"):
        Stacked(made)


def test_what_cannot_be_trained_together_is_refused():
    with pytest.raises(ValueError, match="cannot be trained together: the schedule of each"):
        Stacked(sessions(scheduler=Plateau))


def test_the_gradients_of_each_are_clipped_by_its_own_norm():
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4, 5), (3,), (3, 2)]
    stacked = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter in stacked[:2]:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        parameter.grad *= torch.tensor([0.01, 1.0, 100.0]).view(-1, *[1] * (parameter.ndim - 1))
    each = [[nn.Parameter(p[k].detach().clone()) for p in stacked[:2]] for k in range(3)]
    for k, parameters in enumerate(each):
        for parameter, whole in zip(parameters, stacked[:2], strict=True):
            parameter.grad = whole.grad[k].clone()
        nn.utils.clip_grad_norm_(parameters, 1.0)
    clip_gradients_(stacked, 1.0)
    for index in range(2):
        expected = torch.stack([parameters[index].grad for parameters in each])
        torch.testing.assert_close(stacked[index].grad, expected)
    assert stacked[2].grad is None


def test_averages_that_begin_late_in_the_planned_training_go_with_short_children():
    made = sessions(2, averages=lambda: SWA(start="2ep", every="1it"))  # of three epochs
    for session in made:
        weights = {name: t.clone() for name, t in session.model.state_dict().items()}
        session.restart(Seeds(1, 2, 3, 4), weights, end=4)
        session.batches = made[0].batches.seeded(2, 3)
    train(Stacked(made), 4, [], [[], []])
