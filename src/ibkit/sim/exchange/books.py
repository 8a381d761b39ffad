"""What each account owns: cash, positions at average cost with the commission inside, profit and loss, margin.

One identity holds at every moment, to the last digit:

    cash = starting cash + all that was realized - the cost of what is held + holdings transferred in + other flows

where the cost of a short position is negative (what its sale brought, less commission), and the other flows are
dividends, deposits, interest, fees and what was converted. What happened stands in `history`.
Source: docs/facts/accounts-and-portfolio.md §1.4, §2.3, §2.4, §3.1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ibkit.model import portion, to_cents
from ibkit.sim.exchange.history import HistoryEntry
from ibkit.sim.exchange.margin import Held, margin_of
from ibkit.sim.market.universe import FX_RATES

if TYPE_CHECKING:
    from ibkit.sim.exchange.tickets import Side
    from ibkit.sim.market.instruments import Instrument
    from ibkit.sim.world import World

__all__ = [
    "AccountBook",
    "AccountValues",
    "Books",
    "CurrencyBalance",
    "Holding",
    "Portfolio",
    "PositionView",
    "commission",
    "trade_day",
]

_NEW_YORK = ZoneInfo("America/New_York")
_ZERO = Decimal(0)
_RATES = {"OPT": Decimal("0.65"), "STK": Decimal("0.005")}
_MINIMUM = Decimal("1.00")
_RATE = Decimal("0.00001")
_BUYING_POWER = 4
"""Times available funds: the recorded summary's ratio (994831 to 3979324)."""


def trade_day(at: datetime) -> date:
    """The New York day that an instant belongs to."""
    return at.astimezone(_NEW_YORK).date()


def commission(instrument: Instrument, quantity: Decimal) -> Decimal:
    """What an order pays in all once `quantity` of it is filled. Source: docs/facts/orders.md §5 [sim].

    A combo pays for every contract of its legs, and the minimum once.
    """
    legs = instrument.legs
    rate = sum((abs(leg.ratio) * _RATES[leg.instrument.sec_type] for leg in legs), _ZERO) if legs else None
    return max(_MINIMUM, (_RATES[instrument.sec_type] if rate is None else rate) * quantity)


@dataclass(slots=True, eq=False)
class Holding:
    """quantity and cost are signed; realized: by trade day."""

    instrument: Instrument
    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO
    realized: defaultdict[date, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


@dataclass(slots=True, eq=False)
class AccountBook:
    """transfers: cost of holdings that came in without a trade. day_start: net liquidation at the last close.

    flows: cash of the account's currency that moved without a trade. foreign: cash in other currencies.
    """

    id: str
    currency: str
    started_with: Decimal
    cash: Decimal
    day_start: Decimal
    holdings: dict[int, Holding] = field(default_factory=dict)
    transfers: Decimal = _ZERO
    commissions: Decimal = _ZERO
    combos: dict[tuple[tuple[int, int], ...], Decimal] = field(default_factory=dict)
    """What was traded as one, net: see `combo_positions.py`."""
    flows: Decimal = _ZERO
    foreign: dict[str, Decimal] = field(default_factory=dict)
    history: list[HistoryEntry] = field(default_factory=list)

    def quantity(self, conid: int) -> Decimal:
        holding = self.holdings.get(conid)
        return holding.quantity if holding else _ZERO

    def trade(
        self, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal, fee: Decimal, day: date
    ) -> Decimal:
        """Book one fill; gives what it realized.

        A fill that turns a position round closes the old one and opens the new one; the fee is shared by size.
        """
        signed = quantity if side == "BUY" else -quantity
        holding = self.holdings.setdefault(instrument.conid, Holding(instrument))
        closing = min(quantity, abs(holding.quantity)) if holding.quantity * signed < 0 else _ZERO
        value = price * instrument.multiplier
        sign = 1 if signed > 0 else -1
        realized = _ZERO
        if closing:
            fee_closing = portion(fee, closing, quantity)
            basis = portion(holding.cost, closing, abs(holding.quantity))
            realized = -sign * closing * value - fee_closing - basis
            holding.cost -= basis
            holding.realized[day] += realized
        else:
            fee_closing = _ZERO
        opening = quantity - closing
        if opening:
            holding.cost += sign * opening * value + (fee - fee_closing)
        holding.quantity += signed
        self.cash -= signed * value + fee
        self.commissions += fee
        assert holding.quantity != 0 or holding.cost == 0, "a closed position keeps no cost"
        return realized

    def transfer(self, instrument: Instrument, quantity: Decimal, price: Decimal) -> None:
        """A holding comes in (or, with a negative quantity, goes out) at a price, without cash."""
        holding = self.holdings.setdefault(instrument.conid, Holding(instrument))
        cost = quantity * price * instrument.multiplier
        holding.quantity += quantity
        holding.cost += cost
        self.transfers += cost

    def move_cash(self, currency: str, amount: Decimal) -> None:
        """Cash comes in (or, negative, goes out) without a trade."""
        if currency == self.currency:
            self.cash += amount
            self.flows += amount
        else:
            self.foreign[currency] = self.foreign.get(currency, _ZERO) + amount

    def split(self, conid: int, new: int, old: int) -> Decimal:
        """`new` shares for `old` at the same cost; gives what came or went. Raises ValueError for parts of a share."""
        holding = self.holdings.get(conid)
        if holding is None or holding.quantity == 0:
            return _ZERO
        whole, rest = divmod(holding.quantity * new, old)
        if rest:
            raise ValueError(f"{holding.quantity} shares of {self.id} split {new} for {old} leave parts of a share")
        change = whole - holding.quantity
        holding.quantity = whole
        return change

    @property
    def balanced(self) -> bool:
        """The identity of this module."""
        realized = sum((sum(h.realized.values(), _ZERO) for h in self.holdings.values()), _ZERO)
        cost = sum((h.cost for h in self.holdings.values()), _ZERO)
        return self.cash == self.started_with + realized - cost + self.transfers + self.flows


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """A position at one moment. average_cost: per contract; average_price: per unit; realized: today's."""

    instrument: Instrument
    quantity: Decimal
    cost: Decimal
    mark: Decimal
    realized: Decimal

    @property
    def average_cost(self) -> Decimal:
        return portion(self.cost, Decimal(1), self.quantity)

    @property
    def average_price(self) -> Decimal:
        return portion(self.cost, Decimal(1), self.quantity * self.instrument.multiplier)

    @property
    def exact_value(self) -> Decimal:
        return self.quantity * self.mark * self.instrument.multiplier

    @property
    def market_value(self) -> Decimal:
        return to_cents(self.exact_value)

    @property
    def unrealized(self) -> Decimal:
        return to_cents(self.market_value - self.cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountValues:
    """An account in figures, to the cent, in its currency."""

    cash: Decimal
    stock_value: Decimal
    option_value: Decimal
    gross_position_value: Decimal
    net_liquidation: Decimal
    margin: Decimal
    available_funds: Decimal
    buying_power: Decimal
    unrealized: Decimal
    realized: Decimal
    day_pnl: Decimal
    previous_equity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyBalance:
    """Cash in one currency; rate: units of the account's currency for one."""

    currency: str
    cash: Decimal
    rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Positions and values of one account, seen at the same moment. balances: the account's own currency first."""

    account: str
    currency: str
    at: datetime
    positions: tuple[PositionView, ...]
    values: AccountValues
    balances: tuple[CurrencyBalance, ...] = ()


class Books:
    """The books of all accounts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cached: dict[str, Portfolio] = {}
        self._rates: list[tuple[datetime, str, Decimal]] = []
        self._numbers = 0
        self.accounts: dict[str, AccountBook] = {
            account.id: AccountBook(
                id=account.id,
                currency=account.currency,
                started_with=account.cash,
                cash=account.cash,
                day_start=account.cash,
            )
            for account in world.accounts.values()
        }

    def __getitem__(self, account_id: str) -> AccountBook:
        return self.accounts[account_id]

    def portfolio(self, account_id: str, at: datetime) -> Portfolio:
        """As it is at this moment."""
        book = self.accounts[account_id]
        day = trade_day(at)
        positions = tuple(
            PositionView(
                instrument=holding.instrument,
                quantity=holding.quantity,
                cost=holding.cost,
                mark=self._mark(holding.instrument.conid, at),
                realized=holding.realized.get(day, _ZERO),
            )
            for holding in sorted(book.holdings.values(), key=lambda h: h.instrument.conid)
            if holding.quantity != 0
        )
        return Portfolio(
            account=account_id,
            currency=book.currency,
            at=at,
            positions=positions,
            values=self._values(book, positions, at),
            balances=(
                CurrencyBalance(currency=book.currency, cash=to_cents(book.cash), rate=Decimal(1)),
                *(
                    CurrencyBalance(currency=currency, cash=to_cents(cash), rate=self.rate(currency, at))
                    for currency, cash in sorted(book.foreign.items())
                    if cash
                ),
            ),
        )

    # --- currencies and history ----------------------------------------------------------------------------------

    def rate(self, currency: str, at: datetime, base: str = "USD") -> Decimal:
        """Units of `base` for one of `currency`; constant unless set. Raises ValueError for an unknown currency."""
        if currency == base:
            return Decimal(1)
        if currency not in FX_RATES or base != "USD":
            raise ValueError(f"no rate of {currency} in {base}; there are: {', '.join(FX_RATES)}")
        told = [rate for since, name, rate in self._rates if name == currency and since <= at]
        return told[-1] if told else portion(Decimal(1), Decimal(1), FX_RATES[currency]).quantize(_RATE)

    def set_rate(self, currency: str, rate: Decimal, at: datetime) -> None:
        """From `at` on a currency is worth that much. Raises ValueError for what cannot be."""
        self.rate(currency, at)
        if currency == "USD" or not rate.is_finite() or rate <= 0:
            raise ValueError(f"{currency} cannot be worth {rate}")
        self._rates.append((at, currency, rate))
        self._cached.clear()

    def next_number(self) -> int:
        """The number of the next entry in any history."""
        self._numbers += 1
        return self._numbers

    def _cash(self, book: AccountBook, at: datetime) -> Decimal:
        """All of an account's cash in its own currency."""
        foreign = ((cash, self.rate(currency, at)) for currency, cash in book.foreign.items() if cash)
        return book.cash + sum((cash * rate for cash, rate in foreign), _ZERO)

    def cached_portfolio(self, account_id: str, at: datetime) -> Portfolio:
        """As /portfolio shows it: up to `portfolio_cache_s` old. Source: accounts-and-portfolio.md §3.3."""
        kept = self._cached.get(account_id)
        if kept is not None and 0 <= (at - kept.at).total_seconds() < self._world.quirks.portfolio_cache_s:
            return kept
        fresh = self._cached[account_id] = self.portfolio(account_id, at)
        return fresh

    def invalidate(self, account_id: str) -> None:
        self._cached.pop(account_id, None)

    def margin_with(
        self, account_id: str, at: datetime, trades: Iterable[tuple[Instrument, Decimal, Decimal, Decimal]]
    ) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Equity and margin now, then both after hypothetical trades, to the cent.

        trades: instrument, signed quantity, price, fee.
        """
        book = self.accounts[account_id]
        quantities = {conid: h.quantity for conid, h in book.holdings.items() if h.quantity != 0}
        instruments = {conid: h.instrument for conid, h in book.holdings.items()}
        now_equity, now_margin = self._equity_and_margin(self._cash(book, at), quantities, instruments, at)
        cash = self._cash(book, at)
        for instrument, signed, price, fee in trades:
            instruments[instrument.conid] = instrument
            quantities[instrument.conid] = quantities.get(instrument.conid, _ZERO) + signed
            cash -= signed * price * instrument.multiplier + fee
        equity, margin = self._equity_and_margin(cash, quantities, instruments, at)
        return now_equity, now_margin, equity, margin

    def close_day(self, at: datetime) -> None:
        """Keep each account's value at the close: tomorrow's profit and loss counts from it."""
        for account_id, book in self.accounts.items():
            book.day_start = self.portfolio(account_id, at).values.net_liquidation

    def as_dict(self, at: datetime) -> dict[str, Any]:
        """For the world dump."""
        return {account_id: self._dump(account_id, at) for account_id in self.accounts}

    def _dump(self, account_id: str, at: datetime) -> dict[str, Any]:
        seen = self.portfolio(account_id, at)
        return {
            "currency": seen.currency,
            "cash": self.accounts[account_id].cash,
            "net_liquidation": seen.values.net_liquidation,
            "margin": seen.values.margin,
            "commissions": self.accounts[account_id].commissions,
            "foreign": dict(self.accounts[account_id].foreign),
            "positions": [
                {
                    "conid": view.instrument.conid,
                    "quantity": view.quantity,
                    "cost": view.cost,
                    "mark": view.mark,
                    "market_value": view.market_value,
                    "unrealized": view.unrealized,
                    "realized_today": view.realized,
                }
                for view in seen.positions
            ],
        }

    def _mark(self, conid: int, at: datetime) -> Decimal:
        return self._world.market.quote(conid, at).mark or _ZERO

    def _held(self, instrument: Instrument, quantity: Decimal, at: datetime) -> Held:
        underlying = _ZERO
        if instrument.underlying_conid is not None:
            underlying = self._mark(instrument.underlying_conid, at)
        return Held(instrument, quantity, self._mark(instrument.conid, at), underlying)

    def _equity_and_margin(
        self, cash: Decimal, quantities: dict[int, Decimal], instruments: dict[int, Instrument], at: datetime
    ) -> tuple[Decimal, Decimal]:
        held = [self._held(instruments[conid], quantity, at) for conid, quantity in quantities.items()]
        value = sum((to_cents(h.quantity * h.mark * h.instrument.multiplier) for h in held), _ZERO)
        return to_cents(cash + value), to_cents(margin_of(held))

    def _values(self, book: AccountBook, positions: tuple[PositionView, ...], at: datetime) -> AccountValues:
        cash = to_cents(self._cash(book, at))
        stock = sum((p.market_value for p in positions if p.instrument.sec_type != "OPT"), _ZERO)
        option = sum((p.market_value for p in positions if p.instrument.sec_type == "OPT"), _ZERO)
        margin = to_cents(margin_of(self._held(p.instrument, p.quantity, at) for p in positions))
        net = cash + stock + option
        available = net - margin
        day = trade_day(at)
        realized = sum((h.realized.get(day, _ZERO) for h in book.holdings.values()), _ZERO)
        return AccountValues(
            cash=cash,
            stock_value=stock,
            option_value=option,
            gross_position_value=sum((abs(p.market_value) for p in positions), _ZERO),
            net_liquidation=net,
            margin=margin,
            available_funds=available,
            buying_power=max(_ZERO, available * _BUYING_POWER),
            unrealized=sum((p.unrealized for p in positions), _ZERO),
            realized=to_cents(realized),
            day_pnl=net - to_cents(book.day_start),
            previous_equity=to_cents(book.day_start),
        )
