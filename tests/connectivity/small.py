"""Networks, and the plain way to evaluate what lies between them."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isthmus.training.evaluator import Evaluator
from isthmus.training.options import Runtime
from tests import toys


def make(build, seed):
    """A network whose batch-norm statistics and affine parameters are not those it began with."""
    torch.manual_seed(seed)
    model = build().train()
    model(torch.randn(16, 2, 4, 4))
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model


def evaluator(model, data=None, precision="fp32", **runtime):
    values = {"device": "cpu", "progress": False, "compile": False} | runtime
    runtime = Runtime(**values)
    return Evaluator(model, data or toys.data(), torch.device("cpu"), runtime, precision)


def normalized(split):
    return (split.inputs / 255 - 0.5) / 0.25


def naive(build, start, end, alphas, data, split, bn):
    """Loss and accuracy at each alpha by building a model, loading weights and a DataLoader."""
    losses, accuracies = [], []
    for alpha in alphas.tolist():
        weights = {}
        for name, tensor in start.items():
            nearer = end if alpha > 0.5 else start
            of_batch_norm = "running" in name
            if not tensor.is_floating_point() or (bn == "keep" and of_batch_norm):
                weights[name] = nearer[name]
            else:
                weights[name] = (1 - alpha) * tensor + alpha * end[name]
        model = build()
        model.load_state_dict(start if alpha == 0 else end if alpha == 1 else weights)
        if bn == "reset":
            reset(model, data)
        dataset = TensorDataset(normalized(data.splits[split]), data.splits[split].labels)
        loss, correct = 0.0, 0
        with torch.no_grad():
            for inputs, labels in DataLoader(dataset, batch_size=7):
                logits = model.eval()(inputs)
                loss += F.cross_entropy(logits, labels, reduction="sum").item()
                correct += (logits.argmax(dim=1) == labels).sum().item()
        losses.append(loss / len(dataset))
        accuracies.append(correct / len(dataset))
    return torch.tensor([losses, accuracies], dtype=torch.float64)


def as_points(build, network, bn, data):
    """A network treated as the points of a line or a plane are."""
    model = build()
    model.load_state_dict(network)
    if bn in ("reset", "repair"):
        reset(model, data)
    return model.state_dict()


@torch.no_grad()
def reset(model, data):
    """One pass over the whole training set in training mode with momentum 1."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.train()(normalized(data.train))
