"""Histories of one path that members really can have: local changes on what each shows, and exchanges between them."""

from hypothesis import strategies as st

from csfs.core.objects import Content, Kind, Meta
from csfs.core.records import ContentEntry, DirectoryTime, Half, MetaEntry, Record, halves_joined, records_joined
from csfs.core.versions import EMPTY, Dot, Hlc, Incarnation, with_dot

MEMBERS = 4

Step = tuple[str, int, int]
"""What happens: `write`, `chmod`, `time` at a member with a value, or `hear` from another member."""

steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "chmod", "time", "hear", "hear"]),
        st.integers(0, MEMBERS - 1),
        st.integers(0, 5),
    ),
    max_size=24,
)


def content_of(value: int) -> Content:
    """Return one of a few contents, absent among them."""
    if value == 0:
        return Content(Kind.ABSENT)
    return Content(Kind.FILE, size=value % 3, hash=bytes([value]) * 32, mtime_ns=100 - value)


def records(history: list[Step]) -> list[Record]:
    """Return what each member knows at the end."""
    known = [Record() for _ in range(MEMBERS)]
    applied = [(EMPTY, EMPTY) for _ in range(MEMBERS)]
    counters = [0] * MEMBERS
    for clock, (what, member, value) in enumerate(history):
        if what == "hear":
            known[member] = records_joined(known[member], known[value % MEMBERS])
            if value < MEMBERS:  # sometimes what was heard is not applied yet
                applied[member] = (known[member].content.seen, known[member].meta.seen)
            continue
        counters[member] += 1
        dot = Dot(Incarnation(member + 1), counters[member])
        known[member], applied[member] = changed(known[member], applied[member], dot, Hlc(clock // 2), what, value)
    return known


def changed(
    record: Record,
    applied: tuple[dict[Incarnation, int], dict[Incarnation, int]],
    dot: Dot,
    hlc: Hlc,
    what: str,
    value: int,
) -> tuple[Record, tuple[dict[Incarnation, int], dict[Incarnation, int]]]:
    """Return the record after one local change on what was applied, and what is applied then."""
    content_seen, meta_seen = applied
    if what == "write":
        content_seen = dict(with_dot(content_seen, dot))
        entry = ContentEntry(dot, hlc, content_of(value), Meta(0o600, 0, 0), birth=dot)
        record = Record(halves_joined(record.content, Half((entry,), content_seen)), record.meta, record.time)
    elif what == "chmod":
        meta_seen = dict(with_dot(meta_seen, dot))
        meta = MetaEntry(dot, hlc, Meta(0o600 + value, 0, 0), Kind.FILE)
        record = Record(record.content, halves_joined(record.meta, Half((meta,), meta_seen)), record.time)
    else:
        # A change's clock is always later than what it replaces, see `State._tick`.
        hlc = Hlc(max(hlc, record.time.hlc + 1) if record.time else hlc)
        record = Record(record.content, record.meta, DirectoryTime(dot, hlc, value))
    return record, (content_seen, meta_seen)
