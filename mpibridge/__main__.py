"""``python -m mpibridge`` is the command ``mpibridge``."""

from mpibridge.cli import app

app(prog_name="mpibridge")
