"""Lines between networks whose losses are known without any network."""

import torch

from isthmus.connectivity.interpolation import Curve
from isthmus.connectivity.line import measure_line
from isthmus.connectivity.options import LineOptions
from isthmus.connectivity.plan import BranchPair

PAIR = BranchPair(3, 6, 3)  # k1=1ep k2=2ep


def bump(alphas, peak, height, slope=0.0):
    """A tent of some height above a straight line, with its top at `peak`."""
    tent = torch.minimum(alphas / peak, (1 - alphas) / (1 - peak))
    return 0.5 + slope * alphas + height * tent


class Known:
    """Two ends that are evaluated by a formula, in place of `measuring.Ends`.

    Args:
        curves: by split, functions of alphas for the loss and the accuracy.
        resets: whether there is batch norm, whose statistics are estimated anew.
    """

    separation = {"distance": 2.5, "cosine": 0.25}

    def __init__(self, curves, resets=False):
        self.curves, self.resets = curves, resets
        self.evaluated = []  # alphas and splits of each evaluation

    def evaluate(self, alphas, bn, splits):
        self.evaluated.append((alphas.tolist(), list(splits)))
        return {s: Curve(*(curve(alphas) for curve in self.curves[s])) for s in splits}

    def treatment(self, bn):
        return "reset" if self.resets and bn in ("reset", "repair") else "as_trained"

    def evaluate_as_trained(self, splits):
        ends = torch.tensor([7.0, 8.0], dtype=torch.float64)
        return {split: Curve(ends, ends / 10) for split in splits}


def known(height=1.0, slope=0.0, resets=False):
    """The top of the loss is at 1/4 on the training set, and at 3/4 on the others."""

    def curves(peak):
        return (
            lambda alphas: bump(alphas, peak, height, slope),
            lambda alphas: 0.9 - 0.3 * bump(alphas, peak, height, -slope),
        )

    peaks = {split: 0.25 if split == "train" else 0.75 for split in SPLITS}
    return Known({split: curves(peak) for split, peak in peaks.items()}, resets)


SPLITS = ("train", "val", "test")


def line(seed=None, height=1.0, slope=0.0, resets=False, before=None, **request):
    """One line as it is kept; `before` is what was known of it."""
    return measure_line(known(height, slope, resets), before, LineOptions(**request), seed)
