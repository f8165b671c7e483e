import numpy as np
import pytest
import torch
from scipy import stats

from isthmus.data.orders import data_order
from isthmus.extraction import fitting
from isthmus.extraction.fitting import Fit, FitSchedule
from isthmus.models.mlp import MLP
from tests.extraction.made import INPUTS, random_stack

SCHEDULE = FitSchedule(0.1, 64, 90, 10**-0.5, patience=1, cooldown=1, min_lr=3.2e-3)
TARGETS = random_stack("tanh", [3, 4, 2], 1, seed=5).outputs([INPUTS])[0]


def begun(num_students=3, schedule=SCHEDULE, sizes=(3, 6, 2)):
    stack = fitting.initialize_students(range(num_students), sizes, "tanh", seed=1).to(
        torch.float64
    )
    return Fit(stack, [INPUTS], TARGETS, schedule, seed=2)


def finished(fit):
    fit.run(lambda: None, 1e9, lambda: None)
    return fit


def alone(student, schedule=SCHEDULE, sizes=(3, 6, 2)):
    """The losses and weights of a plain training loop, by torch's own parts."""
    start = fitting.initialize_students(range(student, student + 1), sizes, "tanh", seed=1)
    model = MLP((3,), 2, list(sizes[1:-1]), activation="tanh").double()
    for parameter, tensor in zip(model.parameters(), start.tensors(), strict=True):
        parameter.data = tensor[0].double()
    optimizer = torch.optim.Adam(model.parameters(), lr=schedule.lr)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "min", schedule.factor, schedule.patience, 0.0, cooldown=schedule.cooldown
    )
    rows = []
    for epoch in range(schedule.epochs):
        total, lr = 0.0, optimizer.param_groups[0]["lr"]
        for rows_of_batch in data_order(2, epoch, len(INPUTS)).split(schedule.batch_size):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(
                model(INPUTS[rows_of_batch]), TARGETS[rows_of_batch]
            )
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows_of_batch)
        plateau.step(total / len(INPUTS))
        rows.append((epoch + 1, student, total / len(INPUTS), lr))
        if optimizer.param_groups[0]["lr"] <= schedule.min_lr * (1 + 1e-6):
            break
    return rows, list(model.parameters())


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(3, 6, 2), (3, 5, 4, 2)])
def test_a_student_learns_together_what_it_learns_alone(sizes, at_once, monkeypatch):
    monkeypatch.setattr(fitting, "VALUES_AT_ONCE", at_once * max(sizes) * SCHEDULE.batch_size)
    fit = begun(sizes=sizes)
    parts = fit._parts(SCHEDULE.batch_size)
    assert [part.stack.num_students for part in parts] == [at_once] * (3 // at_once) + [1] * (
        at_once == 2
    )
    fit = finished(fit)
    ends = []
    for student in range(3):
        rows, parameters = alone(student, sizes=sizes)
        found = [row for row in fit.rows if row[1] == student]
        assert [row[::3] for row in found] == [pytest.approx(row[::3]) for row in rows]
        torch.testing.assert_close([r[2] for r in found], [r[2] for r in rows], rtol=1e-5, atol=0)
        for tensor, parameter in zip(fit.stack.tensors(), parameters, strict=True):
            torch.testing.assert_close(tensor[student], parameter.data, rtol=1e-4, atol=1e-6)
        ends.append(rows[-1][0])
    assert len(set(ends)) > 1  # one that is done does not end the others


def test_what_was_interrupted_goes_on_bit_for_bit():
    whole, states = begun(), []
    whole.run(lambda: states.append(torch.save), 1e9, lambda: None)
    for end in (1, 17, 30):
        cut = begun()
        while cut.epoch < end:
            cut._end_epoch(cut._train_epoch())
        state, other = cut.state_dict(), begun()
        other.load_state_dict(state)
        finished(other)
        assert other.rows == whole.rows
        for one, two in zip(other.stack.tensors(), whole.stack.tensors(), strict=True):
            assert one.equal(two)


def test_students_begin_alike_however_many_there_are_and_by_their_own_inputs():
    few, many = (
        fitting.initialize_students(range(n), [200, 50, 7], "relu", seed=3) for n in (2, 40)
    )
    for one, two in zip(few.tensors(), many.tensors(), strict=True):
        assert one.equal(two[:2])
    for layer, inputs in zip(many.layers, (200, 50), strict=True):
        assert float(layer.blocks[0].std()) == pytest.approx((2 / inputs) ** 0.5, rel=0.02)
        assert not layer.bias.any()
    other = fitting.initialize_students(range(2), [200, 50, 7], "relu", seed=4)
    assert not other.layers[0].blocks[0].equal(few.layers[0].blocks[0])


def test_the_loss_is_the_mean_over_examples_and_outputs(monkeypatch):
    monkeypatch.setattr(fitting, "ROWS", 7)
    stack = random_stack("relu", [3, 4, 2], 3)
    expected = (stack.outputs([INPUTS]) - TARGETS).square().mean(dim=(1, 2))
    assert fitting.student_losses(stack, [INPUTS], TARGETS) == pytest.approx(expected.tolist())


def test_a_loss_that_is_not_finite_ends_the_run():
    fit = begun()
    fit.working[0][1] = torch.inf
    with pytest.raises(FloatingPointError, match="^the loss of student 1 is nan in epoch 1; "):
        finished(fit)


def test_few_epochs_are_told_of_many():
    told = [epoch for epoch in range(1, 20_001) if fitting.is_recorded(epoch)]
    assert told[:100] == list(range(1, 101))
    assert told[100:103] == [110, 120, 130]
    assert told[-3:] == [18_000, 19_000, 20_000]
    assert len(told) < 300


@pytest.mark.parametrize("size", [5, fitting.FUSED])  # both ways of doing it
def test_a_step_is_that_of_torch_with_a_learning_rate_for_each_student(size):
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(3, size, generator=generator), torch.randn(3, 2, generator=generator)]
    rates = [0.1, 0.01, 0.003]
    copies = [[torch.nn.Parameter(tensor[n].clone()) for tensor in weights] for n in range(3)]
    optimizers = [torch.optim.Adam(copies[n], lr=rates[n]) for n in range(3)]
    held = fitting.zero_moments(weights)
    for step in range(1, 6):
        gradients = [torch.randn(tensor.shape, generator=generator) for tensor in weights]
        fitting.adam_step_(weights, gradients, held, rates, step)
        for n, optimizer in enumerate(optimizers):
            for parameter, gradient in zip(copies[n], gradients, strict=True):
                parameter.grad = gradient[n]
            optimizer.step()
    for n in range(3):
        for parameter, tensor in zip(copies[n], weights, strict=True):
            torch.testing.assert_close(tensor[n], parameter.data, rtol=1e-5, atol=1e-6)
    assert held.take([2, 0]).mean[1].equal(held.mean[1][[2, 0]])


@pytest.mark.parametrize("size", [3, fitting.FUSED])  # both ways of doing it
@pytest.mark.parametrize("rates", [(0.1, 0.1, 0.1), (0.1, 0.02, 0.003)])
def test_steps_are_those_of_the_formula_of_kingma_and_ba(rates, size):
    random = np.random.default_rng(0)
    values, mean, square = random.normal(size=(3, size)), np.zeros((3, size)), np.zeros((3, size))
    weights = [torch.from_numpy(values.copy())]
    held = fitting.zero_moments(weights)
    for step in range(1, 8):
        gradient = random.normal(size=(3, size)) * 10.0 ** random.integers(-6, 2)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        move = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        values -= np.array(rates)[:, None] * move
        fitting.adam_step_(weights, [torch.from_numpy(gradient)], held, rates, step)
        np.testing.assert_allclose(weights[0], values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(held.mean[0], mean)
    np.testing.assert_allclose(held.square[0], square)


@pytest.mark.parametrize("size", [3, fitting.FUSED])
def test_a_step_of_some_students_leaves_the_others(size):
    weights = [torch.ones(4, size, dtype=torch.float64)]
    held = fitting.zero_moments(weights)
    some = slice(1, 3)
    parts, moments = [weights[0][some]], held.take(some)
    fitting.adam_step_(parts, [torch.ones_like(parts[0])], moments, [0.5, 0.25], 1)
    # The first step is the learning rate, whatever the gradient.
    torch.testing.assert_close(weights[0].mean(dim=1), torch.tensor([1, 0.5, 0.75, 1]).double())
    assert held.mean[0].any(dim=1).tolist() == [False, True, True, False]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [1, 64, 400, 1000])
def test_losses_are_those_of_torch_for_each_students_module(rows, seed, monkeypatch):
    monkeypatch.setattr(fitting, "ROWS", rows)
    stack = random_stack("silu", [3, 5, 4, 2], 3, seed)
    expected = []
    for n in range(3):
        model = MLP((3,), 2, [5, 4], activation="silu").double()
        for parameter, tensor in zip(model.parameters(), stack.take([n]).tensors(), strict=True):
            parameter.data = tensor[0]
        expected.append(torch.nn.functional.mse_loss(model(INPUTS), TARGETS).item())
    assert fitting.student_losses(stack, [INPUTS], TARGETS) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_a_step_on_a_batch_is_that_of_adam_on_the_gradient_of_autograd(seed):
    stack = random_stack("gelu", [3, 5, 2], 3, seed)
    leaves = [tensor.clone().requires_grad_() for tensor in stack.tensors()]
    each = (stack.with_tensors(leaves).outputs([INPUTS]) - TARGETS).square().mean(dim=(1, 2))
    optimizer = torch.optim.Adam(leaves, lr=0.01)
    each.sum().backward()
    optimizer.step()
    working = [tensor.clone().requires_grad_() for tensor in stack.tensors()]
    part = fitting.StudentChunk(
        slice(None), stack.with_tensors(working), fitting.zero_moments(working), [0.01] * 3
    )
    losses = part.step_([INPUTS], TARGETS, 1)
    torch.testing.assert_close(losses / len(INPUTS), each.detach())
    for tensor, leaf in zip(working, leaves, strict=True):
        torch.testing.assert_close(tensor.detach(), leaf.detach())


@pytest.mark.parametrize("sizes", [(784, 30, 5), (50, 400, 3)])
def test_weights_of_students_are_normal_of_the_variance_of_he(sizes):
    stack = fitting.initialize_students(range(4), sizes, "relu", seed=7)
    for layer, inputs in zip(stack.layers, sizes, strict=False):
        for block in layer.blocks[0]:
            drawn = block.flatten().double().numpy() * (inputs / 2) ** 0.5
            assert stats.kstest(drawn, "norm").pvalue > 1e-3
        assert len({float(block[0, 0]) for block in layer.blocks[0]}) == 4


def test_losses_are_recorded_at_multiples_of_the_power_of_ten_below_a_hundredth():
    for epoch in range(1, 12_000):
        step = next(10**k for k in range(6) if epoch <= 100 * 10**k)
        assert fitting.is_recorded(epoch) == (epoch % step == 0)
