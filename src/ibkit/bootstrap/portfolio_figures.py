"""The figures of a portfolio out of the books: what is held now or was on a day, and the days between. FUT-05."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Final

import anyio.to_thread

from ibkit.clock import Clock
from ibkit.errors import InvalidRequest
from ibkit.portfolio.analytics.figures import AccountNow, Analytics, Income, analyse
from ibkit.portfolio.analytics.options import Greeks
from ibkit.portfolio.book import Portfolio, PortfolioAccount, check_currency
from ibkit.portfolio.days import NEW_YORK, AccountDay, trading_day
from ibkit.portfolio.statements import covered
from ibkit.portfolio.transactions import Paid, PaymentKind
from ibkit.store.ledgers import SqlLedgers
from ibkit.store.portfolio_days import SqlDays
from ibkit.store.portfolios import SqlPortfolios

__all__ = ["figures_now"]

_INCOME: Final = frozenset(
    {PaymentKind.DIVIDEND, PaymentKind.PAYMENT_IN_LIEU, PaymentKind.WITHHOLDING_TAX, PaymentKind.INTEREST}
)


async def figures_now(
    books: SqlPortfolios,
    days: SqlDays,
    ledgers: SqlLedgers,
    clock: Clock,
    user_id: str,
    portfolio_id: str,
    *,
    as_of: date | None = None,
    since: date | None = None,
    until: date | None = None,
    currency: str | None = None,
    greeks: Mapping[int, Greeks] | None = None,
    benchmark: Mapping[date, float] | None = None,
) -> Analytics:
    """as_of: None for what is held now, by the newest rates. since, until: of the performance; all there is by default.

    currency: the portfolio's by default. greeks: of now, so they count only without `as_of`. NotFound; InvalidRequest
    (E-VALIDATION) for a day that has not come, or days that end before they begin; ConfigError (E-VALIDATION).
    """
    portfolio = await books.get(user_id, portfolio_id)
    into = portfolio.currency if currency is None else check_currency(currency)
    now = clock.now()
    today = now.astimezone(NEW_YORK).date()
    day = trading_day(now) if as_of is None else as_of
    if day > today:
        raise _invalid("as_of", f"{day} has not come yet in New York")
    # Of now the newest snapshot counts, also at a simulator whose day is another.
    newest = date.max if as_of is None else as_of
    last = newest if until is None else until
    if since is not None and since > last:
        raise _invalid("from", f"{since} comes after {last}")
    kept = await days.as_of(user_id, portfolio_id, newest)
    history = await days.worths(user_id, portfolio_id, since or date.min, last)
    linked = {each.name for each in portfolio.accounts if each.link is not None}
    accounts = [_account(each, kept.get(each.name), past=as_of is not None) for each in portfolio.accounts]
    work = partial(
        analyse,
        accounts,
        portfolio.securities,
        into,
        as_of=day,
        history={name: told for name, told in history.items() if told[0] or name in linked},
        income=await _income(ledgers, portfolio, since, min(last, today)),
        greeks=greeks if as_of is None else None,
        benchmark=benchmark,
    )
    return await anyio.to_thread.run_sync(work)  # ten years of many accounts take long enough to hold others up


async def _income(
    ledgers: SqlLedgers, portfolio: Portfolio, since: date | None, until: date
) -> tuple[Income, ...] | None:
    """What the ledgers of all connected accounts tell; None where the statements of one leave days out.

    Days after the newest statement are not told yet, and have no income yet. Without `since` it counts from the first.
    """
    found: list[Income] = []
    linked = [each.name for each in portfolio.accounts if each.link is not None]
    for name in linked:
        of = (portfolio.user_id, portfolio.portfolio_id, name)
        periods = covered(await ledgers.statements(*of))
        begun = [first for first, _ in periods if first <= until]
        if not begun or (since is not None and min(begun) > since):
            return None
        within = [(first, last) for first, last in periods if first <= until and (since is None or last >= since)]
        if len(within) > 1 or (since is not None and within and within[0][0] > since):
            return None
        told = await ledgers.told(*of)
        found += [
            Income(day=each.booked_on, kind=each.kind.value, currency=each.currency, amount=each.amount)
            for each in told.transactions
            if isinstance(each, Paid)
            and each.kind in _INCOME
            and (since is None or since <= each.booked_on)
            and each.booked_on <= until
        ]
    return tuple(found) if linked else None


def _account(account: PortfolioAccount, kept: AccountDay | None, *, past: bool) -> AccountNow:
    """Of a past day the snapshot alone tells; what is held now has the newest snapshot's rates."""
    link = account.link
    now = AccountNow(
        name=account.name,
        day=None,
        currency="" if link is None else link.currency,
        net_liquidation=None if link is None else link.total_value,
        holdings=account.holdings,
        rates=None if kept is None else kept.worth.table,
        by_hand=link is None,
    )
    if not past:
        return now
    if kept is None:
        return replace(now, net_liquidation=None, holdings=(), known=False)
    worth = kept.worth
    return replace(
        now, day=worth.day, currency=worth.currency, net_liquidation=worth.net_liquidation, holdings=kept.holdings
    )


def _invalid(field: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid request: {field}: {why}",
        code="E-VALIDATION",
        remedy="Correct the field named.",
        details={"errors": [{"field": field, "message": why}]},
    )
