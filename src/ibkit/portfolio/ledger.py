"""An account as the sum of its transactions: cash, positions, lots, what was realized, at any moment.

Nothing is kept but the transactions; everything here is folded from them, so it can be told as of any past moment. For
each currency, and for all of them together:

    cash = opening cash + realized - cost of what is held + payments + cost of what was transferred in

Rules that no source settles stand in `Rules`: which lots are closed first, and whether the premium of an assigned or
exercised option goes into the cost of the stock (as United States tax rules have it) or is realized with the option
(as our simulator tells it, docs/facts/accounts-and-portfolio.md §6.6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType

from ibkit.model import portion
from ibkit.portfolio.currencies import CurrencyBook, CurrencyGain
from ibkit.portfolio.lots import Closed, Lot, LotOrder, Picks, closed_by, scaled
from ibkit.portfolio.transactions import (
    ActionKind,
    Converted,
    CorporateAction,
    Ending,
    Listed,
    Paid,
    PaymentKind,
    Traded,
    Transaction,
    Transferred,
    cash_of,
    costs_of,
    quantities_of,
)

__all__ = ["Held", "Ledger", "Movement", "Opening", "Rules", "fold_ledger", "movements"]

_ZERO = Decimal(0)
_NOTHING: Mapping[str, Decimal] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """base: the account's own currency, in which gains of the other ones are counted."""

    order: LotOrder = LotOrder.FIFO
    picks: Picks = field(default_factory=dict)
    premium_into_stock: bool = True
    base: str = "USD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Cash before the first transaction, by currency, and the rate of each in the base where it is known."""

    cash: Mapping[str, Decimal] = field(default_factory=dict)
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A position: its lots, oldest first."""

    listed: Listed
    lots: tuple[Lot, ...]

    @property
    def quantity(self) -> Decimal:
        return sum((lot.quantity for lot in self.lots), _ZERO)

    @property
    def cost(self) -> Decimal:
        return sum((lot.cost for lot in self.lots), _ZERO)

    def unrealized(self, price: Decimal | None) -> Decimal | None:
        """At a price of one unit; None where nobody knows it."""
        return None if price is None else self.quantity * price * self.listed.multiplier - self.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """until: what happened later is not in it. struck: a trade and its cancellation, neither of which counts.

    transferred: cost of what came in without a trade (negative: went out), by currency.
    """

    account_id: str
    until: datetime | None
    rules: Rules
    cash: Mapping[str, Decimal]
    held: Mapping[int, Held]
    closed: tuple[Closed, ...]
    transactions: tuple[Transaction, ...]
    struck: tuple[Transaction, ...]
    currency_gains: tuple[CurrencyGain, ...]
    transferred: Mapping[str, Decimal]

    def realized(self, first: date | None = None, last: date | None = None) -> dict[str, Decimal]:
        """By currency, of what the statements of these days tell, both inclusive."""
        sums: dict[str, Decimal] = {}
        for each in self.closed:
            if _within(each.booked_on, first, last):
                sums[each.currency] = sums.get(each.currency, _ZERO) + each.realized
        return sums

    def paid(self, first: date | None = None, last: date | None = None) -> dict[PaymentKind, dict[str, Decimal]]:
        """What came and went without a trade, by kind and currency."""
        sums: dict[PaymentKind, dict[str, Decimal]] = {}
        for each in self.transactions:
            if isinstance(each, Paid) and _within(each.booked_on, first, last):
                of_kind = sums.setdefault(each.kind, {})
                of_kind[each.currency] = of_kind.get(each.currency, _ZERO) + each.amount
        return sums

    def commissions(self, first: date | None = None, last: date | None = None) -> dict[str, Decimal]:
        """Commissions and taxes of trades by currency, negative for what was paid."""
        sums: dict[str, Decimal] = {}
        for each in self.transactions:
            if not isinstance(each, Traded | Converted) or not _within(each.booked_on, first, last):
                continue
            for currency, amount in costs_of(each).items():
                sums[currency] = sums.get(currency, _ZERO) + amount
        return sums

    def gains_of_currencies(self, first: date | None = None, last: date | None = None) -> dict[str, Decimal | None]:
        """Realized by exchange rates in the base currency; None for a currency of which a rate is not known."""
        sums: dict[str, Decimal | None] = {}
        for each in self.currency_gains:
            if _within(each.booked_on, first, last):
                before = sums.get(each.currency, _ZERO)
                sums[each.currency] = None if before is None or each.gain is None else before + each.gain
        return sums

    def cost(self) -> dict[str, Decimal]:
        """Of what is held, by currency."""
        sums: dict[str, Decimal] = {}
        for held in self.held.values():
            sums[held.listed.currency] = sums.get(held.listed.currency, _ZERO) + held.cost
        return sums


def _within(day: date, first: date | None, last: date | None) -> bool:
    return (first is None or first <= day) and (last is None or day <= last)


def fold_ledger(
    account_id: str,
    transactions: Iterable[Transaction],
    *,
    opening: Opening | None = None,
    rules: Rules | None = None,
    until: datetime | None = None,
) -> Ledger:
    """transactions: of one account, each once (`merging`), in any order. until: inclusive."""
    rules, opening = rules or Rules(), opening or Opening()
    known = sorted((each for each in transactions if each.account_id == account_id), key=lambda each: each.order)
    counted, struck = _without_cancelled([each for each in known if until is None or each.at <= until])
    fold = _Fold(rules, opening, pairs=_deliveries(counted) if rules.premium_into_stock else {})
    for group in _groups(counted, fold.pairs):
        fold.add(group)
    return Ledger(
        account_id=account_id,
        until=until,
        rules=rules,
        cash=fold.cash,
        held={
            conid: Held(listed=fold.listed[conid], lots=tuple(lots))
            for conid, lots in sorted(fold.lots.items())
            if lots
        },
        closed=tuple(fold.closed),
        transactions=tuple(counted),
        struck=tuple(struck),
        currency_gains=tuple(fold.currencies.gains),
        transferred=fold.transferred,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What is booked together, and what it did: lots of each listing before and after, and the parts that it closed."""

    transactions: tuple[Transaction, ...]
    lots: tuple[tuple[Listed, tuple[Lot, ...], tuple[Lot, ...]], ...]
    closed: tuple[Closed, ...]


def movements(ledger: Ledger) -> tuple[Movement, ...]:
    """The ledger's life step by step, in the order in which it was folded."""
    fold = _Fold(
        ledger.rules, Opening(), pairs=_deliveries(ledger.transactions) if ledger.rules.premium_into_stock else {}
    )
    found = []
    for group in _groups(ledger.transactions, fold.pairs):
        conids = dict.fromkeys(conid for this in group for conid in _touched(this))
        before = {conid: tuple(fold.lots.get(conid, ())) for conid in conids}
        closed = len(fold.closed)
        fold.add(group)
        lots = tuple((fold.listed[conid], before[conid], tuple(fold.lots[conid])) for conid in conids)
        found.append(Movement(transactions=tuple(group), lots=lots, closed=tuple(fold.closed[closed:])))
    return tuple(found)


def _touched(this: Transaction) -> Iterable[int]:
    """Of which listings it may change lots, by conid."""
    if isinstance(this, Transferred) and this.listed is not None and this.cost:
        return (this.listed.conid,)
    return quantities_of(this)


def _without_cancelled(ordered: Sequence[Transaction]) -> tuple[list[Transaction], list[Transaction]]:
    """A trade that IBKR took back never was: the lots are those of a life without it.

    It is found by the ids that the cancellation names, else as the latest earlier one of the same size and price. One
    whose trade is not known is counted as it stands.
    """
    gone: set[str] = set()
    numbers: dict[str, list[int]] = {}
    for index, each in enumerate(ordered):
        if isinstance(each, Traded | Converted) and each.is_cancellation:
            named = sorted(number for each_id in each.cancels for number in numbers.get(each_id, ()))
            target = next((ordered[number] for number in named if ordered[number].key not in gone), None)
            if target is None:
                earlier = (ordered[number] for number in range(index - 1, -1, -1))
                target = next((e for e in earlier if e.key not in gone and _mirrors(each, e)), None)
            if target is not None:
                gone |= {each.key, target.key}
        for each_id in each.ids:
            numbers.setdefault(each_id, []).append(index)
    return [e for e in ordered if e.key not in gone], [e for e in ordered if e.key in gone]


def _mirrors(cancelling: Traded | Converted, other: Transaction) -> bool:
    if isinstance(other, Traded | Converted) and other.is_cancellation:
        return False
    match cancelling, other:
        case Traded(), Traded():
            same = cancelling.listed.conid == other.listed.conid and cancelling.price == other.price
            return same and cancelling.quantity == -other.quantity
        case Converted(), Converted():
            same = cancelling.pair == other.pair and cancelling.price == other.price
            return same and cancelling.quantity == -other.quantity
        case _:
            return False


def _deliveries(ordered: Sequence[Transaction]) -> dict[str, str]:
    """By the key of a stock's side, that of the option whose end it is: told by its id, else found by its size.

    By size it is one of the same underlying and day, for as many shares as the contracts are for, at its strike.
    """
    endings = [
        (number, each)
        for number, each in enumerate(ordered)
        if isinstance(each, Traded) and each.ending in (Ending.ASSIGNMENT, Ending.EXERCISE)
    ]
    by_id: dict[object, deque[tuple[int, Traded]]] = {}
    by_size: dict[object, deque[tuple[int, Traded]]] = {}
    for number, option in endings:
        for each_id in option.ids:
            by_id.setdefault(each_id, deque()).append((number, option))
        listed = option.listed
        size = (listed.underlying_conid, option.day, abs(option.quantity) * listed.multiplier, listed.strike)
        by_size.setdefault(size, deque()).append((number, option))
    pairs: dict[str, str] = {}
    taken: set[str] = set()

    def first_of(*queues: deque[tuple[int, Traded]] | None) -> Traded | None:
        heads = []
        for queue in queues:
            while queue and queue[0][1].key in taken:
                queue.popleft()
            if queue:
                heads.append(queue[0])
        return min(heads, key=lambda head: head[0])[1] if heads else None

    for stock in ordered:
        if not isinstance(stock, Traded) or not stock.delivery:
            continue
        if stock.related:
            found = first_of(by_id.get(stock.related))
        else:
            alike = (stock.listed.conid, stock.day, abs(stock.quantity))
            found = first_of(by_size.get((*alike, stock.price)), by_size.get((*alike, None)))
        if found is not None:
            pairs[stock.key] = found.key
            taken.add(found.key)
    return pairs


def _groups(ordered: Sequence[Transaction], pairs: Mapping[str, str]) -> list[list[Transaction]]:
    """What is booked together: an option's end before its stock, and all rows of one corporate action."""
    by_key = {each.key: each for each in ordered}
    actions: dict[tuple[str, date], list[Transaction]] = {}
    for each in ordered:
        if isinstance(each, CorporateAction) and each.action_id:
            actions.setdefault((each.action_id, each.booked_on), []).append(each)
    done: set[str] = set()
    groups: list[list[Transaction]] = []
    for each in ordered:
        if each.key in done:
            continue
        group = [each]
        if isinstance(each, CorporateAction) and each.action_id:
            group = actions[each.action_id, each.booked_on]
        elif each.key in pairs and pairs[each.key] not in done:
            groups.append([by_key[pairs[each.key]]])
            done.add(pairs[each.key])
        groups.append(group)
        done |= {member.key for member in group}
    return groups


@dataclass(slots=True)
class _Fold:
    """pairs: see `_deliveries`. premiums: of options that ended, by their keys, until the stock takes them."""

    rules: Rules
    opening: Opening
    pairs: Mapping[str, str]
    cash: dict[str, Decimal] = field(init=False)
    lots: dict[int, list[Lot]] = field(default_factory=dict)
    listed: dict[int, Listed] = field(default_factory=dict)
    closed: list[Closed] = field(default_factory=list)
    transferred: dict[str, Decimal] = field(default_factory=dict)
    premiums: dict[str, Decimal] = field(default_factory=dict)
    currencies: CurrencyBook = field(init=False)
    going_over: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.going_over = frozenset(self.pairs.values())
        self.cash = dict(self.opening.cash)
        self.currencies = CurrencyBook(self.rules.base)
        for currency, amount in self.opening.cash.items():
            self.currencies.begin(currency, amount, self.opening.rates.get(currency), self.opening.at)

    def add(self, group: Sequence[Transaction]) -> None:
        for this in group:
            for currency, amount in cash_of(this).items():
                self.cash[currency] = self.cash.get(currency, _ZERO) + amount
            self.currencies.add(this)
        match group[0]:
            case Traded() as trade:
                self._trade(trade)
            case Transferred(listed=Listed() as listed) as transfer if transfer.quantity:
                self._transfer(transfer, listed)
            case Transferred(listed=Listed() as listed) as transfer if transfer.cost:
                self._recost(transfer, listed)
            case CorporateAction():
                self._act([each for each in group if isinstance(each, CorporateAction)])
            case _:
                pass

    def _lots(self, listed: Listed) -> list[Lot]:
        self.listed[listed.conid] = listed
        return self.lots.setdefault(listed.conid, [])

    def _quantity(self, listed: Listed) -> Decimal:
        return sum((lot.quantity for lot in self.lots.get(listed.conid, ())), _ZERO)

    def _trade(self, this: Traded) -> None:
        lots = self._lots(this.listed)
        own = (this.commission_currency or this.listed.currency) == this.listed.currency
        # A commission in another currency cannot be inside of the cost; it stands among the commissions.
        paid = -(this.proceeds + this.taxes + ((this.commission or _ZERO) if own else _ZERO))
        paid += self.premiums.pop(self.pairs.get(this.key, ""), _ZERO)
        closing = closed_by(
            lots,
            quantity=this.quantity,
            paid=paid,
            order=self.rules.order,
            picks=self.rules.picks.get(this.key, ()),
        )
        goes_over = this.key in self.going_over
        if goes_over:
            self.premiums[this.key] = sum((cost - proceeds for _, _, cost, proceeds in closing.parts), _ZERO)
        for lot, quantity, cost, proceeds in closing.parts:
            self._close(this, this.listed, lot, quantity, cost, cost if goes_over else proceeds)
        if closing.left:
            self._open(lots, this, closing.left, closing.cost_left)

    def _transfer(self, this: Transferred, listed: Listed) -> None:
        """What leaves realizes nothing: its own cost leaves with it."""
        lots = self._lots(listed)
        closing = closed_by(lots, quantity=this.quantity, paid=_ZERO, order=self.rules.order)
        moved = -sum((cost for _, _, cost, _ in closing.parts), _ZERO)
        if closing.left:
            cost = portion(this.cost, closing.left, this.quantity)
            moved += cost
            self._open(lots, this, closing.left, cost)
        self._came(listed, moved)

    def _recost(self, this: Transferred, listed: Listed) -> None:
        """What is held cost so much more (negative: less) than was known, each lot by its size."""
        lots, whole, left = self._lots(listed), self._quantity(listed), this.cost
        if not whole:
            return
        for index, lot in enumerate(lots):
            more = left if index == len(lots) - 1 else portion(this.cost, lot.quantity, whole)
            left -= more
            lots[index] = replace(lot, cost=lot.cost + more)
        self._came(listed, this.cost)

    def _came(self, listed: Listed, cost: Decimal) -> None:
        self.transferred[listed.currency] = self.transferred.get(listed.currency, _ZERO) + cost

    def _act(self, rows: Sequence[CorporateAction]) -> None:
        """All rows of one action: what leaves first, then what comes in its place takes its cost."""
        leaving = [row for row in rows if row.quantity * self._quantity(row.listed) < 0 and not self._is_scaling(row)]
        arriving = [row for row in rows if row not in leaving and row.quantity and not self._is_scaling(row)]
        gone: list[Lot] = []
        for row in leaving:
            gone += self._leave(row, goes_over=bool(arriving))
        for row in rows:
            if self._is_scaling(row):
                lots = self._lots(row.listed)
                lots[:] = scaled(lots, self._quantity(row.listed) + row.quantity)
                self._cash_of_action(row, row.proceeds)
            elif row in arriving:
                self._arrive(row, gone)
                gone = []
            elif row not in leaving:
                self._cash_of_action(row, row.proceeds)

    def _is_scaling(self, row: CorporateAction) -> bool:
        held = self._quantity(row.listed)
        scales = row.kind in (ActionKind.SPLIT, ActionKind.STOCK_DIVIDEND)
        return scales and held != 0 and (held + row.quantity) * held > 0

    def _leave(self, this: CorporateAction, *, goes_over: bool) -> list[Lot]:
        """The lots that go, where their cost goes over to something else; without that they are sold for the cash."""
        lots = self._lots(this.listed)
        closing = closed_by(lots, quantity=this.quantity, paid=_ZERO, order=self.rules.order)
        if closing.left:
            self._open(lots, this, closing.left, _ZERO)
        whole = sum((quantity for _, quantity, _, _ in closing.parts), _ZERO)
        # Cash beside what comes: what the statement says it realized; the rest lowers the cost that goes over.
        realized = this.told_realized or _ZERO
        if goes_over and this.proceeds:
            self._cash_of_action(this, realized)
        lowered = this.proceeds - realized if goes_over and this.proceeds else _ZERO
        gone: list[Lot] = []
        cash_left, lowered_left = this.proceeds, lowered
        for index, (lot, quantity, cost, _) in enumerate(closing.parts):
            last = index == len(closing.parts) - 1
            if goes_over:
                part = lowered_left if last else portion(lowered, quantity, whole)
                lowered_left -= part
                gone.append(replace(lot, quantity=quantity, cost=cost - part))
            else:
                part = cash_left if last else portion(this.proceeds, quantity, whole)
                cash_left -= part
                self._close(this, this.listed, lot, quantity, cost, part)
        return gone

    def _arrive(self, this: CorporateAction, gone: Sequence[Lot]) -> None:
        lots = self._lots(this.listed)
        if gone:
            lots += scaled(gone, this.quantity)
        else:
            # Nothing was paid for it: what it costs is what came in without a trade.
            self._open(lots, this, this.quantity, this.told_cost or _ZERO)
            self._came(this.listed, this.told_cost or _ZERO)
        self._cash_of_action(this, this.proceeds)

    def _cash_of_action(self, this: CorporateAction, amount: Decimal) -> None:
        if amount:
            nothing = Lot(quantity=_ZERO, cost=_ZERO, opened_at=this.at, opened_on=this.day, key=this.key)
            self._close(this, this.listed, nothing, _ZERO, _ZERO, amount)

    def _open(self, lots: list[Lot], this: Transaction, quantity: Decimal, cost: Decimal) -> None:
        lots.append(Lot(quantity=quantity, cost=cost, opened_at=this.at, opened_on=this.day, key=this.key))

    def _close(
        self, this: Transaction, listed: Listed, lot: Lot, quantity: Decimal, cost: Decimal, proceeds: Decimal
    ) -> None:
        self.closed.append(
            Closed(
                conid=listed.conid,
                symbol=listed.symbol,
                currency=listed.currency,
                quantity=quantity,
                cost=cost,
                proceeds=proceeds,
                opened_on=lot.opened_on,
                opened_by=lot.key,
                closed_at=this.at,
                booked_on=this.booked_on,
                closed_by=this.key,
            )
        )
