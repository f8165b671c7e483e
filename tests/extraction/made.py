"""Networks with known weights, and students made of them, without any training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from isthmus.extraction.stacks import SYMMETRIES, Stack, StackLayer, rewrite_units

INPUTS = torch.randn(400, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def random_stack(activation, sizes: Sequence[int], num_students: int, seed: int = 0) -> Stack:
    """Networks of independent normal weights."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(num_students, *shape, generator=generator, dtype=torch.float64)

    layers = [
        StackLayer((draw(units, inputs),), draw(units))
        for inputs, units in zip(sizes, sizes[1:], strict=False)
    ]
    return Stack(tuple(layers), activation)


def students_of(teacher: Stack, num_students: int, noise: float = 1e-5, seed: int = 1) -> Stack:
    """Students that compute what the teacher does, up to noise, with the units of each hidden
    layer permuted, flipped at random, the first split in two, and two more that do nothing."""
    generator = torch.Generator().manual_seed(seed)
    stack = teacher.take([0] * num_students)
    for number in range(len(teacher.layers) - 1):
        stack = _more_units(_flipped(stack, number, generator), number, generator)
    tensors = stack.tensors()
    noisy = [
        tensor + noise * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        for tensor in tensors
    ]
    return stack.with_tensors(noisy)


def _flipped(stack: Stack, number: int, generator: torch.Generator) -> Stack:
    shape, symmetry = stack.layers[number].bias.shape, SYMMETRIES[stack.activation]
    ones = torch.ones(shape, dtype=torch.float64)
    signs = 1 - 2 * torch.randint(2, shape, generator=generator).double()
    scales = 0.5 + torch.rand(shape, generator=generator, dtype=torch.float64)
    return rewrite_units(
        stack, number, signs if symmetry.sign else ones, scales if symmetry.scales else ones
    )


def _more_units(stack: Stack, number: int, generator: torch.Generator) -> Stack:
    """Permuted, the first unit split 30 to 70, two units added that nothing reads."""
    layer, (num_students, width) = stack.layers[number], stack.layers[number].bias.shape
    chosen = torch.tensor([*range(width), 0])
    blocks = [block[:, chosen] for block in layer.blocks]
    bias = layer.bias[:, chosen]
    shape = (num_students, 2, 1)
    blocks = [
        torch.cat([b, torch.randn(*shape[:2], b.shape[2], generator=generator).double()], dim=1)
        for b in blocks
    ]
    bias = torch.cat([bias, torch.randn(shape[:2], generator=generator).double()], dim=1)
    orders = torch.stack([torch.randperm(width + 3, generator=generator) for _ in range(len(bias))])
    rows = torch.arange(num_students).unsqueeze(1)
    result = stack.with_layer(
        number, StackLayer(tuple(b[rows, orders] for b in blocks), bias[rows, orders])
    )
    for later in range(number + 1, len(stack.layers)):
        place, reader = later - number - 1, stack.layers[later]
        if place < len(reader.blocks):
            block = reader.blocks[place]
            shares = torch.ones(width, dtype=torch.float64)
            shares[0] = 0.3
            parts = [block * shares, 0.7 * block[:, :, :1], torch.zeros_like(block[:, :, :2])]
            wide = torch.cat(parts, dim=2)[rows, :, orders].transpose(1, 2)
            blocks = [*reader.blocks[:place], wide, *reader.blocks[place + 1 :]]
            result = result.with_layer(later, StackLayer(tuple(blocks), reader.bias))
    return result
