import pytest
import torch

from isthmus.connectivity.interpolation import check_alike, combine


def network(seed, counter=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 4, generator=generator)
    return {"weight": weight, "counter": torch.tensor(counter)}


def shares(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("values", [(0.25, 0.75), (0.2, 0.3, 0.5), (1.5, 0.5, -1.0)])
def test_a_combination_is_the_weighted_sum(values):
    networks = [network(seed) for seed in range(len(values))]
    found = combine(networks, shares(*values))["weight"]
    expected = sum(s * n["weight"].double() for s, n in zip(values, networks, strict=True))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == torch.float32


def test_share_1_gives_the_very_tensors_of_a_network():
    networks = [network(seed) for seed in range(3)]
    for number in range(3):
        found = combine(networks, torch.eye(3)[number])
        assert all(found[name] is tensor for name, tensor in networks[number].items())


@pytest.mark.parametrize("share", torch.linspace(-1, 2, 31).tolist())
def test_a_network_combined_with_itself_is_that_network_bit_for_bit(share):
    found = combine([network(0), network(0)], shares(1 - share, share))
    assert found["weight"].equal(network(0)["weight"])


def test_integers_are_those_of_the_largest_share():
    networks = [network(0, counter=3), network(1, counter=8)]
    for share, expected in ((0.4, 3), (0.5, 3), (0.6, 8)):
        assert combine(networks, shares(1 - share, share))["counter"] == expected


def test_networks_stay_as_they_are():
    networks = [network(0), network(1)]
    combine(networks, shares(0.5, 0.5))
    assert networks[0]["weight"].equal(network(0)["weight"])
    assert networks[1]["weight"].equal(network(1)["weight"])


def test_networks_of_different_architectures_are_refused():
    other = {**network(1), "weight": torch.zeros(3, 5)}
    with pytest.raises(
        ValueError,
        match=r"^networks 1 and 3 are of different architectures: weight is \(3, 4\) in the first "
        r"and \(3, 5\) in the other$",
    ):
        check_alike([network(0), network(1), other])


def test_a_tensor_that_only_one_network_has_is_named():
    more = {**network(1), "bias": torch.zeros(3)}
    with pytest.raises(ValueError, match="bias is missing in the first and"):
        check_alike([network(0), more])
    with pytest.raises(ValueError, match="bias is .* in the first and missing in the other"):
        check_alike([more, network(0)])
