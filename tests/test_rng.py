import pytest
import torch

from isthmus import rng


def test_seeds_of_streams_stay_what_they_were():
    # A stream that changes would make every saved run unrepeatable.
    assert rng.derive(1234, "data_order", 0) == 7333982840074420392
    assert rng.derive(0) == 7210762507766007076


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, 2**64 + 1, -(2**70)])
def test_a_derived_seed_is_one_that_torch_takes(seed):
    derived = rng.derive(seed, "x")
    assert 0 <= derived < 2**63
    torch.Generator().manual_seed(derived)


def test_different_arguments_have_different_seeds():
    arguments = [(seed, name, i) for seed in range(20) for name in ("a", "b") for i in range(20)]
    arguments += [(1,), (1, "a"), ("1", "a"), (1, "a", "1"), (1, "a1"), (1, "1", "a"), (11, "a")]
    assert len({rng.derive(*each) for each in arguments}) == len(arguments)


def test_a_generator_is_at_the_start_of_its_stream_whatever_was_drawn_before():
    first = torch.rand(5, generator=rng.generator(1, "augmentation", 3))
    torch.manual_seed(0)
    torch.rand(100, generator=rng.generator(1, "augmentation", 2))
    torch.testing.assert_close(torch.rand(5, generator=rng.generator(1, "augmentation", 3)), first)


def test_streams_differ_in_their_first_numbers():
    draws = [torch.rand(3, generator=rng.generator(1, "data_order", i)) for i in range(50)]
    assert len({tuple(draw.tolist()) for draw in draws}) == 50


def test_the_generator_of_torch_is_left_alone():
    before = torch.get_rng_state()
    torch.rand(5, generator=rng.generator(1, "dropout"))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_started_stream_is_the_same_whatever_was_drawn_before():
    draws = []
    for number in range(3):
        torch.rand(number)
        rng.start_stream(torch.device("cpu"), 5, "dropout", 7)
        draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1]) and torch.equal(draws[1], draws[2])
    rng.start_stream(torch.device("cpu"), 5, "dropout", 8)
    assert not torch.equal(torch.rand(4), draws[0])
