"""The example of docs/training.md on data of one's own runs as it stands there."""

import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

from torch import nn

from mpibridge import registry
from mpibridge.plugin import Result, TrainablePlugin, WaveformProblem

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


@dataclass(frozen=True)
class YoursSettings:
    pass


class Yours(TrainablePlugin[WaveformProblem]):
    """Voltages to image by one layer."""

    name = "yours"
    takes = WaveformProblem
    Settings = YoursSettings

    def build_network(self, problem):
        return nn.Linear(problem.waveform[0].numel(), problem.grid.n_voxels)

    def loss(self, problem, target, *, generator):
        return ((self._image(problem) - target) ** 2).mean()

    def reconstruct(self, problem, *, generator, report):
        return Result(image=self._image(problem))

    def _image(self, problem):
        return self.network(problem.waveform.flatten(1)).reshape(-1, *problem.grid.shape)


def test_pairs_of_your_own(tmp_path, monkeypatch):
    entry = EntryPoint("yours", f"{__name__}:Yours", registry.GROUP)
    vars(entry)["dist"] = SimpleNamespace(name="tests")
    known = registry.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda group: [*known(group=group), entry])
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    (example,) = (one for one in examples if "WaveformProblem(" in one)
    names: dict = {}
    exec(example, names)
    assert names["weights"].path == Path("runs/yours/weights.safetensors")
    assert names["weights"].header.data["frames"] == 29
    assert names["weights"].header.acquisition is None
