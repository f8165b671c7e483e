import copy
import io

import pytest
import torch

from isthmus.averaging.swa import SWA
from tests.averaging.test_ema import assert_same, net, train


def trajectory(num=25):
    """State after each iteration, the initialization first, in float64."""
    model = net()
    states = [copy.deepcopy(model.state_dict())]

    class Keep:
        def update(self, iteration):
            states.append(copy.deepcopy(model.state_dict()))

    train(model, Keep(), last=num)
    return states


def started(average, model, iterations=25, iterations_per_epoch=5):
    average.start(model, iterations, iterations_per_epoch)
    return average


@pytest.mark.parametrize(
    "start, every, moments",
    [
        ("2ep", "1ep", [10, 15, 20, 25]),
        ("3it", "1ep", [3, 8, 13, 18, 23]),
        ("0ep", "2ep", [0, 10, 20]),
        ("20it", "1it", [20, 21, 22, 23, 24, 25]),
        ("5ep", "1ep", [25]),
    ],
)
def test_it_is_the_mean_of_the_weights_at_its_moments(start, every, moments):
    model = net()
    average = started(SWA(start, every), model)
    train(model, average, last=25)
    got = average.state_dicts()["swa"]
    states = trajectory()
    assert list(got) == list(states[0])
    for name, tensor in got.items():
        if tensor.is_floating_point():
            expected = torch.stack([states[moment][name].double() for moment in moments]).mean(0)
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(tensor, states[25][name])


def test_there_is_no_model_before_start():
    model = net()
    average = started(SWA("2ep"), model)
    train(model, average, last=9)
    assert average.state_dicts() == {}
    train(model, average, 10, 10)
    assert_same(average.state_dicts()["swa"], model.state_dict())


def test_the_mean_of_equal_weights_is_these_weights():
    model = net()
    average = started(SWA("0ep", "1it"), model)
    for iteration in range(1, 8):
        average.update(iteration)
    assert_same(average.state_dicts()["swa"], model.state_dict())


@pytest.mark.parametrize("stop", [4, 12])
def test_resumed_is_uninterrupted_bit_for_bit(stop):
    whole = net()
    expected = started(SWA("1ep", "2it"), whole)
    train(whole, expected, last=25)

    half = net()
    average = started(SWA("1ep", "2it"), half)
    train(half, average, 1, stop)
    file = io.BytesIO()
    torch.save({"model": half.state_dict(), "average": average.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = net()
    average = started(SWA("1ep", "2it"), again)
    again.load_state_dict(saved["model"])
    average.load_state_dict(saved["average"])
    train(again, average, stop + 1, 25)
    assert_same(average.state_dicts()["swa"], expected.state_dicts()["swa"])


def test_a_start_past_the_end_is_refused():
    message = r"^start: 6ep \(30 iterations\) is after the end of training, 5ep \(25 iterations\)"
    with pytest.raises(ValueError, match=message):
        started(SWA("6ep"), net())


def test_wrong_values_are_refused_by_name():
    with pytest.raises(ValueError, match="^every: must be at least 1it, got 0ep$"):
        SWA("1ep", "0ep")
    with pytest.raises(ValueError, match="^bn: must be average or reset, got keep$"):
        SWA("1ep", bn="keep")
    with pytest.raises(ValueError, match="'75%' is not a step"):
        SWA("75%")
    assert SWA(bn="reset").bn == "reset"
