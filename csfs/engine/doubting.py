"""What a power cut may have left is nobody's change: the disk shows it, and no version stands for it (R24)."""

import msgspec

from csfs.core.objects import Observation
from csfs.core.paths import RelPath
from csfs.core.rows import Doubt
from csfs.engine.local import Local
from csfs.engine.minting import Change
from csfs.engine.state import new_row


class Doubting(Local):
    """Takes in what is not to be believed."""

    def doubt(self, path: RelPath, observation: Observation | None, *, racy: bool = False) -> bool:
        """Note what is at a path without making a version of it; return whether it differs from what is to be live there.

        What is known is applied over it, which keeps it, once its content is to be had. Where nothing is known, it stays, and is not
        sent.
        """
        group = self._followed(path)
        row = self._index.row(path)
        if group is None or (row is None and observation is None):
            return False
        row = row or new_row(group)
        change = Change.between(row.applied, observation, False)
        if change is None:
            self._refresh(path, row, observation, racy)
            return False
        # What was to be minted anew (R8) is not what was found.
        gone = (Doubt.CONTENT if change.content else Doubt.NONE) | (Doubt.META if change.meta else Doubt.NONE)
        row = msgspec.structs.replace(row, doubt=row.doubt & ~gone | Doubt.UNPROVEN)
        self._notice(path, row, observation, change, group)
        after = self._index.row(path)
        return after is not None and after.pending
