"""Income, costs and realised results, from the ledgers of the accounts that have one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from ibkit.model.prices import to_cents
from ibkit.portfolio.dated_rates import DatedAmount, realized_amounts
from ibkit.portfolio.ledger import Ledger
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.report.parts import Block, Column, Notes, Table
from ibkit.portfolio.report.words import change, units
from ibkit.portfolio.transactions import Converted, Paid, PaymentKind, Traded, costs_of, currency_of

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
    sums: dict[tuple[str, str], _Sum] = {}
    into = material.figures.currency
    for ledger in material.ledgers.values():
        for kind, amount in _paid(ledger, material.since, material.until):
            sums.setdefault((kind, amount.currency), _Sum()).add(amount, material)
    rows = [(*key, sums[key]) for key in sorted(sums) if sums[key].amount]
    columns = (
        Column(title="Kind", wide=True),
        Column(title="Currency"),
        Column(title="Amount", right=True),
        Column(title=f"in {into}", right=True),
    )
    table = Table(
        title=_days(material),
        columns=columns,
        rows=tuple((kind, currency, change(found.amount), change(found.cents)) for kind, currency, found in rows),
        total=("all together", "", "", change(_sum([found.cents for _, _, found in rows]))) if rows else None,
        empty="Nothing was paid in these days.",
    )
    how = f"In {into} by the rate of the day on which each was paid."
    lacks = [f"Something may lack in it: {each.why}." for each in material.figures.missing if each.figure == "income"]
    return table, Notes(lines=(how, *lacks, *_without(material)))


@dataclass(slots=True)
class _Sum:
    """amount: in its own currency; worth: in the report's, None as soon as a rate of a day is not known."""

    amount: Decimal = _ZERO
    worth: Decimal | None = _ZERO

    def add(self, this: DatedAmount, material: Material) -> None:
        self.amount += this.amount
        found = material.dated.convert(this, material.figures.currency)
        self.worth = None if found is None or self.worth is None else self.worth + found

    @property
    def cents(self) -> Decimal | None:
        return None if self.worth is None else to_cents(self.worth)


def _paid(ledger: Ledger, first: date | None, last: date | None) -> Iterator[tuple[str, DatedAmount]]:
    """Payments but for those in and out, and what trades cost beside."""
    for each in ledger.transactions:
        if (first and each.booked_on < first) or (last and each.booked_on > last):
            continue
        if isinstance(each, Paid) and each.kind not in _FLOWS:
            kind, own = each.kind.value, each.currency
            amounts: Mapping[str, Decimal] = {own: each.amount}
        elif isinstance(each, Traded | Converted):
            kind, own = _COMMISSIONS, currency_of(each)
            amounts = costs_of(each)
        else:
            continue
        for currency, amount in amounts.items():
            yield (
                kind,
                DatedAmount(
                    day=each.booked_on,
                    currency=currency,
                    amount=amount,
                    base=ledger.rules.base,
                    fx_rate=each.fx_rate if currency == own else None,
                ),
            )


@dataclass(slots=True)
class _Result:
    closed: Decimal = _ZERO
    realised: _Sum = field(default_factory=_Sum)
    last: date = date.min
    symbol: str = field(default="")


def realised_of(material: Material) -> tuple[Block, ...]:
    if not material.ledgers:
        return (Notes(lines=_without(material, "Realised results are not known.")),)
    results: dict[tuple[int, str], _Result] = {}
    for ledger in material.ledgers.values():
        _gather(results, ledger, material)
    order = sorted(results, key=lambda key: (-abs(results[key].realised.amount), results[key].symbol))
    columns = (
        Column(title="Closed", wide=True),
        Column(title="Units", right=True),
        Column(title="Last on"),
        Column(title="Realised", right=True),
        Column(title=""),
        Column(title=f"in {material.figures.currency}", right=True),
    )
    rows = [
        (
            found.symbol,
            units(found.closed),
            str(found.last),
            change(to_cents(found.realised.amount)),
            currency,
            change(found.realised.cents),
        )
        for (_, currency), found in ((key, results[key]) for key in order[:MOST_RESULTS])
    ]
    for currency in sorted({currency for _, currency in order[MOST_RESULTS:]}):
        rest = [results[key].realised for key in order[MOST_RESULTS:] if key[1] == currency]
        own, worth = sum((each.amount for each in rest), _ZERO), _sum([each.cents for each in rest])
        rows.append((f"and {len(rest)} more", "", "", change(to_cents(own)), currency, change(worth)))
    table = Table(title=_days(material), columns=columns, rows=tuple(rows), empty="Nothing was closed in these days.")
    blocks: list[Block] = [table]
    if rows:
        blocks.append(_totals(material, results))
    notes = ("Commissions and taxes of trades are inside of these results.", *_without(material))
    return *blocks, Notes(lines=notes)


def _gather(results: dict[tuple[int, str], _Result], ledger: Ledger, material: Material) -> None:
    for closed, amount in realized_amounts(ledger, material.since, material.until):
        found = results.setdefault((closed.conid, closed.currency), _Result(symbol=closed.symbol))
        found.closed += abs(closed.quantity)
        found.realised.add(amount, material)
        found.last = max(found.last, closed.booked_on)


def _totals(material: Material, results: Mapping[tuple[int, str], _Result]) -> Table:
    into = material.figures.currency
    sums: dict[str, Decimal] = {}
    for (_, currency), found in results.items():
        sums[currency] = sums.get(currency, _ZERO) + found.realised.amount
    gains: dict[str, Decimal | None] = {}
    for ledger in material.ledgers.values():
        for currency, gain in ledger.gains_of_currencies(material.since, material.until).items():
            name = f"exchange of {currency}, in {ledger.rules.base}"
            before = gains.get(name, _ZERO)
            gains[name] = None if gain is None or before is None else before + gain
    rows = [(f"securities in {currency}", change(to_cents(sums[currency]))) for currency in sorted(sums)]
    if sums.keys() != {into}:
        worth = _sum([found.realised.cents for found in results.values()])
        rows.append((f"securities, in {into} by the rates of their days", change(worth)))
    rows += [(name, change(None if gain is None else to_cents(gain))) for name, gain in sorted(gains.items())]
    return Table(
        title="Sums", columns=(Column(title="Of", wide=True), Column(title="Realised", right=True)), rows=tuple(rows)
    )


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
