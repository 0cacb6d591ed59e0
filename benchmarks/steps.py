"""What a training prints while it runs."""

from __future__ import annotations

from mpibridge.plugin import Report


def printed(name: str = "") -> Report:
    """Progress for `mpibridge.train` that prints a line for every validation, with the name of the run in front."""
    start = f"{name}: " if name else ""

    def report(done: int, total: int, text: str) -> None:
        if text.startswith(f"step {done}:"):
            print(start + text, flush=True)

    return report
