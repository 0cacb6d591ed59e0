"""The command line: one module per kind of command; `application` holds what they share."""

from mpibridge.cli import comparison, files, machine, methods, simulation, training
from mpibridge.cli.application import app

__all__ = ["app", "comparison", "files", "machine", "methods", "simulation", "training"]
