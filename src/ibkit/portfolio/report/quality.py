"""What a report does not know, and why; what is old; what does not agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Final

from ibkit.portfolio.book import PortfolioAccount, SyncStatus
from ibkit.portfolio.ledger import Ledger
from ibkit.portfolio.reconciling import Against, Figure
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.report.parts import Block, Column, Notes, Table
from ibkit.portfolio.report.words import DASH, units

__all__ = ["quality_of"]

OLD: Final = timedelta(days=1)
"""A sync that is longer ago is told as old, as `stale` of the interface does."""
MOST_DIFFERENCES: Final = 50
_WORDS: Final = {
    "value": "Value",
    "net_liquidation": "Net liquidation value",
    "unrealized_pnl": "Unrealised",
    "realized_pnl": "Realised",
    "day_pnl": "Result of the day",
    "income": "Income, whole",
    "options": "Options",
    "options.delta": "Delta of options",
    "options.theta": "Theta of options",
    "options.notional": "Notional of options",
    "options.maximum_loss": "Maximum loss of options",
    "performance": "Returns",
    "performance.flows": "Paid in and out",
    "performance.gain": "Result of the period",
    "performance.time_weighted": "Time-weighted return",
    "performance.money_weighted": "Money-weighted return",
    "performance.money_weighted_yearly": "Money-weighted return of a year",
    "performance.drawdown": "Drawdown",
    "performance.volatility": "Volatility",
    "performance.benchmark": "Benchmark",
}
_TELLERS: Final = {Against.STATEMENT: "the statement", Against.LIVE: "the account"}


def quality_of(material: Material) -> tuple[Block, ...]:
    figures = material.figures
    unknown = tuple((_WORDS.get(each.figure, each.figure), each.why) for each in figures.missing)
    two = (Column(title="Figure"), Column(title="Why it is not known", wide=True))
    blocks: list[Block] = [
        _accounts(material),
        Table(title="Not known", columns=two, rows=unknown, empty="All figures are known."),
    ]
    differ = list(_differences(material))
    if differ:
        rest = len(differ) - MOST_DIFFERENCES
        lines = (*differ[:MOST_DIFFERENCES], *((f"and {rest} more",) if rest > 0 else ()))
        blocks.append(Notes(title="Does not agree", lines=lines))
    if figures.rates:
        columns = (
            Column(title="Currency"),
            Column(title=f"{figures.currency} for one", right=True),
            Column(title="Of"),
        )
        rows = tuple((each.currency, units(each.rate), str(each.day)) for each in figures.rates)
        blocks.append(Table(title="Rates of exchange", columns=columns, rows=rows))
    return tuple(blocks)


def _accounts(material: Material) -> Table:
    columns = (Column(title="Account", wide=True), Column(title="Kept"), Column(title="Last synced"), Column(title=""))
    rows = tuple((each.name, *_standing(material, each)) for each in material.portfolio.accounts)
    return Table(title="Accounts", columns=columns, rows=rows, empty="There is no account.")


def _standing(material: Material, account: PortfolioAccount) -> tuple[str, str, str]:
    link = account.link
    if link is None:
        return "by hand", DASH, ""
    if link.last_sync is None:
        return "from IBKR", "never", "nothing was read yet"
    words = []
    if material.made_at - link.last_sync > OLD:
        words.append("stale: its figures are older than a day")
    if link.status is SyncStatus.ERROR:
        words.append("the last sync failed" + (f" ({link.error.code})" if link.error else ""))
    return "from IBKR", f"{link.last_sync:%Y-%m-%d %H:%M} UTC", "; ".join(words)


def _differences(material: Material) -> Iterator[str]:
    for name, found in material.open_differences.items():
        for each in found:
            what = f"cash in {each.currency}" if each.listed is None else each.listed.symbol
            what += "" if each.figure is Figure.SIZE else f", {each.figure.value} in {each.currency}"
            told = f"the ledger says {units(each.ours)}, {_TELLERS[each.against]} {units(each.told)}"
            yield f"{name}: {what}: {told} ({each.day}). Cause: {each.cause.value}: {each.why}"
    for name, ledger in material.ledgers.items():
        account = material.portfolio.account(name)
        if account is not None and name not in material.open_differences:
            yield from _between(account, ledger)


def _between(account: PortfolioAccount, ledger: Ledger) -> Iterator[str]:
    """Of what the ledger adds up to, and what the account holds."""
    held: dict[int, Decimal] = {}
    names: dict[int, str] = {}
    for each in account.holdings:
        if each.conid:
            held[each.conid] = held.get(each.conid, Decimal(0)) + each.units
            names[each.conid] = each.symbol
    names |= {conid: there.listed.symbol for conid, there in ledger.held.items() if conid not in names}
    for conid in sorted(set(held) | set(ledger.held), key=lambda conid: names[conid]):
        told = ledger.held[conid].quantity if conid in ledger.held else Decimal(0)
        if told != held.get(conid, Decimal(0)):
            holds = units(held.get(conid, Decimal(0)))
            yield f"{account.name}: {names[conid]}: the ledger adds up to {units(told)}, the account holds {holds}"
