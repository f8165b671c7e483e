import pytest
import torch

from isthmus.widths import parametrization
from tests.widths.networks import mlp, option


def made(width=2000, bias: bool | str = "input", **changes):
    model = mlp(width, 1, bias)
    option("mean_field", **changes).initialize(model, seed=4)
    return model


def test_units_begin_on_a_sphere_where_the_gaussians_point():
    model = made()
    units = torch.cat([model.hidden[0].weight, model.hidden[0].bias[:, None]], dim=1)
    torch.testing.assert_close(units.norm(dim=1), torch.ones(2000))
    drawn = parametrization.draw_gaussians(
        "hidden.0.weight", model.hidden[0].weight.shape, 4
    ).float()
    ratios = model.hidden[0].weight / drawn
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios))
    assert (ratios > 0).all()
    assert units.mean(dim=0).abs().max() < 0.05


def test_outputs_are_means_of_units_with_signs():
    model = made()
    torch.testing.assert_close(model.output.weight.abs(), torch.full((3, 2000), 1 / 2000))
    assert model.output.weight.sign().mean().abs() < 0.05


def test_the_radius_is_free_and_there_may_be_other_biases_or_none():
    assert made(8, std=3.0).hidden[0].weight[0].norm() > 1
    without = made(8, False)
    torch.testing.assert_close(without.hidden[0].weight.norm(dim=1), torch.ones(8))
    assert not made(8, True).output.bias.any()


def test_units_move_by_amounts_that_do_not_depend_on_their_number():
    # The gradient of f for a unit is 1/m of what the unit would have alone.
    rates = {p: g.lr for g in option("mean_field").groups(made(10), "sgd") for p in g.parameters}
    assert rates["hidden.0.weight"] == pytest.approx(10)
    assert rates["hidden.0.bias"] == pytest.approx(10)
    assert rates["output.weight"] == pytest.approx(1 / 10)  # of a / m: m for a itself


def test_what_it_is_not_for_is_refused():
    with pytest.raises(ValueError, match=r"one hidden layer \(model.depth=1\), and MLP has 3"):
        option("mean_field").initialize(mlp(8, 3), seed=0)
    with pytest.raises(ValueError, match="^mean: must be 0"):
        made(mean=1.0)
