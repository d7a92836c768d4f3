"""One message of every kind, with every field filled."""

from csfs.core.moves import WholeMove
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import Ancestor, Content, ContentEntry, DirectoryTime, Half, Meta, MetaEntry, Move
from csfs.core.rows import Amount, Standing
from csfs.core.versions import Dot, Hlc, Incarnation, Scope
from csfs.wire import messages, segments
from csfs.wire.messages import Part, PeerMessage, Sight

ONE, TWO = Dot(Incarnation(2**62), 1), Dot(Incarnation(7), 2)
META = Meta(0o4755, 1000, 100, "bob", "users", ((b"user.\xff", b"\0"),))
CONTENT = ContentEntry(
    ONE,
    Hlc(2**61),
    Content(Kind.FILE, 3, b"h" * 32, 5, b"", 0),
    META,
    TWO,
    (ONE,),
    (Move(TWO, RelPath(b"moved/\xff")),),
    TWO,
    ONE,
    (TWO,),
    True,
    (ONE,),
    (Ancestor(3, b"a" * 32, 9),),
)
UPDATE = messages.Update(
    b"a/\xff\n",
    Half((CONTENT,), {ONE.incarnation: 1, TWO.incarnation: 2}),
    Half(
        (MetaEntry(TWO, Hlc(1), META, Kind.FILE, b"h" * 32, ONE, (TWO,), ONE, True, TWO, True),), {TWO.incarnation: 2}
    ),
    DirectoryTime(ONE, Hlc(9), -1),
)
SCOPE = Scope(b"12345678")

EXAMPLES: tuple[PeerMessage, ...] = (
    messages.Hello(
        messages.PROTOCOL,
        "0.1",
        "web",
        "ash",
        1,
        2,
        b"d",
        {3: "ash"},
        (messages.VolumeHello("etc", b"i", {SCOPE: {ONE.incarnation: 1}}, b"c", 4, True, b"t" * 32),),
    ),
    messages.Records("etc", SCOPE, 9, (UPDATE, messages.Update(b"")), {ONE.incarnation: 5}, contents=(b"content",)),
    messages.Stands(
        "etc",
        {SCOPE: Standing({ONE.incarnation: 5}, {ONE.incarnation: 4})},
        {SCOPE: b"d" * 32},
        2**62,
        True,
        b"t" * 32,
        b"h" * 32,
    ),
    messages.GetParts("etc", 3, SCOPE, b"a", b"b/\xff"),
    messages.Parts(3, (Part(b"b", 2, b"d" * 32),)),
    messages.Moved(
        "etc", 5, SCOPE, 9, WholeMove(b"a/\xff", b"b", ONE, Hlc(7), {TWO.incarnation: 2}, b"d" * 32), b"t" * 40
    ),
    messages.Followed(5, True),
    messages.GetRecords("etc", 4, SCOPE, (b"a/\xff\n", b"b")),
    messages.Told(4, 2, (UPDATE,)),
    messages.GetSights("etc", 5, SCOPE, b"a", b"b"),
    messages.Sights(5, b"b", (Sight(b"b", b"d" * 16, 2), Sight(b"c", b""))),
    messages.Mend("etc", SCOPE, (UPDATE,), b"t" * 32),
    messages.Stored("etc", 9, {SCOPE: {ONE.incarnation: 5}}),
    messages.AppliedUpTo("etc", 9, 1),
    messages.Remaining("etc", Amount(2, 2**40), Amount(0, 3)),
    messages.GetSummary("etc", 1, b"h" * 32, 3),
    messages.Summary(1, 3, 4, b"t" * 128),
    messages.GetPages("etc", 1, b"h" * 32, (0, 3)),
    messages.Pages(1, (b"t" * 128, b"t" * 32)),
    messages.GetBlocks("etc", 2, b"h" * 32, 1, 8),
    messages.Blocks(2, 1, (b"", bytes(200_000), b"x")),
    segments.GetSegments("etc", 2, b"h" * 32, 32, 32, 4096),
    segments.Segments(2, (512, 100_000), b"d" * 16),
    segments.GetExtents("etc", 2, b"h" * 32, ((0, 5), (2**40, 7))),
    segments.Extents(2, (b"", b"part")),
    messages.Unavailable(2),
    messages.Refusals("etc", (messages.Refusal(b"sudoers", "visudo refuses it"),)),
    messages.Vouch(
        "etc",
        3,
        (messages.Claim(b"a/\xff", ONE, None, b"h" * 32, TWO, Hlc(2**62)), messages.Claim(b"", None, TWO)),
        True,
    ),
    messages.Vouched(3),
    messages.Heartbeat(2**62),
    messages.Settings(3, "cluster = 'web'\n", b"s"),
    messages.Join(1, "beta", "00", b"PEM", ("h:1",), {"etc": "/etc"}),
    messages.Joined(b"PEM", b"PEM", "text"),
    messages.Goodbye("stopping"),
)
