"""How content is named: BLAKE3 over blocks of a fixed size, so that only the blocks a write touched are hashed again.

A content of at most one block is named by its plain hash. A longer one is named by a hash, in a domain of its own, over its size
and its *table*: the hashes of its blocks, concatenated. The last block may be short and is hashed as it is.
"""

from blake3 import blake3

BLOCK_SIZE = 131_072
HASH_SIZE = 32
_ROOT_CONTEXT = "csfs 2026 content root v1"


def block_hash(data: bytes | bytearray | memoryview) -> bytes:
    """Return the 32-byte hash of one block, or of a whole content of at most one block."""
    return blake3(data).digest()


ZERO_BLOCK = bytes(BLOCK_SIZE)
ZERO_HASH = block_hash(ZERO_BLOCK)


def block_count(size: int) -> int:
    """Return how many blocks a content of `size` bytes has; an empty one has none."""
    return -(-size // BLOCK_SIZE)


def block_size(index: int, size: int) -> int:
    """Return the length of block `index` of a content of `size` bytes; 0 beyond its end."""
    return max(0, min(BLOCK_SIZE, size - index * BLOCK_SIZE))


def table_root(size: int, table: bytes | bytearray) -> bytes:
    """Return the root hash of a content of more than one block from its table.

    Raises:
        ValueError: the table has not one hash for each block of `size` bytes, or there is one block at most.
    """
    if size <= BLOCK_SIZE or len(table) != block_count(size) * HASH_SIZE:
        raise ValueError(f"table of {len(table)} bytes for a content of {size} bytes")
    hasher = blake3(derive_key_context=_ROOT_CONTEXT)
    hasher.update(size.to_bytes(8, "little"))
    hasher.update(table)
    return hasher.digest()


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
