"""All figures of a portfolio at one moment, in one currency: what it is made of, its results, how it did.

Of what is worth nothing by itself (futures and CFDs, whose results are in the cash; pairs of currencies, which repeat
the cash) the market value is no part of the portfolio: it is left out of the allocation, and named. Source: requirement
FUT-05; docs/facts/accounts-and-portfolio.md §3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from ibkit.model.prices import to_cents
from ibkit.portfolio.analytics.history import Performance, performance_of, steps_of
from ibkit.portfolio.analytics.options import Exposure, Greeks, exposures_of
from ibkit.portfolio.analytics.shares import Slice, herfindahl, shares_of, slices_of
from ibkit.portfolio.book import Holding, Security
from ibkit.portfolio.dated_rates import DatedAmount, DatedRates
from ibkit.portfolio.days import Flows, Worth
from ibkit.portfolio.kinds import SecurityKind
from ibkit.portfolio.rates import Rates, RateTables

__all__ = [
    "AccountNow",
    "AccountWorth",
    "Analytics",
    "DayResult",
    "Income",
    "Largest",
    "Missing",
    "UsedRate",
    "analyse",
    "value_of",
]

NO_SECTOR: Final = "not told"
NOT_KEPT: Final = "no transactions are kept of these days"
NO_RATES: Final = DatedRates()
MOST_NAMED: Final = 20
"""Reasons named of one figure; of more the number is told."""
_LARGEST: Final = 10
_UNFUNDED: Final = frozenset({SecurityKind.FUTURE, SecurityKind.CFD, SecurityKind.FOREX})
_NOTHING: Final = Decimal(0)
_DIMENSIONS: Final = ("type", "currency", "sector", "account")
_UNREALIZED: Final = "unrealized_pnl"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNow:
    """day: of the snapshot, None for what is held now. rates: None where none were ever told.

    known: whether anything tells what it held; where nothing does, `holdings` is empty and says nothing.
    """

    name: str
    day: date | None
    currency: str
    net_liquidation: Decimal | None
    holdings: tuple[Holding, ...]
    rates: Rates | None = None
    by_hand: bool = False
    known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Income(DatedAmount):
    """One dividend, coupon or interest. kind: as the ledger calls it."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    figure: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountWorth:
    name: str
    day: date | None
    net_liquidation: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """share: of the gross value of all positions, cash left out, in percent."""

    symbol: str
    conid: int | None
    net: Decimal
    share: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """From the snapshot of `since` to that of `day`, flows taken out."""

    since: date
    day: date
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedRate:
    """rate: units of the currency asked for. day: of the snapshot that told it."""

    currency: str
    rate: Decimal
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Analytics:
    """Money in `currency`, to the cent. net_liquidation: of all accounts, as IBKR told it.

    value: of all holdings, short positions negative; gross: without signs. hhi: from 0 to 1, of positions without cash.
    income, realized_pnl: by the ledgers, from `since` to `until` of the performance asked for, each amount by the rate
    of its day; income by kind.
    """

    currency: str
    as_of: date
    accounts: tuple[AccountWorth, ...]
    net_liquidation: Decimal | None
    value: Decimal | None
    gross: Decimal | None
    by_type: tuple[Slice, ...]
    by_currency: tuple[Slice, ...]
    by_sector: tuple[Slice, ...]
    by_account: tuple[Slice, ...]
    left_out: tuple[str, ...]
    largest: tuple[Largest, ...]
    hhi: float | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    day_pnl: DayResult | None
    income: Mapping[str, Decimal] | None
    options: tuple[Exposure, ...]
    performance: Performance | None
    rates: tuple[UsedRate, ...]
    missing: tuple[Missing, ...]


@dataclass(slots=True)
class _Found:
    """What the walk over the holdings gathers."""

    into: str
    tables: RateTables
    slices: dict[str, dict[str, list[Decimal]]] = field(default_factory=lambda: {name: {} for name in _DIMENSIONS})
    positions: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    unrealized: Decimal = _NOTHING
    left_out: list[str] = field(default_factory=list)
    used: dict[str, UsedRate] = field(default_factory=dict)
    missing: list[tuple[str, str]] = field(default_factory=list)

    def convert(self, amount: Decimal, currency: str, own: Rates | None) -> Decimal | None:
        tables = self.tables.after(own)
        found = tables.convert(amount, currency, self.into)
        if found is not None and currency != self.into and currency not in self.used:
            table, rate = tables.table_for(currency, self.into), tables.rate(currency, self.into)
            assert table is not None, "it converted"
            assert rate is not None, "it converted"
            self.used[currency] = UsedRate(currency=currency, rate=rate, day=table.day)
        return found


def analyse(
    accounts: Sequence[AccountNow],
    securities: Iterable[Security],
    into: str,
    *,
    as_of: date,
    history: Mapping[str, tuple[Sequence[Worth], Flows]],
    greeks: Mapping[int, Greeks] | None = None,
    income: Sequence[Income] | None = None,
    realized: Sequence[DatedAmount] | None = None,
    dated: DatedRates = NO_RATES,
    benchmark: Mapping[date, float] | None = None,
) -> Analytics:
    """The figures of these accounts in the currency `into`.

    history: by account's name, the days of the performance. greeks: by conid; None where no quote was asked for.
    income, realized: of these days; None where nobody keeps them. dated: the rates of their days.
    """
    known = {security.key: security for security in securities}
    newest = sorted((each.rates for each in accounts if each.rates is not None), key=lambda rates: rates.day)
    found = _Found(into=into, tables=RateTables(tables=tuple(reversed(newest))))
    for account in accounts:
        if not account.known:
            why = f"{account.name}: there is no snapshot of {as_of} or before"
            found.missing += [(figure, why) for figure in ("value", _UNREALIZED)]
        for holding in account.holdings:
            _take(found, account, holding, known.get((holding.symbol, holding.conid or 0)))
    worths, net_liquidation = _worth(found, accounts)
    options, lacking = _options(found, accounts, greeks or {})
    found.missing += lacking
    steps, lacking = steps_of(history, into)
    found.missing += lacking
    performance, lacking = performance_of(steps, benchmark)
    found.missing += lacking
    by = {name: slices_of(parts) for name, parts in found.slices.items()}
    values = [value for each in found.slices["account"].values() for value in each]
    unknown = {figure for figure, _ in found.missing}
    return Analytics(
        currency=into,
        as_of=as_of,
        accounts=worths,
        net_liquidation=net_liquidation,
        value=None if "value" in unknown else to_cents(sum(values, _NOTHING)),
        gross=None if "value" in unknown else to_cents(sum((abs(value) for value in values), _NOTHING)),
        by_type=by["type"],
        by_currency=by["currency"],
        by_sector=by["sector"],
        by_account=by["account"],
        left_out=tuple(found.left_out),
        largest=_largest(found.positions),
        hhi=herfindahl({f"{symbol} {conid}": value for (symbol, conid), value in found.positions.items()}),
        unrealized_pnl=None if _UNREALIZED in unknown else to_cents(found.unrealized),
        realized_pnl=_realized(found, realized, dated),
        day_pnl=_day_result(found, performance),
        income=_income(found, income, dated),
        options=options,
        performance=performance,
        rates=tuple(found.used[currency] for currency in sorted(found.used)),
        missing=_told(found.missing),
    )


def _take(found: _Found, account: AccountNow, holding: Holding, security: Security | None) -> None:
    """One holding into every sum it belongs to. The user's own type of a security goes before IBKR's."""
    named = f"{holding.symbol} ({account.name})"
    kind = security.kind if security is not None else holding.kind or SecurityKind.OTHER
    currency = holding.currency or ("" if security is None else security.currency)
    if kind is not SecurityKind.CASH:
        _take_result(found, account, holding, currency, named)
    if kind in _UNFUNDED:
        found.left_out.append(f"{named}: a {kind.value} is worth nothing by itself")
        return
    worth = value_of(holding, security, kind)
    if worth is None:
        found.missing.append(("value", f"{named}: nobody told what it is worth"))
        return
    value = found.convert(worth, currency, account.rates)
    if value is None:
        found.missing.append(("value", f"{named}: no rate from {currency or 'its currency'} to {found.into} is known"))
        return
    value = to_cents(value)
    sector = "cash" if kind is SecurityKind.CASH else (security.sector if security is not None else "") or NO_SECTOR
    for dimension, name in zip(_DIMENSIONS, (kind.value, currency, sector, account.name), strict=True):
        found.slices[dimension].setdefault(name, []).append(value)
    if kind is not SecurityKind.CASH:
        key = (holding.symbol, holding.conid or 0)
        found.positions[key] = found.positions.get(key, _NOTHING) + value


def _take_result(found: _Found, account: AccountNow, holding: Holding, currency: str, named: str) -> None:
    if holding.unrealized_pnl is None:
        found.missing.append((_UNREALIZED, f"{named}: nobody told it"))
        return
    amount = found.convert(holding.unrealized_pnl, currency, account.rates)
    if amount is None:
        why = f"{named}: no rate from {currency or 'its currency'} to {found.into} is known"
        found.missing.append((_UNREALIZED, why))
        return
    found.unrealized += amount


def value_of(holding: Holding, security: Security | None, kind: SecurityKind) -> Decimal | None:
    """In its own currency: as the broker told it, or units by the price that the user keeps of it."""
    if holding.market_value is not None:
        return holding.market_value
    if kind is SecurityKind.CASH:
        return holding.units
    if security is None or security.unit_price is None:
        return None
    return holding.units * security.unit_price * holding.multiplier


def _worth(found: _Found, accounts: Sequence[AccountNow]) -> tuple[tuple[AccountWorth, ...], Decimal | None]:
    worths, total, whole = [], _NOTHING, True
    for account in accounts:
        told = account.net_liquidation
        value = None if told is None else found.convert(told, account.currency, account.rates)
        if value is None:
            whole = False
            why = f"no rate from {account.currency} to {found.into} is known"
            if told is None:
                why = "it is kept by hand" if account.by_hand else "IBKR did not tell it, or there is no snapshot"
            found.missing.append(("net_liquidation", f"{account.name}: {why}"))
        else:
            total += value
        worths.append(
            AccountWorth(name=account.name, day=account.day, net_liquidation=None if value is None else to_cents(value))
        )
    return tuple(worths), to_cents(total) if whole and accounts else None


def _options(
    found: _Found, accounts: Sequence[AccountNow], greeks: Mapping[int, Greeks]
) -> tuple[tuple[Exposure, ...], tuple[tuple[str, str], ...]]:
    """All accounts' together: what is short in one may be covered in another of the same owner."""
    held = [holding for account in accounts for holding in account.holdings]
    return exposures_of(held, greeks, lambda amount, currency: found.convert(amount, currency, None))


def _largest(positions: Mapping[tuple[str, int], Decimal]) -> tuple[Largest, ...]:
    shares = shares_of({f"{symbol}\n{conid}": abs(value) for (symbol, conid), value in positions.items()})
    if shares is None:
        return ()
    order = sorted(positions, key=lambda key: (-abs(positions[key]), key))[:_LARGEST]
    return tuple(
        Largest(symbol=key[0], conid=key[1] or None, net=positions[key], share=shares[f"{key[0]}\n{key[1]}"])
        for key in order
    )


def _day_result(found: _Found, performance: Performance | None) -> DayResult | None:
    """Of the last two days of the performance."""
    if performance is None:
        found.missing.append(("day_pnl", "it takes two days with a snapshot"))
        return None
    before, last = performance.steps[-2:]
    if last.flow is None:
        why = f"what came in and went out from {before.day} to {last.day} is not known"
        found.missing.append(("day_pnl", why))
        return None
    return DayResult(since=before.day, day=last.day, amount=to_cents(last.value - before.value - last.flow))


def _income(found: _Found, income: Sequence[Income] | None, dated: DatedRates) -> Mapping[str, Decimal] | None:
    if income is None:
        found.missing.append(("income", NOT_KEPT))
        return None
    sums: dict[str, Decimal] = {}
    for each in income:
        amount = _on_its_day(found, each, dated, "income")
        if amount is None:
            return None
        sums[each.kind] = sums.get(each.kind, _NOTHING) + amount
    return {kind: to_cents(sums[kind]) for kind in sorted(sums)}


def _realized(found: _Found, realized: Sequence[DatedAmount] | None, dated: DatedRates) -> Decimal | None:
    if realized is None:
        found.missing.append(("realized_pnl", NOT_KEPT))
        return None
    whole = _NOTHING
    for each in realized:
        amount = _on_its_day(found, each, dated, "realized_pnl")
        if amount is None:
            return None
        whole += amount
    return to_cents(whole)


def _on_its_day(found: _Found, this: DatedAmount, dated: DatedRates, figure: str) -> Decimal | None:
    amount = dated.convert(this, found.into)
    if amount is None:
        found.missing.append((figure, f"no rate from {this.currency} to {found.into} is known of {this.day}"))
    return amount


def _told(missing: Iterable[tuple[str, str]]) -> tuple[Missing, ...]:
    """Each once, in order; of one figure so many reasons at most, and how many more there are."""
    by_figure: dict[str, dict[str, None]] = {}
    for figure, why in missing:
        by_figure.setdefault(figure, {})[why] = None
    found = []
    for figure, reasons in by_figure.items():
        named = list(reasons)
        found += [Missing(figure=figure, why=why) for why in named[:MOST_NAMED]]
        if len(named) > MOST_NAMED:
            found.append(Missing(figure=figure, why=f"and {len(named) - MOST_NAMED} more"))
    return tuple(found)
