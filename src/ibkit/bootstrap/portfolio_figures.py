"""The figures of a portfolio out of the books: what is held now or was on a day, and the days between. FUT-05."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Final

import anyio.to_thread

from ibkit.clock import Clock
from ibkit.errors import InvalidRequest
from ibkit.portfolio.analytics.figures import AccountNow, Analytics, Income, analyse
from ibkit.portfolio.analytics.options import Greeks
from ibkit.portfolio.book import Portfolio, PortfolioAccount, check_currency
from ibkit.portfolio.dated_rates import LONGEST_CARRY, DatedAmount, DatedRates, rates_told, realized_amounts
from ibkit.portfolio.days import NEW_YORK, AccountDay, Flows, Worth, trading_day
from ibkit.portfolio.ledger import fold_ledger
from ibkit.portfolio.rates import Rates
from ibkit.portfolio.statements import StatementTold, covered
from ibkit.portfolio.transactions import Paid, PaymentKind
from ibkit.store.ledgers import SqlLedgers, ToldLedger
from ibkit.store.portfolio_days import SqlDays
from ibkit.store.portfolios import SqlPortfolios

__all__ = ["dated_rates", "figures_now"]

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
    worths = await days.worths(user_id, portfolio_id, _earlier(since), last)
    history = {name: (_since(told, since), flows) for name, (told, flows) in worths.items()}
    linked = {each.name for each in portfolio.accounts if each.link is not None}
    accounts = [_account(each, kept.get(each.name), past=as_of is not None) for each in portfolio.accounts]
    results = await _results(ledgers, portfolio, since, min(last, today))
    work = partial(
        analyse,
        accounts,
        portfolio.securities,
        into,
        as_of=day,
        history={name: told for name, told in history.items() if told[0] or name in linked},
        income=results.income,
        realized=results.realized,
        dated=DatedRates.of([*results.rates, *_tables(worths)]),
        greeks=greeks if as_of is None else None,
        benchmark=benchmark,
    )
    return await anyio.to_thread.run_sync(work)  # ten years of many accounts take long enough to hold others up


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """None where the statements of a connected account leave days out: days that none tells of have their amounts, too.

    rates: those that the statements tell.
    """

    income: tuple[Income, ...] | None = None
    realized: tuple[DatedAmount, ...] | None = None
    rates: tuple[Rates, ...] = ()


async def _results(ledgers: SqlLedgers, portfolio: Portfolio, since: date | None, until: date) -> _Results:
    """What the ledgers of all connected accounts tell.

    Days after the newest statement are not told yet, and have no income yet. Without `since` it counts from the first.
    """
    income: list[Income] = []
    realized: list[DatedAmount] = []
    rates: list[Rates] = []
    whole = True
    linked = [each.name for each in portfolio.accounts if each.link is not None]
    for name in linked:
        of = (portfolio.user_id, portfolio.portfolio_id, name)
        statements = await ledgers.statements(*of)
        rates += rates_told(statements)
        whole = whole and _tells(statements, since, until)
        if not whole:
            continue
        told = await ledgers.told(*of)
        income += _income(told, since, until)
        work = partial(_realized, told, since, until)
        realized += await anyio.to_thread.run_sync(work)
    if not linked or not whole:
        return _Results(rates=tuple(rates))
    return _Results(income=tuple(income), realized=tuple(realized), rates=tuple(rates))


def _tells(statements: Sequence[StatementTold], since: date | None, until: date) -> bool:
    periods = covered(statements)
    begun = [first for first, _ in periods if first <= until]
    if not begun or (since is not None and min(begun) > since):
        return False
    within = [(first, last) for first, last in periods if first <= until and (since is None or last >= since)]
    return not (len(within) > 1 or (since is not None and within and within[0][0] > since))


def _income(told: ToldLedger, since: date | None, until: date) -> list[Income]:
    return [
        Income(
            day=each.booked_on,
            kind=each.kind.value,
            currency=each.currency,
            amount=each.amount,
            base=told.rules.base,
            fx_rate=each.fx_rate,
        )
        for each in told.transactions
        if isinstance(each, Paid)
        and each.kind in _INCOME
        and (since is None or since <= each.booked_on)
        and each.booked_on <= until
    ]


def _realized(told: ToldLedger, since: date | None, until: date) -> list[DatedAmount]:
    ledger = fold_ledger(told.account_id, told.transactions, opening=told.opening, rules=told.rules)
    return [amount for _, amount in realized_amounts(ledger, since, until)]


async def dated_rates(
    days: SqlDays,
    ledgers: SqlLedgers,
    portfolio: Portfolio,
    since: date | None = None,
    until: date | None = None,
) -> DatedRates:
    """All that were told of these days, and of those before that may stand for the first."""
    told: list[Rates] = []
    for account in portfolio.accounts:
        told += rates_told(await ledgers.statements(portfolio.user_id, portfolio.portfolio_id, account.name))
    worths = await days.worths(portfolio.user_id, portfolio.portfolio_id, _earlier(since), until or date.max)
    return DatedRates.of([*told, *_tables(worths)])


def _since(worths: Sequence[Worth], since: date | None) -> Sequence[Worth]:
    return worths if since is None else tuple(each for each in worths if each.day >= since)


def _tables(worths: Mapping[str, tuple[Sequence[Worth], Flows]]) -> list[Rates]:
    return [worth.table for of_account, _ in worths.values() for worth in of_account if worth.currency]


def _earlier(since: date | None) -> date:
    return date.min if since is None or since.toordinal() <= LONGEST_CARRY else since - timedelta(LONGEST_CARRY)


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
