"""How content is named: BLAKE3 over blocks of a fixed size, so that only the blocks a write touched are hashed again.

A content of at most one block is named by its plain hash. A longer one is named by a hash, in a domain of its own, over its size
and the *summary* of its table. The table has the hashes of its blocks, the last of which may be short and is hashed as it is; it is cut
into pages, and the summary has their hashes: neither hashing a table again nor passing one on takes more than the pages that differ.
"""

from blake3 import blake3

from csfs.core.tables import BLOCK_SIZE as BLOCK_SIZE
from csfs.core.tables import HASH_SIZE, PAGE_HASHES, BlockTable, pages_of
from csfs.core.tables import ZERO_HASH as ZERO_HASH
from csfs.core.tables import page_hash as page_hash

FILE_SIZE_MAX = 1 << 44
"""16 TiB, the largest file of ext4: the summary of its table takes 16 MiB."""
_ROOT_CONTEXT = "csfs 2026 content root v2"


def block_hash(data: bytes | bytearray | memoryview) -> bytes:
    """Return the 32-byte hash of one block, or of a whole content of at most one block."""
    return blake3(data).digest()


def block_count(size: int) -> int:
    """Return how many blocks a content of `size` bytes has; an empty one has none."""
    return -(-size // BLOCK_SIZE)


def block_size(index: int, size: int) -> int:
    """Return the length of block `index` of a content of `size` bytes; 0 beyond its end."""
    return max(0, min(BLOCK_SIZE, size - index * BLOCK_SIZE))


def page_count(size: int) -> int:
    """Return how many pages the table of a content of `size` bytes has."""
    return -(-block_count(size) // PAGE_HASHES)


def summary_root(size: int, summary: bytes | bytearray) -> bytes:
    """Return the root hash of a content of more than one block from the summary of its table.

    Raises:
        ValueError: the summary has not one hash for each page, or there is one block at most.
    """
    if size <= BLOCK_SIZE or len(summary) != page_count(size) * HASH_SIZE:
        raise ValueError(f"summary of {len(summary)} bytes for a content of {size} bytes")
    hasher = blake3(derive_key_context=_ROOT_CONTEXT)
    hasher.update(size.to_bytes(8, "little"))
    hasher.update(summary)
    return hasher.digest()


def whole_table(size: int, table: bytes | bytearray) -> BlockTable:
    """Return the table of a content of `size` bytes from the hashes of all its blocks.

    Raises:
        ValueError: there is not one hash for each block, or there is one block at most.
    """
    if size <= BLOCK_SIZE or len(table) != block_count(size) * HASH_SIZE:
        raise ValueError(f"table of {len(table)} bytes for a content of {size} bytes")
    pages = dict(enumerate(pages_of(table)))
    return BlockTable(size, b"".join(map(page_hash, pages.values())), pages)


def table_root(size: int, table: bytes | bytearray) -> bytes:
    """Return the root hash of a content of more than one block from the hashes of all its blocks. Raises like `whole_table`."""
    return summary_root(size, whole_table(size, table).summary)


def hash_bytes(content: bytes) -> tuple[bytes, bytes]:
    """Return (root, table) of a content in memory; the table is empty for one block at most."""
    if len(content) <= BLOCK_SIZE:
        return block_hash(content), b""
    view = memoryview(content)
    table = b"".join(block_hash(view[at : at + BLOCK_SIZE]) for at in range(0, len(content), BLOCK_SIZE))
    return table_root(len(content), table), table


def hash_of_block(root: bytes, table: bytes, index: int) -> bytes:
    """Return the hash that block `index` must have; `table` is empty where the root is the only block's."""
    return table[index * HASH_SIZE : (index + 1) * HASH_SIZE] if table else root
