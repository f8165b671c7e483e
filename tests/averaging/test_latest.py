import io

import pytest
import torch

from isthmus.averaging.latest import Latest
from tests.averaging.test_ema import assert_same, net, train
from tests.averaging.test_swa import started, trajectory


@pytest.mark.parametrize(
    "num, every, last, moments",
    [
        (3, "1ep", 25, [15, 20, 25]),
        (3, "1ep", 24, [10, 15, 20]),
        (3, "1ep", 13, [5, 10]),
        (1, "1ep", 19, [15]),
        (4, "1it", 25, [22, 23, 24, 25]),
        (9, "2ep", 25, [10, 20]),
    ],
)
def test_it_is_the_mean_of_the_last_snapshots(num, every, last, moments):
    model = net()
    average = started(Latest(num, every), model)
    train(model, average, last=last)
    got = average.state_dicts()[f"latest_{num}"]
    states = trajectory()
    assert list(got) == list(states[0])
    for name, tensor in got.items():
        if tensor.is_floating_point():
            expected = torch.stack([states[moment][name].double() for moment in moments]).mean(0)
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(tensor, states[last][name])


def test_snapshots_are_copies_and_not_the_live_weights():
    model = net()
    average = started(Latest(2, "1it"), model)
    for value in (1.0, 3.0):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
        average.update(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(100.0)
    got = average.state_dicts()["latest_2"]
    for name in ("conv.weight", "wide.weight"):  # a small and a large tensor
        assert (got[name] == 2).all()


def test_there_is_no_model_before_the_first_snapshot():
    model = net()
    average = started(Latest(), model)
    train(model, average, last=4)
    assert average.state_dicts() == {}
    train(model, average, 5, 5)
    assert_same(average.state_dicts()["latest_5"], model.state_dict())


@pytest.mark.parametrize("num", [1, 3, 7])
def test_the_mean_of_equal_snapshots_is_these_weights(num):
    model = net()
    average = started(Latest(num, "1it"), model)
    for iteration in range(1, 9):
        average.update(iteration)
    assert_same(average.state_dicts()[f"latest_{num}"], model.state_dict())


@pytest.mark.parametrize("stop", [4, 12, 21])
def test_resumed_is_uninterrupted_bit_for_bit(stop):
    whole = net()
    expected = started(Latest(3), whole)
    train(whole, expected, last=25)

    half = net()
    average = started(Latest(3), half)
    train(half, average, 1, stop)
    file = io.BytesIO()
    torch.save({"model": half.state_dict(), "average": average.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = net()
    average = started(Latest(3), again)
    again.load_state_dict(saved["model"])
    average.load_state_dict(saved["average"])
    train(again, average, stop + 1, 25)
    assert_same(average.state_dicts()["latest_3"], expected.state_dicts()["latest_3"])


def test_a_training_too_short_for_one_snapshot_is_refused():
    message = r"^every: 6ep \(30 iterations\) is after the end of training, 5ep \(25 iterations\)"
    with pytest.raises(ValueError, match=message):
        started(Latest(every="6ep"), net())


def test_a_state_of_more_snapshots_is_refused():
    model = net()
    average = started(Latest(3), model)
    train(model, average, last=25)
    with pytest.raises(ValueError, match="^num: the saved state holds 3 snapshots, got 2$"):
        started(Latest(2), model).load_state_dict(average.state_dict())


def test_wrong_values_are_refused_by_name():
    with pytest.raises(ValueError, match="^num: must be at least 1, got 0$"):
        Latest(0)
    with pytest.raises(ValueError, match="^every: must be at least 1it, got 0it$"):
        Latest(every="0it")
    with pytest.raises(ValueError, match="^bn: must be average or reset, got keep$"):
        Latest(bn="keep")
    assert Latest(bn="reset").bn == "reset"
