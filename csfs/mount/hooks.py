"""Redirects one function that a loaded shared object calls into another one, for this process alone.

A shared object reaches functions of others through slots that the dynamic linker fills; its relocations say which slot is whose.
Writing another address there is what preloading a library does, without an environment variable, and for one caller only.
"""

import ctypes
import mmap
import platform
from collections.abc import Iterator

_ADDRESS_SIZE = 8
_DT_PLTRELSZ, _DT_RELASZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_JMPREL = 2, 8, 5, 6, 7, 23
_RTLD_DI_LINKMAP = 2
_SLOT_TYPES = {"x86_64": (6, 7), "aarch64": (1025, 1026)}
"""R_*_GLOB_DAT and R_*_JUMP_SLOT: the whole slot is the address of the function."""
_PROT_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE


class _LinkMap(ctypes.Structure):
    _fields_ = (("base", ctypes.c_uint64), ("name", ctypes.c_char_p), ("dynamic", ctypes.c_uint64))


class _Relocation(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("info", ctypes.c_uint64), ("addend", ctypes.c_int64))


class _Symbol(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_uint32),
        ("kind", ctypes.c_uint8),
        ("other", ctypes.c_uint8),
        ("section", ctypes.c_uint16),
        ("value", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
    )


class Slot:
    """Where one shared object keeps the address of one function."""

    def __init__(self, library: ctypes.CDLL, symbol: bytes) -> None:
        """Find the slot of `symbol` in a loaded library.

        Raises:
            OSError: there is none, or this machine is of another kind.
        """
        self._address = _slot_of(library, symbol)
        self._before = 0

    def redirect(self, function: int) -> None:
        """Have the library call `function`, an address, from now on.

        Raises:
            OSError: the slot cannot be made writable.
        """
        _make_writable(self._address)
        slot = ctypes.c_uint64.from_address(self._address)
        self._before = slot.value
        slot.value = function

    def restore(self) -> None:
        """Have the library call what it called before `redirect`."""
        ctypes.c_uint64.from_address(self._address).value = self._before


def _slot_of(library: ctypes.CDLL, symbol: bytes) -> int:
    types = _SLOT_TYPES.get(platform.machine())
    if types is None or ctypes.sizeof(ctypes.c_void_p) != _ADDRESS_SIZE:
        raise OSError(f"slots of shared objects are not known on {platform.machine()}")
    found = ctypes.c_void_p()
    dlinfo = ctypes.CDLL(None).dlinfo
    dlinfo.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    if dlinfo(library._handle, _RTLD_DI_LINKMAP, ctypes.byref(found)) != 0 or not found.value:
        raise OSError(f"the dynamic linker knows nothing of {library._name}")
    link_map = _LinkMap.from_address(found.value)
    dynamic = _dynamic_of(link_map)
    for offset, number, kind in _relocations(dynamic):
        if kind in types and _name_of(dynamic, number) == symbol:
            return int(link_map.base) + offset
    raise OSError(f"{library._name} does not call {symbol.decode()}")


def _dynamic_of(link_map: _LinkMap) -> dict[int, int]:
    """Return the dynamic section's entries that matter here, addresses made absolute where the linker has not done so."""
    entries: dict[int, int] = {}
    position = int(link_map.dynamic)
    while tag := ctypes.c_uint64.from_address(position).value:
        value = ctypes.c_uint64.from_address(position + _ADDRESS_SIZE).value
        if tag in (_DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_JMPREL) and value < link_map.base:
            value += int(link_map.base)
        entries[tag] = value
        position += 2 * _ADDRESS_SIZE
    return entries


def _relocations(dynamic: dict[int, int]) -> Iterator[tuple[int, int, int]]:
    """Give offset, number of the symbol, and type of each relocation."""
    for start, size in ((_DT_JMPREL, _DT_PLTRELSZ), (_DT_RELA, _DT_RELASZ)):
        if start in dynamic:
            count = dynamic.get(size, 0) // ctypes.sizeof(_Relocation)
            for relocation in (_Relocation * count).from_address(dynamic[start]):
                yield relocation.offset, relocation.info >> 32, relocation.info & 0xFFFFFFFF


def _name_of(dynamic: dict[int, int], number: int) -> bytes:
    symbol = _Symbol.from_address(dynamic[_DT_SYMTAB] + number * ctypes.sizeof(_Symbol))
    return ctypes.string_at(dynamic[_DT_STRTAB] + symbol.name)


def _make_writable(address: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if libc.mprotect(address & -mmap.PAGESIZE, mmap.PAGESIZE, _PROT_READ_WRITE) != 0:
        raise OSError(ctypes.get_errno(), "the slot of a function cannot be made writable")
