"""Makes every side effect of a process a step before which it can be killed: nothing of csfs knows of it.

A step is whatever another process, or the next life of this one, could notice: a transaction of an index or a journal, a call that
changes a file system, a message on a link or on the control socket. Between two steps only memory changes, which dies anyway.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

from csfs.daemon.connection import ControlConnection
from csfs.index.database import Database
from csfs.journal import journal as journals
from csfs.journal.journal import Journal
from csfs.mount.link import Link as MountLink
from csfs.replicate.exchange import PeerSession
from csfs.replicate.fetcher import Fetcher
from csfs.store import blocks, syscalls
from csfs.store.partials import Partials
from csfs.wire.control import Flush, Flushed, Progress, Reply
from csfs.wire.streams import MessageWriter
from scripts.crashing.page import Slot

CALLS = (
    "chmod",
    "chown",
    "copy_file_range",
    "fchmod",
    "fchown",
    "fsync",
    "ftruncate",
    "link",
    "mkdir",
    "mknod",
    "pwrite",
    "removexattr",
    "rename",
    "rmdir",
    "setxattr",
    "symlink",
    "truncate",
    "unlink",
    "utime",
    "write",
)
"""What changes a file system, as `os` has it."""
OWN_CALLS = ("renameat2", "syncfs", "clone", "punch_hole", "set_mtime", "set_mtime_of", "set_inode_flags")
"""The same, as `store.syscalls` has it."""
ASKED = (Reply, Progress, Flush, Flushed)
"""What is said because somebody waits for the members to settle is no step of theirs."""
OURS = "csfs."
NOT_STEPS = ("csfs.mount.pulse", "csfs.mount.serve")
"""Nobody's files are changed there: a process shows that it lives."""


def install(slot: Slot) -> None:
    """Have this process, and those that it forks, step through `slot`."""
    for name in CALLS:
        setattr(os, name, _stepped(slot, getattr(os, name), f"os.{name}"))
    _open_stepped(slot)
    for name in OWN_CALLS:
        setattr(syscalls, name, _stepped(slot, getattr(syscalls, name), name))
    _transactions_stepped(slot)
    _messages_stepped(slot)
    _counted(slot)


def _caller(depth: int) -> str:
    frame = sys._getframe(depth)
    name = str(frame.f_globals.get("__name__", ""))
    if not name.startswith(OURS) or name in NOT_STEPS:
        return ""
    return f"{name.removeprefix(OURS)}.{frame.f_code.co_name}"


def _stepped(slot: Slot, call: Callable[..., Any], label: str) -> Callable[..., Any]:
    def stepped(*arguments: Any, **options: Any) -> Any:
        caller = _caller(2)
        if caller:
            slot.step(f"{label} in {caller}")
        return call(*arguments, **options)

    return stepped


def _open_stepped(slot: Slot) -> None:
    opened = os.open

    def stepped(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT and (caller := _caller(2)):
            slot.step(f"os.open to create in {caller}")
        return opened(path, flags, *arguments, **options)

    os.open = stepped


def _transactions_stepped(slot: Slot) -> None:
    prepare, configured, append = Database._prepare, journals.schema.configured, Journal.append

    def prepared(database: Database) -> None:
        prepare(database)
        database.connection.set_commit_hook(lambda: slot.step("commit of the index") or False)

    def configured_stepped(connection: Any) -> Any:
        connection = configured(connection)
        connection.set_commit_hook(lambda: slot.step("commit of the journal") or False)
        return connection

    def append_stepped(journal: Journal, change: Any) -> Any:
        slot.step(f"row {change.kind.name}")
        return append(journal, change)

    Database._prepare = prepared  # type: ignore[method-assign]
    journals.schema.configured = configured_stepped
    Journal.append = append_stepped  # type: ignore[method-assign]


def _messages_stepped(slot: Slot) -> None:
    next_write, tell, say = MessageWriter.next_write, ControlConnection.send, MountLink.send

    def next_write_stepped(writer: MessageWriter, **how: bool) -> bytes:
        data = next_write(writer, **how)
        if data:
            slot.step("a write on a link")
        return data

    async def tell_stepped(connection: ControlConnection, message: Any) -> None:
        if not isinstance(message, ASKED):
            slot.step(f"{type(message).__name__} to the mount")
        await tell(connection, message)

    def say_stepped(link: MountLink, message: Any) -> None:
        if not isinstance(message, ASKED):
            slot.step(f"{type(message).__name__} to the daemon")
        say(link, message)

    MessageWriter.next_write = next_write_stepped  # type: ignore[method-assign]
    ControlConnection.send = tell_stepped  # type: ignore[method-assign]
    MountLink.send = say_stepped  # type: ignore[method-assign]


def _counted(slot: Slot) -> None:
    block_hash, write_block = blocks.block_hash, Partials.write_block
    received, fetch = PeerSession._received_records, Fetcher.fetch

    def block_hash_counted(data: bytes) -> bytes:
        slot.count(hashed=len(data))
        return block_hash(data)

    def write_block_counted(partials: Partials, root: bytes, index: int, data: bytes, expected: bytes) -> None:
        write_block(partials, root, index, data, expected)
        slot.count(written=len(data))

    async def received_counted(session: PeerSession, message: Any) -> None:
        slot.count(received=sum(len(data) for data in message.contents))
        await received(session, message)

    async def fetch_counted(fetcher: Fetcher, plan: Any) -> bool:
        before = fetcher.bytes_fetched
        try:
            return await fetch(fetcher, plan)
        finally:
            slot.count(received=fetcher.bytes_fetched - before)

    blocks.block_hash = block_hash_counted
    Partials.write_block = write_block_counted  # type: ignore[method-assign]
    PeerSession._received_records = received_counted  # type: ignore[method-assign]
    Fetcher.fetch = fetch_counted  # type: ignore[method-assign]
