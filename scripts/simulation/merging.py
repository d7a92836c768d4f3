"""The merges of a simulated member: what it holds for them, and making them."""

from typing import TYPE_CHECKING

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.policies import merges
from csfs.engine.merging import Merge
from scripts.simulation.tree import hash_of

if TYPE_CHECKING:
    from scripts.simulation.member import Member


class HostMerging:
    """Merges of one member. `bases` are, by path, contents that merges may need or have made, by hash."""

    def __init__(self, host: "Member") -> None:
        self._host = host
        self.bases: dict[RelPath, dict[bytes, bytes]] = {}
        self.contradictions: set[Merge] = set()
        self.made: dict[RelPath, int] = {}
        """By path, how many merges were made here."""

    def is_merged(self, path: RelPath) -> bool:
        """Return whether texts at a path are put together."""
        group = self._host.rules.group_of(path)
        return group is not None and merges(group.policy)

    def hold(self, path: RelPath) -> None:
        """Hold what a merge at a path may need, and nothing else."""
        host = self._host
        wanted, node, row = host.engine.held(path), host.tree.nodes.get(path), host.index.row(path)
        if not wanted and path not in self.bases:
            return
        held = {digest: data for digest, data in self.bases.get(path, {}).items() if digest in wanted}
        shown = row.applied.observation if row is not None else None
        if node is not None and shown is not None and node.kind is Kind.FILE and hash_of(node.data) == shown.hash:
            held[shown.hash] = node.data
        self.bases[path] = {digest: data for digest, data in held.items() if digest in wanted}

    def merge(self, path: RelPath, now_ns: int) -> bool:
        """Make the merge that is due here at a path; return whether there was one."""
        host = self._host
        due = host.engine.merge_due(path)
        if due is None or due in self.contradictions or host.intents:
            return False
        contents = {digest: b"" if not size else host.contents(digest) for digest, size in due.needed().items()}
        if None in contents.values():
            return False
        result = due.made(lambda digest: contents[digest] or b"")
        if result is None:
            self.contradictions.add(due)
            return False
        versions = tuple(contents[entry.value.hash] or b"" for entry in due.versions)
        host.ledger.merged(path, versions, tuple(contents[base.hash] or b"" for base in due.bases), result)
        self.bases.setdefault(path, {})[hash_of(result)] = result
        minted = host.index.minted
        assert host.engine.merge(due, hash_of(result), len(result), now_ns), "nothing happened meanwhile"
        host.unasked_minted += host.index.minted - minted
        self.made[path] = self.made.get(path, 0) + 1
        host.engine.follow([path], now_ns)
        self.hold(path)
        host.index.commit()
        return True

    def merge_all(self, now_ns: int) -> bool:
        """Make all merges that are due here; return whether there were any."""
        return any([self.merge(path, now_ns) for path in list(self._host.index.rows())])
