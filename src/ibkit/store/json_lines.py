"""Trade records without a database (`--no-db`): one JSON line for each trade, on disk before an order leaves.

The file is replaced as a whole: written beside, synced, renamed, its folder synced. So a crash leaves the old file or
the new one, and a trade is one line however often it changes. Source: requirement OPT-07.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType

import anyio
import anyio.to_thread
import msgspec

from ibkit.clock import Clock
from ibkit.errors import StorageError
from ibkit.model import AccountId
from ibkit.store.locks import file_lock
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.trade import Trade, TradeStatus

__all__ = ["JsonLinesTrades", "import_json_lines"]

_LOCK_WAIT_S = 5.0


class JsonLinesTrades:
    """Fits `trading.ports.Trades`."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    async def __aenter__(self) -> JsonLinesTrades:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open between two records."""

    async def check(self) -> None:
        await self._change(lambda trades: trades)

    async def put(self, trade: Trade) -> None:
        await self._change(lambda trades: {**trades, trade.trade_id: trade})

    async def get(self, trade_id: str) -> Trade | None:
        return (await self._all()).get(trade_id)

    async def trades(
        self,
        *,
        account_id: AccountId | None = None,
        symbol: str | None = None,
        status: TradeStatus | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Trade, ...]:
        found = [
            trade
            for trade in (await self._all()).values()
            if (account_id is None or trade.account_id == account_id)
            and (symbol is None or trade.symbol == symbol)
            and (status is None or trade.status is status)
            and (since is None or trade.created_at >= since)
            and (until is None or trade.created_at < until)
        ]
        return tuple(sorted(found, key=lambda trade: trade.created_at, reverse=True))

    async def _all(self) -> dict[str, Trade]:
        return await anyio.to_thread.run_sync(read_lines, self._path)

    async def _change(self, change: Callable[[dict[str, Trade]], dict[str, Trade]]) -> None:
        lock = self._path.with_name(f"{self._path.name}.lock")
        with anyio.CancelScope(shield=True):  # bounded by the lock's own wait; a record is written whole or not
            async with file_lock(lock, wait_s=_LOCK_WAIT_S, clock=self._clock, what=f"the file {self._path}"):
                await anyio.to_thread.run_sync(lambda: _write(self._path, change(read_lines(self._path))))


def read_lines(path: Path) -> dict[str, Trade]:
    """The trades of the file by id, in its order; empty where it does not exist. StorageError names a bad line."""
    try:
        text = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise _failure(path, error) from error
    trades: dict[str, Trade] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            trade = msgspec.json.decode(line, type=Trade)
        except msgspec.MsgspecError as error:
            raise StorageError(
                f"Database problem: {path}, line {number}: {error}", remedy="Correct the line."
            ) from error
        trades[trade.trade_id] = trade
    return trades


def _write(path: Path, trades: dict[str, Trade]) -> None:
    beside = path.with_name(f"{path.name}.new")
    content = b"".join(msgspec.json.encode(trade) + b"\n" for trade in trades.values())
    try:
        handle = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            written = 0
            while written < len(content):
                written += os.write(handle, content[written:])
            os.fsync(handle)
        finally:
            os.close(handle)
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _failure(path, error) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no handle on a folder to sync; its rename is journaled by the file system
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failure(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Database problem: {path}: {error.strerror or error}",
        remedy="Check that the folder exists, is writable by this user and has space left.",
    )


async def import_json_lines(path: Path, trades: Trades) -> int:
    """Store the trades of the file that `trades` does not have, or has older: how many were stored."""
    stored = 0
    for trade in (await anyio.to_thread.run_sync(read_lines, path)).values():
        there = await trades.get(trade.trade_id)
        if there is None or there.updated_at < trade.updated_at:
            await trades.put(trade)
            stored += 1
    return stored
