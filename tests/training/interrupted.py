"""A training run in a process of its own, for `test_resume` to kill: ``python -m tests.training.interrupted FOLDER``."""

import sys

import pytest
import torch

from mpibridge.training import Training, train
from tests.training import learners

TRAINING = Training(steps=600, validate_every=20, batch=8, warmup=10, patience=1000)


def run(folder: str, **more: object):
    """The run; registers the plugin for its duration."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        learners.register(monkeypatch)
        return train("learner", data=learners.pairs(), out=folder, training=TRAINING, seed=3, **more)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(sys.argv[1])
