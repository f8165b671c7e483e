"""Fixtures for the tests of more than one module."""

import pytest

from isthmus.training.loop import Training


@pytest.fixture
def steps_made(monkeypatch):
    """The iteration before each optimizer step that is made."""
    made, original = [], Training.step

    def step(self, inputs, labels):
        made.append(self.iteration)
        original(self, inputs, labels)

    monkeypatch.setattr(Training, "step", step)
    return made
