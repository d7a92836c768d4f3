"""What is remembered of each peer: how far it was when it last said so, and the tokens of both sides."""

from collections.abc import Mapping

import msgspec

from csfs.core.rows import Standing
from csfs.core.tokens import NO_TOKENS, Tokens
from csfs.core.versions import Scope
from csfs.index.database import Database

Standings = Mapping[Scope, Standing]


class Peers:
    """Rows of `peers`, in memory until the transaction ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._encode = msgspec.msgpack.Encoder().encode
        self._peers: dict[str, tuple[Standings, Tokens]] = {}
        self._dirty: set[str] = set()
        self._load()
        database.on_transaction_end(self._flush, self._forget)

    def _load(self) -> None:
        self._peers = {
            member: (
                msgspec.msgpack.decode(standings, type=dict[Scope, Standing]),
                msgspec.msgpack.decode(tokens, type=Tokens),
            )
            for member, standings, tokens in self._database.execute("SELECT member, standings, tokens FROM peers")
        }

    def _flush(self) -> None:
        rows: list[tuple[object, ...]] = [
            (member, *(self._encode(value) for value in self._peers[member])) for member in self._dirty
        ]
        self._database.write_many("INSERT OR REPLACE INTO peers VALUES (?, ?, ?)", rows)
        self._dirty.clear()

    def _forget(self) -> None:
        self._dirty.clear()
        self._load()

    def standings(self, member: str) -> Standings:
        """Return how far a member was in each scope when it last said so."""
        return self._peers.get(member, ({}, NO_TOKENS))[0]

    def tokens(self, member: str) -> Tokens:
        """Return the tokens of one peer."""
        return self._peers.get(member, ({}, NO_TOKENS))[1]

    def set_standings(self, member: str, standings: Standings) -> None:
        """Remember how far a member is."""
        self._peers[member] = standings, self.tokens(member)
        self._dirty.add(member)

    def set_tokens(self, member: str, tokens: Tokens) -> None:
        """Remember the tokens of one peer."""
        self._peers[member] = self.standings(member), tokens
        self._dirty.add(member)
