import pytest
import torch
from torch import nn

from isthmus.branching import averages as branching_averages
from isthmus.store import files
from isthmus.training.optimizers import adam, sgd


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
        files.save_state(tmp_path / f"{position}.pt", one)
        found.append(one["training"]["optimizer"]["state"][0])
    branching_averages.save_mean_state(tmp_path / "mean.pt", [tmp_path / "0.pt", tmp_path / "1.pt"])
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = make([parameter])
    optimizer.load_state_dict(files.load_state(tmp_path / "mean.pt")["training"]["optimizer"])
    held = optimizer.state_dict()["state"][0]
    for name in names:
        torch.testing.assert_close(held[name], (found[0][name] + found[1][name]) / 2)
    parameter.grad = torch.ones(2)
    optimizer.step()
    assert parameter.isfinite().all()
