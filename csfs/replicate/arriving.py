"""What came with one message of records: when all of it is on disk."""

from csfs.replicate.volume import Arrival
from csfs.replicate.worker import VolumeWorker


def is_applied(worker: VolumeWorker, arrival: Arrival) -> bool:
    """Return whether all that came with one message is on disk, the times of the directories that it touched included."""
    if arrival.marks < 0:
        if arrival.waits_for is not None and not worker.volume.is_settled(arrival.waits_for):
            return False
        arrival.paths = {path for path in arrival.paths if not worker.volume.is_settled(path)}
        arrival.waits_for = next(iter(arrival.paths), None)
        if arrival.paths:
            return False
        arrival.marks = worker.directories.marks
    if worker.directories.settled < arrival.marks:
        return False
    return worker.applier.idle
