"""Lines between networks whose losses are known without any network."""

import torch

from src.connectivity.measuring import measured
from src.connectivity.points import Curve
from src.connectivity.records import Pair, Request

PAIR = Pair(3, 6, 3)  # k1=1ep k2=2ep


def bump(alphas, peak, height, slope=0.0):
    """A tent of some height above a straight line, with its top at `peak`."""
    tent = torch.minimum(alphas / peak, (1 - alphas) / (1 - peak))
    return 0.5 + slope * alphas + height * tent


class Known:
    """Two ends that are evaluated by a formula, in place of `measuring.Ends`.

    Args:
        curves: by split, functions of alphas for the loss and the accuracy.
    """

    apart = {"distance": 2.5, "cosine": 0.25}

    def __init__(self, curves):
        self.curves = curves
        self.evaluated = []  # alphas and splits of each evaluation

    def evaluate(self, alphas, bn, splits):
        self.evaluated.append((alphas.tolist(), list(splits)))
        return {s: Curve(*(curve(alphas) for curve in self.curves[s])) for s in splits}


def known(height=1.0, slope=0.0):
    """The top of the loss is at 1/4 on the training set, and at 3/4 on the others."""

    def curves(peak):
        return (
            lambda alphas: bump(alphas, peak, height, slope),
            lambda alphas: 0.9 - 0.3 * bump(alphas, peak, height, -slope),
        )

    return Known({split: curves(0.25 if split == "train" else 0.75) for split in SPLITS})


SPLITS = ("train", "val", "test")


def line(seed=None, height=1.0, slope=0.0, **request):
    """One line as it is kept."""
    return measured(known(height, slope), None, Request(**request), seed)
