import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isthmus.data import torchvision_import

ROOT = Path(__file__).parents[2]


def test_torchvision_can_be_imported_without_its_operators_and_without_a_warning():
    code = """
from isthmus.data.torchvision_import import datasets
assert datasets().CIFAR10
import torchvision.transforms.v2, torchvision.models
print(torchvision.__version__)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and done.stdout


def test_the_operators_are_declared_only_where_the_plain_import_fails(monkeypatch):
    attempts, module = [], object()

    def fails_once(name):
        attempts.append(name)
        if len(attempts) == 1:
            raise RuntimeError("operator torchvision::nms does not exist")
        return module

    declared = []
    monkeypatch.setattr(importlib, "import_module", fails_once)
    monkeypatch.setattr(torchvision_import, "declare_operators", lambda: declared.append(1))
    assert torchvision_import.datasets() is module and declared == [1]
    assert torchvision_import.datasets() is module and declared == [1]


def test_another_failure_is_not_hidden(monkeypatch):
    def fails(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(RuntimeError, match="something else"):
        torchvision_import.datasets()


def test_declaring_twice_does_no_harm():
    torchvision_import.datasets()
    modules = {name: module for name, module in sys.modules.items() if "torchvision" in name}
    try:
        torchvision_import.declare_operators()
    finally:
        sys.modules.update(modules)
    assert hasattr(torch.ops.torchvision, "nms") and hasattr(torch.ops.torchvision, "qnms")
