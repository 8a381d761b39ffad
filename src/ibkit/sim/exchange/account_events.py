"""What happens to an account without an order: deposits, dividends, tax, interest, fees, splits, conversions.

By hand (`POST /__sim/events`), or by the world itself where the quirk `income` is on: interest on cash on the first
trading day of a month, dividends on the third Friday of March, June, September and December, at the yields of
`universe.py`. When and how much is [sim]; the words of it are those of docs/facts/accounts-and-portfolio.md §6.4.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.model import portion, to_cents
from ibkit.sim.exchange.books import AccountBook, trade_day
from ibkit.sim.exchange.history import CashKind, CashMoved, Converted, Split
from ibkit.sim.market.universe import UNDERLYINGS

if TYPE_CHECKING:
    from ibkit.sim.market.instruments import Instrument
    from ibkit.sim.world import World

__all__ = ["AccountEvents"]

_ZERO, _HUNDRED = Decimal(0), Decimal(100)
_CONVERSION_FEE = Decimal("2.00")
"""Of one conversion, in the account's currency. [sim]"""
_FREE_OF_INTEREST = Decimal(10_000)
_INTEREST_PCT, _DEBIT_PCT = Decimal("3.00"), Decimal("5.50")
"""A year. [sim]"""
_MONTHS = 12
_QUARTERS = (3, 6, 9, 12)


class AccountEvents:
    """Everything here changes the books and appends to the history, or raises ValueError and changes nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._actions = 0

    def cash(
        self, account: str, kind: CashKind, amount: Decimal, *, currency: str | None = None, description: str = ""
    ) -> None:
        """Cash that comes (positive) or goes: a deposit, interest, a fee."""
        book = self._book(account)
        currency = currency or book.currency
        rate = self._world.books.rate(currency, self._world.now)
        if not amount.is_finite() or amount == 0 or amount != to_cents(amount):
            raise ValueError(f"an amount is in whole cents and not nothing, not {amount}")
        self._move(book, kind, amount, currency=currency, description=description or f"{currency} {kind.upper()}")
        if kind == "Deposits/Withdrawals":
            # Money that was brought is no profit of the day.
            book.day_start += amount * rate

    def convert(self, account: str, currency: str, quantity: Decimal, *, rate: Decimal | None = None) -> None:
        """Buy (positive) or sell a currency for the account's own, at today's rate unless told."""
        book, now = self._book(account), self._world.now
        rate = self._world.books.rate(currency, now) if rate is None else rate
        if currency == book.currency or not rate.is_finite() or rate <= 0:
            raise ValueError(f"{currency} cannot be converted at {rate}")
        if not quantity.is_finite() or quantity == 0 or quantity != to_cents(quantity):
            raise ValueError(f"a quantity is in whole cents and not nothing, not {quantity}")
        entry = Converted(
            number=self._world.books.next_number(),
            account=account,
            at=now,
            currency=currency,
            base=book.currency,
            quantity=quantity,
            rate=rate,
            fee=_CONVERSION_FEE,
        )
        for each, amount in entry.cash.items():
            book.move_cash(each, amount)
        book.history.append(entry)
        self._world.books.invalidate(account)

    def dividend(self, symbol: str, per_share: Decimal, *, tax_pct: Decimal = _ZERO, at: datetime | None = None) -> int:
        """Paid at once on what each account holds now; whoever is short pays it. Gives the number of the action."""
        stock = self._stock(symbol)
        if not per_share.is_finite() or per_share <= 0 or not 0 <= tax_pct <= _HUNDRED:
            raise ValueError(f"no dividend is {per_share} with a tax of {tax_pct} %")
        self._actions += 1
        for book in self._world.books.accounts.values():
            shares = book.quantity(stock.conid)
            amount = to_cents(shares * per_share)
            if amount == 0:
                continue
            kind: CashKind = "Dividends" if shares > 0 else "Payment In Lieu Of Dividends"
            what = f"{symbol} CASH DIVIDEND {stock.currency} {per_share.normalize():f} PER SHARE"
            self._move(book, kind, amount, description=what, stock=stock, action=self._actions, at=at)
            tax = -to_cents(portion(amount, tax_pct, _HUNDRED))
            if shares > 0 and tax:
                self._move(
                    book,
                    "Withholding Tax",
                    tax,
                    description=f"{what} - US TAX",
                    stock=stock,
                    action=self._actions,
                    at=at,
                )
        return self._actions

    def split(self, symbol: str, new: int, old: int) -> int:
        """`new` shares for `old`, at once, in every account; the price follows. Gives the number of the action.

        Refused while somebody holds an option on it (what becomes of options is not reproduced), and where an account
        would be left with a part of a share. Working orders on it end.
        """
        stock, world = self._stock(symbol), self._world
        if new < 1 or old < 1 or new == old or max(new, old) > _HUNDRED:
            raise ValueError(f"nothing is split {new} for {old}")
        held = [h.instrument for book in world.books.accounts.values() for h in book.holdings.values() if h.quantity]
        if any(instrument.underlying_conid == stock.conid for instrument in held):
            raise ValueError(f"options on {symbol} are held: their adjustment is not reproduced")
        if any(book.quantity(stock.conid) * new % old for book in world.books.accounts.values()):
            raise ValueError(f"{new} for {old} would leave a part of a share")
        price = world.market.quote(stock.conid, world.now).mark or _ZERO
        for order in list(world.exchange.orders.values()):
            instrument = order.ticket.instrument
            legs = [instrument, *(leg.instrument for leg in instrument.legs)]
            if order.working and any(stock.conid in (each.conid, each.underlying_conid) for each in legs):
                world.exchange.end(order, "cancelled", world.now)
        self._actions += 1
        for book in world.books.accounts.values():
            change = book.split(stock.conid, new, old)
            if change:
                book.history.append(
                    Split(
                        number=world.books.next_number(),
                        account=book.id,
                        at=world.now,
                        instrument=stock,
                        new=new,
                        old=old,
                        change=change,
                        action_id=self._actions,
                    )
                )
                world.books.invalidate(book.id)
        world.market.set_price(
            symbol, max(to_cents(portion(price, Decimal(old), Decimal(new))), Decimal("0.01")), world.now
        )
        return self._actions

    # --- by itself --------------------------------------------------------------------------------------------------

    def at_close(self, at: datetime) -> None:
        """What the world does of itself at the end of a trading day."""
        if not self._world.quirks.income:
            return
        today = trade_day(at)
        if self._world.calendar.previous_day(today).month != today.month:
            self._pay_interest(today, at)
        if today == _third_friday(today) and today.month in _QUARTERS:
            for symbol, row in UNDERLYINGS.items():
                stock = self._world.instruments.by_symbol(symbol)
                if stock is None or stock.sec_type != "STK" or row.dividend <= 0:
                    continue
                price = self._world.market.quote(stock.conid, at).last or _ZERO
                per_share = to_cents(portion(price * Decimal(str(row.dividend)), Decimal(1), Decimal(len(_QUARTERS))))
                if per_share > 0:
                    self.dividend(symbol, per_share, tax_pct=self._world.quirks.dividend_tax_pct, at=at)

    def _pay_interest(self, today: date, at: datetime) -> None:
        for book in self._world.books.accounts.values():
            earning = book.cash - _FREE_OF_INTEREST if book.cash > 0 else book.cash
            pct = _INTEREST_PCT if book.cash > 0 else _DEBIT_PCT
            amount = to_cents(portion(earning, pct, _HUNDRED * _MONTHS))
            if amount == 0 or (book.cash > 0 and amount < 0):
                continue
            kind: CashKind = "Broker Interest Received" if amount > 0 else "Broker Interest Paid"
            month = self._world.calendar.previous_day(today).strftime("%b-%Y").upper()
            word = "CREDIT" if amount > 0 else "DEBIT"
            self._move(book, kind, amount, description=f"{book.currency} {word} INT FOR {month}", at=at)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _move(
        self,
        book: AccountBook,
        kind: CashKind,
        amount: Decimal,
        *,
        description: str,
        currency: str | None = None,
        stock: Instrument | None = None,
        action: int | None = None,
        at: datetime | None = None,
    ) -> None:
        entry = CashMoved(
            number=self._world.books.next_number(),
            account=book.id,
            at=at or self._world.now,
            kind=kind,
            currency=currency or book.currency,
            amount=amount,
            description=description,
            instrument=stock,
            action_id=action,
        )
        book.move_cash(entry.currency, amount)
        book.history.append(entry)
        self._world.books.invalidate(book.id)

    def _book(self, account: str) -> AccountBook:
        if account not in self._world.books.accounts:
            raise ValueError(f"no account is called {account}; there are: {', '.join(self._world.books.accounts)}")
        return self._world.books[account]

    def _stock(self, symbol: str) -> Instrument:
        stock = self._world.instruments.by_symbol(symbol)
        if stock is None or stock.sec_type != "STK" or symbol not in UNDERLYINGS:
            raise ValueError(f"no stock of the simulated market is called {symbol}")
        return stock


def _third_friday(day: date) -> date:
    first = day.replace(day=1)
    return first.replace(day=1 + (4 - first.weekday()) % 7 + 14)
