import pytest
import torch

from isthmus.extraction import fitting


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
