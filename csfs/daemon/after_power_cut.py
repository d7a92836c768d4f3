"""What the journal of a mount proves of the time before a power cut (R24)."""

import logging

import trio

from csfs.engine.evidence import Evidence
from csfs.errors import CorruptDatabaseError
from csfs.journal.journal import JournalReader
from csfs.store.boot import booted_ns

log = logging.getLogger(__name__)

ROWS_READ_MAX = 5_000


async def gathered_evidence(volume: str, journal: bytes, journal_file: str, after: int, last: int) -> Evidence:
    """The host went down while the volume was mounted: return what rows after `after` and up to `last` prove.

    If the journal cannot be read, nothing is proved.
    """
    log.warning("%s: the host went down while it was mounted: what differs is compared with the journal", volume)
    evidence = Evidence(booted_ns())
    evidence.count_in(journal)
    try:
        reader = JournalReader(journal_file)
        try:
            while after < last and (rows := await trio.to_thread.run_sync(reader.rows, after, last, ROWS_READ_MAX)):
                for change in rows:
                    evidence.take(change)
                after = rows[-1].sequence
        finally:
            reader.close()
    except CorruptDatabaseError as error:
        log.error("%s", error)
    return evidence
