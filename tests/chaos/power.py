"""Power loss (F96): what SQLite wrote and did not sync is gone after a crash.

A VFS of our own stands before SQLite's: it is the default one with another `xOpen`, which gives each file a copy of its
method table with `xSync` and `xClose` of ours. They pass each call on and note what a disk would hold for sure: the
file as it was at its last sync. Registered through ctypes in the very library that `sqlite3` uses, so
that the code under test, its pragmas included, stays as it is (docs/adr/0009-power-loss.md).
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_void_p
from pathlib import Path

__all__ = ["Disk", "powerless"]

_OK = 0
# The name as an address: SQLite keeps it for as long as the file is open, and makes the names of the log and of the
# shared memory from it. As bytes it would be a copy of ours that is gone by then.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)


class _Vfs(Structure):
    """sqlite3_vfs, version 3. Source: sqlite3.h."""

    _fields_ = [
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", _OPEN),
        ("xDelete", _DELETE),
        ("others", c_void_p * 14),
    ]


class _Methods(Structure):
    """sqlite3_io_methods, version 3. Source: sqlite3.h."""

    _fields_ = [
        ("iVersion", c_int),
        ("xClose", _CLOSE),
        ("xRead", c_void_p),
        ("xWrite", c_void_p),
        ("xTruncate", c_void_p),
        ("xSync", _SYNC),
        ("others", c_void_p * 13),
    ]


class Disk:
    """What would be left of the files under `folder` if the power went now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, Path] = {}
        self._synced: dict[Path, bytes] = {}
        self.syncs = 0
        self.lost = 0
        """Power cuts that took something away."""
        self._left: dict[Path, bytes] | None = None

    def opened(self, file: int, path: Path) -> None:
        if self._folder in path.parents:
            self._open[file] = path
            # What was there before this process is on the disk.
            self._synced.setdefault(path, path.read_bytes() if path.exists() else b"")

    def synced(self, file: int) -> None:
        path = self._open.get(file)
        if path is not None:
            self.syncs += 1
            self._synced[path] = path.read_bytes()

    def deleted(self, path: Path) -> None:
        self._synced.pop(path, None)

    def closed(self, file: int) -> None:
        self._open.pop(file, None)

    def freeze(self) -> None:
        """The power goes: what is written from here on is of no account."""
        self._left = dict(self._synced)

    def restore(self) -> None:
        """The machine starts again; everybody has closed the files."""
        assert self._left is not None, "the power has not gone"
        left, self._left = self._left, None
        before = {path: path.read_bytes() for path in left if path.exists()}
        for path in self._folder.glob("*-shm"):
            path.unlink()  # shared memory: built anew from the log
        for path, content in left.items():
            path.write_bytes(content)
        self.lost += any(before.get(path, b"") != content for path, content in left.items())
        self._synced = left


@contextmanager
def powerless(disk: Disk) -> Iterator[None]:
    """All SQLite connections opened meanwhile write to `disk`."""
    library = ctypes.CDLL(_sqlite3.__file__)  # its symbols, and those of the SQLite that it is linked to
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    library.sqlite3_vfs_find.argtypes = [c_char_p]
    library.sqlite3_vfs_register.argtypes = [POINTER(_Vfs), c_int]
    library.sqlite3_vfs_unregister.argtypes = [POINTER(_Vfs)]
    usual = library.sqlite3_vfs_find(None)
    shim = _Shim(usual, disk)
    library.sqlite3_vfs_register(ctypes.byref(shim.vfs), 1)
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(shim.vfs))
        library.sqlite3_vfs_register(usual, 1)


class _Shim:
    """Keeps all that C points to alive: callbacks, and a table for each kind of file."""

    def __init__(self, usual: ctypes._Pointer[_Vfs], disk: Disk) -> None:
        self._usual = usual
        self._disk = disk
        self._tables: dict[int, _Methods] = {}
        self._open_usually, self._delete_usually = usual.contents.xOpen, usual.contents.xDelete
        self.vfs = _Vfs()
        ctypes.memmove(ctypes.byref(self.vfs), usual, ctypes.sizeof(_Vfs))
        self.vfs.zName = b"powerless"
        self.vfs.xOpen, self.vfs.xDelete = _OPEN(self._xopen), _DELETE(self._xdelete)

    def _xopen(self, _vfs: int, name: int | None, file: int, flags: int, out: ctypes._Pointer[c_int]) -> int:
        code = int(self._open_usually(ctypes.cast(self._usual, c_void_p), name, file, flags, out))
        table = ctypes.cast(file, POINTER(c_void_p))
        if code == _OK and name is not None and table[0]:
            address = int(table[0])
            ours = self._tables.get(address) or self._tables.setdefault(address, self._table(address))
            table[0] = ctypes.cast(ctypes.byref(ours), c_void_p)
            self._disk.opened(file, Path(ctypes.string_at(name).decode()))
        return code

    def _xdelete(self, _vfs: int, name: bytes, sync_folder: int) -> int:
        code = int(self._delete_usually(ctypes.cast(self._usual, c_void_p), name, sync_folder))
        if code == _OK:
            self._disk.deleted(Path(name.decode()))
        return code

    def _table(self, address: int) -> _Methods:
        usual = ctypes.cast(address, POINTER(_Methods)).contents
        sync, close = usual.xSync, usual.xClose
        ours = _Methods()
        size = ctypes.sizeof(_Methods) if usual.iVersion >= 3 else ctypes.sizeof(_Methods) - 2 * ctypes.sizeof(c_void_p)
        ctypes.memmove(ctypes.byref(ours), address, size)

        def xsync(file: int, flags: int) -> int:
            code = int(sync(file, flags))
            if code == _OK:
                self._disk.synced(file)
            return code

        def xclose(file: int) -> int:
            self._disk.closed(file)
            return int(close(file))

        ours.xSync, ours.xClose = _SYNC(xsync), _CLOSE(xclose)
        return ours
