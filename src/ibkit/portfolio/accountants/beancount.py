"""A portfolio as a ledger of beancount, in text: what happened where a ledger is kept, else what is held.

Lots are as our ledger has them, commissions inside of their cost; a short lot has a negative number of units. A
contract of many units (an option) is one unit of its commodity: its cost and price are of the whole contract. The
amounts that stand for income are negative, as beancount counts. Source: beancount's language syntax, version 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from ibkit.model import portion
from ibkit.portfolio.accountants.names import Names, account_part, commodity
from ibkit.portfolio.book import Holding, Portfolio, PortfolioAccount, seen_of
from ibkit.portfolio.days import trading_day
from ibkit.portfolio.kinds import IN_PERCENT, SecurityKind
from ibkit.portfolio.ledger import Ledger, Movement, movements
from ibkit.portfolio.lots import Lot
from ibkit.portfolio.transactions import (
    Converted,
    Listed,
    Paid,
    PaymentKind,
    Traded,
    Transaction,
    Transferred,
    cash_of,
    kind_of_transaction,
)

__all__ = ["beancount_of"]

_ZERO: Final = Decimal(0)
_ONE_DAY: Final = timedelta(days=1)
_WHERE: Final = {
    PaymentKind.DIVIDEND: "Income:{}:Dividends",
    PaymentKind.PAYMENT_IN_LIEU: "Income:{}:Payments-In-Lieu",
    PaymentKind.WITHHOLDING_TAX: "Expenses:{}:Withholding-Tax",
    PaymentKind.INTEREST: "Income:{}:Interest",
    PaymentKind.FEE: "Expenses:{}:Fees",
    PaymentKind.COMMISSION_ADJUSTMENT: "Expenses:{}:Commissions",
    PaymentKind.DEPOSIT: "Equity:{}:Paid-In-And-Out",
    PaymentKind.WITHDRAWAL: "Equity:{}:Paid-In-And-Out",
    PaymentKind.OTHER: "Income:{}:Other",
}
_CASH, _REALISED, _PREMIUMS = "Assets:{}:Cash", "Income:{}:Realised", "Equity:{}:Premiums-On-Their-Way"
_COMMISSIONS, _TRANSFERS, _OPENING = "Expenses:{}:Commissions", "Equity:{}:Transfers", "Equity:{}:Opening"


@dataclass(slots=True)
class _Text:
    """names, units: of accounts and commodities. opened: by account, its first day. entries: by day."""

    names: Names = field(default_factory=lambda: Names(account_part))
    units: Names = field(default_factory=lambda: Names(commodity))
    labels: dict[str, str] = field(default_factory=dict)
    opened: dict[str, date] = field(default_factory=dict)
    first: dict[str, date] = field(default_factory=dict)
    described: dict[str, str] = field(default_factory=dict)
    entries: list[tuple[date, int, str]] = field(default_factory=list)

    def account(self, form: str, name: str, day: date) -> str:
        found = form.format(self.names.of(name, name))
        self.opened[found] = min(day, self.opened.get(found, day))
        return found

    def unit(self, conid: int, symbol: str, day: date, said: str = "") -> str:
        """By conid, where IBKR knows it: two listings of one ticker are two commodities."""
        found = self.units.of(conid or symbol, symbol)
        self.first[found] = min(day, self.first.get(found, day))
        self.described.setdefault(found, said or symbol)
        return found

    def cash(self, currency: str, day: date) -> str:
        return self.unit(0, currency, day)

    def put(self, day: date, text: str, rank: int = 1) -> None:
        self.entries.append((day, rank, text))


def beancount_of(
    portfolio: Portfolio, ledgers: Mapping[str, Ledger], without: Mapping[str, str], *, today: date
) -> bytes:
    """ledgers: by account's name; without: why another one has none. today: of what is only held."""
    text = _Text()
    for currency in sorted({portfolio.currency, *(c for ledger in ledgers.values() for c in ledger.cash)}):
        text.units.of(currency, currency)  # before a security that is called alike
    notes = []
    for account in portfolio.accounts:
        ledger = ledgers.get(account.name)
        if ledger is None:
            notes.append(_note(account.name, without.get(account.name, "there is no ledger of it")))
            _held(text, account, today)
        else:
            _life(text, account.name, ledger)
    known = {each.key: each for each in portfolio.securities}
    for account in portfolio.accounts:
        for holding in account.holdings:
            security = known.get((holding.symbol, holding.conid or 0))
            if security is not None and security.name:
                name = text.units.given.get(holding.conid or holding.symbol)
                if name is not None:
                    text.described[name] = security.name
            _price(text, holding, today)
    return _written(text, portfolio, notes).encode()


def _note(account: str, why: str) -> str:
    return (
        f"; {_line(account)}: no ledger is kept of this account ({_line(why)}). What it holds stands as opening\n"
        "; balance, at its average cost where that is known."
    )


# -- an account with a ledger -----------------------------------------------------------------------------------------


def _life(text: _Text, name: str, ledger: Ledger) -> None:
    first = min((each.booked_on for each in ledger.transactions), default=None)
    if first is None:
        return
    moved: dict[str, Decimal] = {}
    for each in ledger.transactions:
        for currency, amount in cash_of(each).items():
            moved[currency] = moved.get(currency, _ZERO) + amount
    opening = {c: amount - moved.get(c, _ZERO) for c, amount in ledger.cash.items() if amount != moved.get(c, _ZERO)}
    if opening:
        lines = [_posting(text.account(_CASH, name, first), a, text.cash(c, first)) for c, a in sorted(opening.items())]
        lines += [
            _posting(text.account(_OPENING, name, first), -a, text.cash(c, first)) for c, a in sorted(opening.items())
        ]
        text.put(first, _transaction(first, "Cash before the first transaction", lines), rank=0)
    book = _Lots(text, name)
    for movement in movements(ledger):
        _entry(text, name, movement, book)
    last = max(each.booked_on for each in ledger.transactions) + _ONE_DAY
    for currency, amount in sorted(ledger.cash.items()):
        _balance(text, last, text.account(_CASH, name, first), amount, text.cash(currency, first))
    for held in ledger.held.values():
        unit = text.unit(held.listed.conid, held.listed.symbol, first)
        _balance(text, last, text.account(_assets(unit), name, first), held.quantity, unit)


def _entry(text: _Text, name: str, movement: Movement, book: _Lots) -> None:
    """One transaction of beancount's; what is left over by our own sums is what was realised, or went elsewhere."""
    head = movement.transactions[0]
    day = head.booked_on
    lines: list[str] = []
    left: dict[str, Decimal] = {}
    for this in movement.transactions:
        lines += _cash(text, name, this, day)
        for currency, amount in cash_of(this).items():
            if not isinstance(this, Converted):
                left[currency] = left.get(currency, _ZERO) + amount
    for listed, before, after in movement.lots:
        lines += book.postings(listed, before, after, day)
        cost = sum((lot.cost for lot in after), _ZERO) - sum((lot.cost for lot in before), _ZERO)
        left[listed.currency] = left.get(listed.currency, _ZERO) + cost
    for closed in movement.closed:
        if closed.realized:
            lines.append(
                _posting(text.account(_REALISED, name, day), -closed.realized, text.cash(closed.currency, day))
            )
            left[closed.currency] = left.get(closed.currency, _ZERO) - closed.realized
    for currency, amount in left.items():
        if amount:
            lines.append(_posting(text.account(_rest(head, currency), name, day), -amount, text.cash(currency, day)))
    if lines:
        text.put(day, _transaction(day, _said(head), lines, head))


def _cash(text: _Text, name: str, this: Transaction, day: date) -> list[str]:
    account = text.account(_CASH, name, day)
    if not isinstance(this, Converted):
        return [_posting(account, amount, text.cash(currency, day)) for currency, amount in cash_of(this).items()]
    other = text.cash(this.other_currency, day)
    total = f" @@ {abs(this.proceeds):f} {other}" if this.proceeds else ""
    lines = [
        _posting(account, this.quantity, text.cash(this.currency, day)) + total,
        _posting(account, this.proceeds, other),
    ]
    if this.commission:
        unit = text.cash(this.commission_currency or this.other_currency, day)
        lines += [_posting(account, this.commission, unit)]
        lines += [_posting(text.account(_COMMISSIONS, name, day), -this.commission, unit)]
    return lines


def _rest(this: Transaction, currency: str) -> str:
    match this:
        case Paid(kind=kind):
            return _WHERE[kind]
        case Traded() if currency != this.listed.currency:
            return _COMMISSIONS
        case Traded():
            return _PREMIUMS
        case _:
            return _TRANSFERS


@dataclass(slots=True)
class _Lots:
    """The lots of an account as the file has them: each with a label, by which what closes it finds it.

    there: by conid and our lot's key, the label and the day that the file gave it.
    """

    text: _Text
    name: str
    there: dict[tuple[int, str], tuple[str, date]] = field(default_factory=dict)
    count: int = 0

    def postings(self, listed: Listed, before: tuple[Lot, ...], after: tuple[Lot, ...], day: date) -> list[str]:
        unit = self.text.unit(listed.conid, listed.symbol, day, listed.description)
        account = self.text.account(_assets(unit), self.name, day)
        old, new = _by_key(before), _by_key(after)
        lines: list[str] = []
        for key, (quantity, cost) in old.items():
            kept, kept_cost = new.get(key, (_ZERO, _ZERO))
            if (kept, kept_cost) == (quantity, cost) or not quantity:
                continue
            at = self.there.get((listed.conid, key))
            assert at is not None, "what is closed was opened"
            if _is_a_part(quantity, cost, kept, kept_cost):
                lines.append(f'{_posting(account, kept - quantity, unit)} {{{at[1]}, "{at[0]}"}}')
                continue
            lines.append(f'{_posting(account, -quantity, unit)} {{{at[1]}, "{at[0]}"}}')
            if kept:
                lines.append(self._opened(account, unit, listed, key, kept, kept_cost, day))
        for key, (quantity, cost) in new.items():
            if quantity and not old.get(key, (_ZERO, _ZERO))[0]:
                lines.append(self._opened(account, unit, listed, key, quantity, cost, day))
        return lines

    def _opened(
        self, account: str, unit: str, listed: Listed, key: str, quantity: Decimal, cost: Decimal, day: date
    ) -> str:
        self.count += 1
        label = f"{self.text.names.of(self.name, self.name)}-{self.count}"
        self.there[listed.conid, key] = label, day
        total = f"{abs(cost):f} {self.text.cash(listed.currency, day)}"
        # A lot whose cost has the other sign (a premium larger than the price) has a cost below zero.
        sign = "-" if cost * quantity < 0 else ""
        return f'{_posting(account, quantity, unit)} {{{{{sign}{total}, {day}, "{label}"}}}}'


def _by_key(lots: Iterable[Lot]) -> dict[str, tuple[Decimal, Decimal]]:
    found: dict[str, tuple[Decimal, Decimal]] = {}
    for lot in lots:
        quantity, cost = found.get(lot.key, (_ZERO, _ZERO))
        found[lot.key] = quantity + lot.quantity, cost + lot.cost
    return found


def _is_a_part(quantity: Decimal, cost: Decimal, kept: Decimal, kept_cost: Decimal) -> bool:
    """Whether what is kept is a smaller piece of the same lot, at the same cost of one."""
    if kept and (kept * quantity < 0 or abs(kept) >= abs(quantity)):
        return False
    return abs(kept_cost * quantity - cost * kept) <= abs(quantity) * Decimal("0.00001")


def _assets(unit: str) -> str:
    return "Assets:{}:" + account_part(unit)


# -- an account that is only held -------------------------------------------------------------------------------------


def _held(text: _Text, account: PortfolioAccount, today: date) -> None:
    lines: list[str] = []
    sums: dict[tuple[str, str], Decimal] = {}
    opening = text.account(_OPENING, account.name, today)
    for holding in account.holdings:
        if not holding.units:
            continue
        if holding.kind is SecurityKind.CASH:
            unit = text.cash(holding.symbol, today)
            at = text.account(_CASH, account.name, today)
        else:
            unit = text.unit(holding.conid or 0, holding.symbol, today)
            at = text.account(_assets(unit), account.name, today)
        sums[at, unit] = sums.get((at, unit), _ZERO) + holding.units
        lines += _opening(text, holding, at, unit, opening, today)
    if not lines:
        return
    text.put(today, _transaction(today, "Opening balance: what is held", lines), rank=0)
    for (at, unit), amount in sorted(sums.items()):
        _balance(text, today + _ONE_DAY, at, amount, unit)


def _opening(text: _Text, holding: Holding, at: str, unit: str, opening: str, today: date) -> list[str]:
    cost = holding.average_cost
    if holding.kind is SecurityKind.CASH or cost is None or cost < 0 or not holding.currency:
        return [_posting(at, holding.units, unit), _posting(opening, -holding.units, unit)]
    currency = text.cash(holding.currency, today)
    worth = holding.units * cost
    return [
        f"{_posting(at, holding.units, unit)} {{{cost:f} {currency}, {today}}}",
        _posting(opening, -worth, currency),
    ]


# -- what both have ---------------------------------------------------------------------------------------------------


def _price(text: _Text, holding: Holding, today: date) -> None:
    if holding.kind is SecurityKind.CASH or holding.market_price is None or not holding.currency:
        return
    unit = text.units.given.get(holding.conid or holding.symbol)
    if unit is None:
        return
    day = today if holding.synced_at is None else trading_day(holding.synced_at)
    price = holding.market_price * holding.multiplier
    if holding.asset_class in IN_PERCENT:
        if holding.market_value is None or not holding.units:
            return
        price = portion(holding.market_value, Decimal(1), holding.units)
    text.put(day, f"{day} price {unit} {price:f} {text.cash(holding.currency, day)}", rank=2)


def _balance(text: _Text, day: date, account: str, amount: Decimal, unit: str) -> None:
    text.put(day, f"{day} balance {account}  {amount:f} {unit}", rank=-1)


def _posting(account: str, amount: Decimal, unit: str) -> str:
    return f"  {account}  {amount:f} {unit}"


def _transaction(day: date, said: str, lines: Iterable[str], of: Transaction | None = None) -> str:
    source = [] if of is None else [f"  ibkr: {_quoted(of.key)}"]
    return "\n".join([f"{day} * {_quoted(said)}", *source, *lines])


def _said(this: Transaction) -> str:
    listed = getattr(this, "listed", None)
    about = getattr(this, "description", "") or ("" if listed is None else listed.symbol)
    match this:
        case Traded():
            return f"{kind_of_transaction(this)}: {this.quantity:f} {this.listed.symbol} at {this.price:f}"
        case Converted():
            return f"{kind_of_transaction(this)}: {this.quantity:f} {this.currency} at {this.price:f}"
        case Transferred() | Paid():
            return f"{kind_of_transaction(this)}: {about}" if about else kind_of_transaction(this)
        case _:
            return f"{kind_of_transaction(this)}: {about}"


def _quoted(text: str) -> str:
    escaped = _line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _line(text: str) -> str:
    return " ".join(seen_of(text.replace("\n", " ").replace("\r", " ").replace("\t", " ")).split())


def _written(text: _Text, portfolio: Portfolio, notes: list[str]) -> str:
    base = text.units.of(portfolio.currency, portfolio.currency)
    parts = [
        f"; {_line(portfolio.name)}, from ibkit. Commissions and taxes of trades are inside of the cost of lots.",
        *notes,
        "",
        f'option "title" {_quoted(portfolio.name)}',
        f'option "operating_currency" "{base}"',
        'option "inferred_tolerance_default" "*:0.00005"',
        "",
        *(f"{day} open {account}" for account, day in sorted(text.opened.items(), key=lambda each: (each[1], each[0]))),
        "",
        *_commodities(text),
    ]
    entries = [entry for _, _, entry in sorted(text.entries, key=lambda each: each[:2])]
    return "\n".join(parts) + "\n\n" + "\n\n".join(entries) + "\n"


def _commodities(text: _Text) -> Iterator[str]:
    for unit, day in sorted(text.first.items()):
        yield f"{day} commodity {unit}"
        if text.described[unit] != unit:
            yield f"  name: {_quoted(text.described[unit])}"
