"""Rows and plans as bytes in the index: msgpack of what they are, but for large vectors (`vectors`)."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import force_setattr

from csfs.core.objects import Applied
from csfs.core.paths import RelPath
from csfs.core.records import Half, Record
from csfs.core.rows import Plan, Row
from csfs.index.vectors import BASE, SMALL_MAX, Vectors, WrittenVectors

_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_plans = msgspec.msgpack.Decoder(list[Plan]).decode


def encoded_row(path: RelPath, row: Row, vectors: Vectors) -> bytes:
    """Return a path's row, to be read by `decoded_row`."""
    record, applied = row.record, row.applied
    content, meta = record.content, record.meta
    if (
        len(content.seen) <= SMALL_MAX
        and len(meta.seen) <= SMALL_MAX
        and len(applied.content_seen) <= SMALL_MAX
        and len(applied.meta_seen) <= SMALL_MAX
    ):
        return _encode(row)
    written = Record(
        Half(content.entries, vectors.written(content.seen, path)),
        Half(meta.entries, vectors.written(meta.seen, path)),
        record.time,
    )
    return _encode(msgspec.structs.replace(row, record=written, applied=_written_applied(path, applied, vectors)))


def decoded_row(encoded: bytes, vectors: WrittenVectors) -> Row:
    """Return a row as it was put.

    Raises:
        msgspec.MsgspecError, ValueError: it was changed since.
    """
    row = _decode_row(encoded)
    # What was just made is nobody else's yet.
    for half in (row.record.content, row.record.meta):
        if BASE in half.seen:
            force_setattr(half, "seen", vectors.whole(half.seen))
    _make_whole(row.applied, vectors)
    return row


def encoded_plans(plans: Iterable[Plan], vectors: Vectors) -> bytes:
    """Return plans, to be read by `decoded_plans`."""
    return _encode(
        [
            msgspec.structs.replace(
                plan,
                content_seen=vectors.written(plan.content_seen, plan.path),
                meta_seen=vectors.written(plan.meta_seen, plan.path),
            )
            if max(len(plan.content_seen), len(plan.meta_seen)) > SMALL_MAX
            else plan
            for plan in plans
        ]
    )


def decoded_plans(encoded: bytes, vectors: WrittenVectors) -> list[Plan]:
    """Return plans as they were made."""
    plans = _decode_plans(encoded)
    for plan in plans:
        _make_whole(plan, vectors)
    return plans


def _written_applied(path: RelPath, applied: Applied, vectors: Vectors) -> Applied:
    if max(len(applied.content_seen), len(applied.meta_seen)) <= SMALL_MAX:
        return applied
    return msgspec.structs.replace(
        applied,
        content_seen=vectors.written(applied.content_seen, path),
        meta_seen=vectors.written(applied.meta_seen, path),
    )


def _make_whole(shown: Applied | Plan, vectors: WrittenVectors) -> None:
    """Give the vectors of what was just decoded, and is nobody else's yet, all that they have."""
    if BASE in shown.content_seen:
        force_setattr(shown, "content_seen", vectors.whole(shown.content_seen))
    if BASE in shown.meta_seen:
        force_setattr(shown, "meta_seen", vectors.whole(shown.meta_seen))
