"""Limits, halts and counters in the journal's file: one truth, one transaction with what was sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection

from ibkit.errors import NotFound, TradingError
from ibkit.model import Environment
from ibkit.store.columns import instant_text
from ibkit.store.database import Database
from ibkit.store.risk_usage import UsageReader
from ibkit.store.transactions import driver_of
from ibkit.trading.risk import (
    Halt,
    HaltMode,
    Layer,
    LimitChange,
    Limits,
    Released,
    RiskState,
    Scope,
    default_limits,
    layered,
)
from ibkit.trading.risk.bookkeeping import confirmable, people_needed, prepared, same_halt, same_person

__all__ = ["SqlRiskBook"]

_GENERATION = "SELECT generation FROM risk_state WHERE id = 1"
_SERIAL = "SELECT serial FROM send_serials WHERE account_id = ?"
_CHANGES = (
    "SELECT limit_changes.*, limit_confirmations.by, limit_confirmations.at FROM limit_changes"
    " LEFT JOIN limit_confirmations USING (number) ORDER BY number"
)
_HALTS = (
    "SELECT halts.*, (SELECT group_concat(by, char(10)) FROM halt_releases WHERE halt = number),"
    " (SELECT max(at) FROM halt_releases WHERE halt = number AND ended = 1) FROM halts ORDER BY number"
)
_CHANGE = (
    "INSERT INTO limit_changes (at, by, note, environment, layer, whose, name, old, new, needs_second)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number"
)
_CONFIRM = "INSERT INTO limit_confirmations (number, at, by) VALUES (?, ?, ?)"
_HALT = (
    "INSERT INTO halts (at, by, note, environment, mode, tenant, account_id, symbol, until, control)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number"
)
_RELEASE = "INSERT INTO halt_releases (halt, by, at, note, ended) VALUES (?, ?, ?, ?, ?)"
_UNKNOWN = (
    "SELECT count(*) FROM intents WHERE state = 'unknown_needs_human' AND resolved = 0 AND environment = ?"
    " AND ? IN ('', account_id)"
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was read of one generation: it cannot change while the generation stays."""

    generation: int
    changes: tuple[LimitChange, ...]
    halts: tuple[Halt, ...]
    limits: dict[Scope, tuple[Limits, tuple[tuple[str, str], ...]]]


class SqlRiskBook:
    """Fits `trading.risk.RiskBook`. base: the defaults of an environment."""

    def __init__(self, database: Database, *, base: Callable[[Environment], Limits] = default_limits) -> None:
        self._database = database
        self._base = base
        self._usage = UsageReader()
        self._kept = _Kept(-1, (), (), {})

    async def state(self, scope: Scope, at: datetime, *, read_at: datetime | None = None) -> RiskState:
        return await self._database.read(
            lambda connection: self.read_state(connection, scope, at, read_at or at), quick=True
        )

    def read_state(self, connection: Connection, scope: Scope, at: datetime, read_at: datetime) -> RiskState:
        """Inside a transaction of the caller."""
        driver = driver_of(connection)
        kept = self._of_generation(driver)
        row = driver.execute(_SERIAL, (scope.account_id,)).fetchone()
        serial: int = 0 if row is None else row[0]
        limits, sources = self._limits(kept, scope)
        return RiskState(
            limits=limits,
            halts=tuple(h for h in kept.halts if h.environment is scope.environment and _stands(h, at)),
            usage=self._usage.read(driver, scope.account_id, serial=serial, at=at, read_at=read_at),
            generation=kept.generation,
            serial=serial,
            sources=sources,
        )

    async def limits(self, scope: Scope) -> Limits:
        return await self._database.read(
            lambda connection: self._limits(self._of_generation(driver_of(connection)), scope)[0], quick=True
        )

    async def generation(self) -> int:
        return await self._database.read(lambda connection: _generation(driver_of(connection)), quick=True)

    async def change(self, change: LimitChange) -> LimitChange:
        def work(connection: Connection) -> LimitChange:
            wanted = prepared(change, _changes(driver_of(connection)), self._base(change.environment))
            values = (
                instant_text(wanted.at),
                wanted.by,
                wanted.note,
                wanted.environment.value,
                wanted.layer.value,
                wanted.whose,
                wanted.name,
                wanted.old,
                wanted.new,
                int(wanted.needs_second),
            )
            return _numbered(wanted, connection.exec_driver_sql(_CHANGE, values).scalar_one())

        return await self._database.write(work)

    async def confirm(self, number: int, *, by: str, at: datetime) -> LimitChange:
        def work(connection: Connection) -> LimitChange:
            confirmed = confirmable(_changes(driver_of(connection)), number, by=by, at=at)
            connection.exec_driver_sql(_CONFIRM, (number, instant_text(at), by))
            return confirmed

        return await self._database.write(work)

    async def halt(self, *halts: Halt) -> tuple[Halt, ...]:
        return await self._database.write(lambda connection: tuple(_put(connection, halt) for halt in halts))

    async def release(self, *numbers: int, by: str, note: str, at: datetime) -> Released:
        def work(connection: Connection) -> Released:
            standing = {halt.number: halt for halt in _halts(driver_of(connection)) if halt.released_at is None}
            ended: list[int] = []
            for number in numbers:
                halt = standing.get(number)
                if halt is None:
                    raise NotFound(f"There is no halt {number} to release", remedy="`ibkit kill --status` lists them.")
                _check_nothing_unknown(connection, halt)
                if _release(connection, halt, by=by, note=note, at=at):
                    ended.append(number)
            after = {halt.number: halt for halt in _halts(driver_of(connection))}
            return Released(
                ended=tuple(after[number] for number in ended),
                waiting=tuple(after[number] for number in numbers if number not in ended),
            )

        return await self._database.write(work)

    async def history(self, *, limit: int = 100) -> tuple[LimitChange | Halt, ...]:
        def work(connection: Connection) -> tuple[LimitChange | Halt, ...]:
            driver = driver_of(connection)
            found: list[LimitChange | Halt] = [*_changes(driver), *_halts(driver)]
            return tuple(sorted(found, key=lambda entry: entry.at, reverse=True)[:limit])

        return await self._database.read(work)

    async def halts(self) -> tuple[Halt, ...]:
        def work(connection: Connection) -> tuple[Halt, ...]:
            return tuple(halt for halt in reversed(_halts(driver_of(connection))) if halt.released_at is None)

        return await self._database.read(work)

    def _of_generation(self, driver: Any) -> _Kept:
        generation = _generation(driver)
        kept = self._kept
        if kept.generation != generation:
            kept = _Kept(generation, _changes(driver), _halts(driver), {})
            self._kept = kept
        return kept

    def _limits(self, kept: _Kept, scope: Scope) -> tuple[Limits, tuple[tuple[str, str], ...]]:
        known = kept.limits.get(scope)
        if known is None:
            known = layered(self._base(scope.environment), kept.changes, scope)
            if len(kept.limits) >= _SCOPES_KEPT:
                kept.limits.clear()
            kept.limits[scope] = known
        return known


_SCOPES_KEPT = 1024


def _generation(driver: Any) -> int:
    generation: int = driver.execute(_GENERATION).fetchone()[0]
    return generation


def _stands(halt: Halt, at: datetime) -> bool:
    return halt.released_at is None and (halt.until is None or at < halt.until)


def _put(connection: Connection, halt: Halt) -> Halt:
    for other in _halts(driver_of(connection)):
        if same_halt(halt, other) and _stands(other, halt.at):
            return other
    values = (
        instant_text(halt.at),
        halt.by,
        halt.note,
        halt.environment.value,
        halt.mode.value,
        halt.tenant,
        halt.account_id,
        halt.symbol,
        None if halt.until is None else instant_text(halt.until),
        halt.control,
    )
    return _numbered(halt, connection.exec_driver_sql(_HALT, values).scalar_one())


def _check_nothing_unknown(connection: Connection, halt: Halt) -> None:
    count = connection.exec_driver_sql(_UNKNOWN, (halt.environment.value, halt.account_id)).scalar_one()
    if count:
        raise TradingError(
            f"Halt {halt.number} stays: {count} order(s) of {halt.whose} are in unknown state",
            code="E-ORD-UNKNOWN",
            remedy="Look them up at IBKR, settle them with `ibkit intents resolve`, then release again.",
        )


def _release(connection: Connection, halt: Halt, *, by: str, note: str, at: datetime) -> bool:
    """One person's word; whether it was the last that was needed. The same person's second word changes nothing."""
    said = [name for name in halt.released_by.split("\n") if name]
    if any(same_person(name, by) for name in said):
        return False
    ends = len(said) + 1 >= people_needed(halt.environment)
    connection.exec_driver_sql(_RELEASE, (halt.number, by.strip(), instant_text(at), note, int(ends)))
    return ends


def _changes(driver: Any) -> tuple[LimitChange, ...]:
    return tuple(_change(*row) for row in driver.execute(_CHANGES).fetchall())


def _change(
    number: int,
    at: str,
    by: str,
    note: str,
    environment: str,
    layer: str,
    whose: str,
    name: str,
    old: str | None,
    new: str | None,
    second: int,
    confirmed_by: str | None,
    confirmed_at: str | None,
) -> LimitChange:
    return LimitChange(
        number=number,
        at=datetime.fromisoformat(at),
        by=by,
        note=note,
        environment=Environment(environment),
        layer=Layer(layer),
        whose=whose,
        name=name,
        old=old,
        new=new,
        needs_second=bool(second),
        confirmed_by=confirmed_by or "",
        confirmed_at=_instant(confirmed_at),
    )


def _halts(driver: Any) -> tuple[Halt, ...]:
    return tuple(_read_halt(*row) for row in driver.execute(_HALTS).fetchall())


def _read_halt(
    number: int,
    at: str,
    by: str,
    note: str,
    environment: str,
    mode: str,
    tenant: str,
    account_id: str,
    symbol: str,
    until: str | None,
    control: str,
    released_by: str | None,
    released_at: str | None,
) -> Halt:
    return Halt(
        number=number,
        at=datetime.fromisoformat(at),
        by=by,
        note=note,
        environment=Environment(environment),
        mode=HaltMode(mode),
        tenant=tenant,
        account_id=account_id,
        symbol=symbol,
        until=_instant(until),
        control=control,
        released_by=released_by or "",
        released_at=_instant(released_at),
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


_Entry = TypeVar("_Entry", LimitChange, Halt)


def _numbered(entry: _Entry, number: int) -> _Entry:
    return dataclasses.replace(entry, number=number)
