"""Effective ranks: how many directions a matrix uses, at most its rank."""

import torch
from torch import Tensor


def squared_trace(matrix: Tensor) -> float:
    """(sum s)^2 / sum s^2 of the squared singular values s; 0 for a matrix of zeros."""
    squares = _squared_singular_values(matrix)
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.sum() > 0 else 0.0


def frobenius(matrix: Tensor) -> float:
    """sum s / max s, the Frobenius norm over the spectral one, squared; 0 for zeros."""
    squares = _squared_singular_values(matrix)
    return float(squares.sum() / squares.max()) if squares.sum() > 0 else 0.0


def _squared_singular_values(matrix: Tensor) -> Tensor:
    """In float64, of a matrix scaled to a largest entry of 1, so that no square is lost."""
    matrix = matrix.flatten(1).double()
    matrix = matrix / matrix.abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    if len(matrix) > matrix.shape[1]:
        matrix = matrix.T
    return torch.linalg.eigvalsh(matrix @ matrix.T).clamp(min=0)
