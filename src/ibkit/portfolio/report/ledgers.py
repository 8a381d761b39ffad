"""Income, costs and realised results, from the ledgers of the accounts that have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from ibkit.model.prices import to_cents
from ibkit.portfolio.ledger import Ledger
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.report.parts import Block, Column, Notes, Table
from ibkit.portfolio.report.words import change, units
from ibkit.portfolio.transactions import PaymentKind

__all__ = ["income_of", "realised_of"]

MOST_RESULTS: Final = 40
"""Listings named of the realised results; the others are summed up."""
MOST_REASONS: Final = 20
_ZERO: Final = Decimal(0)
_FLOWS: Final = frozenset({PaymentKind.DEPOSIT, PaymentKind.WITHDRAWAL})
_COMMISSIONS: Final = "commissions and taxes of trades"


def income_of(material: Material) -> tuple[Block, ...]:
    if not material.ledgers:
        return (Notes(lines=_without(material, "Income and costs are not known.")),)
    sums: dict[tuple[str, str], Decimal] = {}
    for ledger in material.ledgers.values():
        for kind, amounts in ledger.paid(material.since, material.until).items():
            if kind not in _FLOWS:
                _add(sums, kind.value, amounts)
        _add(sums, _COMMISSIONS, ledger.commissions(material.since, material.until))
    rows = [(kind, currency, sums[kind, currency]) for kind, currency in sorted(sums)]
    into = material.figures.currency
    converted = [_converted(material, amount, currency) for _, currency, amount in rows]
    columns = (
        Column(title="Kind", wide=True),
        Column(title="Currency"),
        Column(title="Amount", right=True),
        Column(title=f"in {into}", right=True),
    )
    table = Table(
        title=_days(material),
        columns=columns,
        rows=tuple(
            (kind, currency, change(amount), change(worth))
            for (kind, currency, amount), worth in zip(rows, converted, strict=True)
        ),
        total=("all together", "", "", change(_sum(converted))) if rows else None,
        empty="Nothing was paid in these days.",
    )
    how = f"In {into} by the newest rates, not by those of the day that each was paid."
    lacks = [f"Something may lack in it: {each.why}." for each in material.figures.missing if each.figure == "income"]
    return table, Notes(lines=(how, *lacks, *_without(material)))


@dataclass(slots=True)
class _Result:
    closed: Decimal = _ZERO
    realised: Decimal = _ZERO
    last: date = date.min
    symbol: str = field(default="")


def realised_of(material: Material) -> tuple[Block, ...]:
    if not material.ledgers:
        return (Notes(lines=_without(material, "Realised results are not known.")),)
    results: dict[tuple[int, str], _Result] = {}
    for ledger in material.ledgers.values():
        _gather(results, ledger, material)
    order = sorted(results, key=lambda key: (-abs(results[key].realised), results[key].symbol))
    columns = (
        Column(title="Closed", wide=True),
        Column(title="Units", right=True),
        Column(title="Last on"),
        Column(title="Realised", right=True),
        Column(title=""),
    )
    rows = [
        (found.symbol, units(found.closed), str(found.last), change(to_cents(found.realised)), currency)
        for (_, currency), found in ((key, results[key]) for key in order[:MOST_RESULTS])
    ]
    for currency in sorted({currency for _, currency in order[MOST_RESULTS:]}):
        rest = [results[key].realised for key in order[MOST_RESULTS:] if key[1] == currency]
        rows.append((f"and {len(rest)} more", "", "", change(to_cents(sum(rest, _ZERO))), currency))
    table = Table(title=_days(material), columns=columns, rows=tuple(rows), empty="Nothing was closed in these days.")
    blocks: list[Block] = [table]
    if rows:
        blocks.append(_totals(material, results))
    notes = ("Commissions and taxes of trades are inside of these results.", *_without(material))
    return *blocks, Notes(lines=notes)


def _gather(results: dict[tuple[int, str], _Result], ledger: Ledger, material: Material) -> None:
    for closed in ledger.closed:
        day = closed.booked_on
        if (material.since and day < material.since) or (material.until and day > material.until):
            continue
        found = results.setdefault((closed.conid, closed.currency), _Result(symbol=closed.symbol))
        found.closed += abs(closed.quantity)
        found.realised += closed.realized
        found.last = max(found.last, day)


def _totals(material: Material, results: Mapping[tuple[int, str], _Result]) -> Table:
    sums: dict[str, Decimal] = {}
    for (_, currency), found in results.items():
        sums[currency] = sums.get(currency, _ZERO) + found.realised
    gains: dict[str, Decimal | None] = {}
    for ledger in material.ledgers.values():
        for currency, gain in ledger.gains_of_currencies(material.since, material.until).items():
            name = f"exchange of {currency}, in {ledger.rules.base}"
            before = gains.get(name, _ZERO)
            gains[name] = None if gain is None or before is None else before + gain
    rows = [(f"securities in {currency}", change(to_cents(sums[currency]))) for currency in sorted(sums)]
    rows += [(name, change(None if gain is None else to_cents(gain))) for name, gain in sorted(gains.items())]
    return Table(
        title="Sums", columns=(Column(title="Of", wide=True), Column(title="Realised", right=True)), rows=tuple(rows)
    )


def _add(sums: dict[tuple[str, str], Decimal], kind: str, amounts: Mapping[str, Decimal]) -> None:
    for currency, amount in amounts.items():
        sums[kind, currency] = sums.get((kind, currency), _ZERO) + amount


def _converted(material: Material, amount: Decimal, currency: str) -> Decimal | None:
    rate = material.rates.get(currency)
    return None if rate is None else to_cents(amount * rate)


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, _ZERO) if len(known) == len(amounts) else None


def _days(material: Material) -> str:
    if material.since is None and material.until is None:
        return "All that the ledger tells"
    begin = "the beginning" if material.since is None else str(material.since)
    return f"From {begin} to {material.until or material.figures.as_of}"


def _without(material: Material, first: str = "") -> tuple[str, ...]:
    reasons = [
        f"{account}: {why}" if first else f"{account} is not in it: {why}" for account, why in _reasons(material)
    ]
    return (*([first] if first else ()), *reasons)


def _reasons(material: Material) -> list[tuple[str, str]]:
    told = list(material.without_ledger.items())
    rest = len(told) - MOST_REASONS
    return told if rest <= 0 else [*told[:MOST_REASONS], (f"{rest} more accounts", "they have no ledger, either")]
