"""An honest comparison: any method against tuned baselines on the same scans, split by phantom family.

from mpibridge import protocol
from mpibridge.training import Simulated

bed = protocol.Bed(Simulated("openmpi-2d", families=("vessels", "blobs")), unseen=("bars", "rings"))
outcome = protocol.evaluate(bed, protocol.chosen(["tv", "score"]), snr=(15, 25))
print(protocol.markdown(outcome))
"""

from mpibridge.protocol.bed import Bed
from mpibridge.protocol.cost import Cost
from mpibridge.protocol.evaluation import Outcome, Score, evaluate
from mpibridge.protocol.methods import BASELINE, BASELINES, Method, chosen
from mpibridge.protocol.outcome import GAIN, markdown, notes, table, to_plain, write
from mpibridge.protocol.tuning import Tuned, tune

__all__ = [
    "BASELINE",
    "BASELINES",
    "GAIN",
    "Bed",
    "Cost",
    "Method",
    "Outcome",
    "Score",
    "Tuned",
    "chosen",
    "evaluate",
    "markdown",
    "notes",
    "table",
    "to_plain",
    "tune",
    "write",
]
