"""Deposits, dividends, splits, conversions, exercises: books, history and what the API shows of them agree."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desks import Desk
from ibkit.sim.exchange.history import CashMoved, Converted, Split, Traded, TransferredIn

pytestmark = pytest.mark.requirement("TST-01", "TRD-03")


def buy(desk: Desk, shares: str, price: str = "600.00") -> None:
    order = desk.exchange.enter_external(desk.account, stock_ticket(desk, shares), desk.now)
    if order.working:
        desk.exchange.fill(order.id, Decimal(price), None, desk.now)


def stock_ticket(desk: Desk, shares: str):
    from ibkit.sim.exchange.tickets import read_ticket

    side = "BUY" if Decimal(shares) > 0 else "SELL"
    row = {"conid": 756733, "side": side, "quantity": abs(int(shares)), "orderType": "LMT", "tif": "GTC"}
    return read_ticket({**row, "price": Decimal(1) if side == "BUY" else Decimal(9000)}, desk.world.instruments)


def cash_by_history(desk: Desk, account: str | None = None) -> dict[str, Decimal]:
    book = desk.world.books[account or desk.account]
    cash = {book.currency: book.started_with}
    for entry in book.history:
        for currency, amount in entry.cash.items():
            cash[currency] = cash.get(currency, Decimal(0)) + amount
    return cash


def agree(desk: Desk) -> None:
    """The books are the sum of their history, and balance."""
    for account, book in desk.world.books.accounts.items():
        assert book.balanced
        assert cash_by_history(desk, account) == {book.currency: book.cash, **book.foreign}
        held: dict[int, Decimal] = {}
        for entry in book.history:
            match entry:
                case Traded():
                    held[entry.instrument.conid] = held.get(entry.instrument.conid, Decimal(0)) + entry.signed
                case TransferredIn():
                    held[entry.instrument.conid] = held.get(entry.instrument.conid, Decimal(0)) + entry.quantity
                case Split():
                    held[entry.instrument.conid] += entry.change
                case _:
                    pass
        assert {conid: n for conid, n in held.items() if n} == {
            conid: h.quantity for conid, h in book.holdings.items() if h.quantity
        }


def event(desk: Desk, **body: object):
    return desk.simulator.control("POST", "events", body)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_fill_stands_in_the_history_with_its_order(desk: Desk) -> None:
    buy(desk, "100")
    (entry,) = desk.book.history
    assert isinstance(entry, Traded)
    assert (entry.quantity, entry.price, entry.fee) == (Decimal(100), Decimal("600.00"), Decimal("1.00"))
    assert entry.order_id in desk.exchange.orders
    assert entry.cash == {"USD": Decimal("-60001.00")}
    agree(desk)


def test_a_deposit_is_no_profit_of_the_day(desk: Desk) -> None:
    before = desk.world.books.portfolio(desk.account, desk.now).values
    (row,) = event(desk, event="deposit", account=desk.account, amount="2500.50")
    assert row["kind"] == "Deposits/Withdrawals"
    after = desk.world.books.portfolio(desk.account, desk.now).values
    assert after.net_liquidation - before.net_liquidation == Decimal("2500.50")
    assert after.day_pnl == before.day_pnl
    agree(desk)


def test_a_dividend_is_paid_on_what_is_held_and_taxed(desk: Desk) -> None:
    buy(desk, "100")
    paid, taxed = event(desk, event="dividend", symbol="SPY", per_share="1.76", tax_pct="15")
    assert (paid["kind"], paid["amount"]) == ("Dividends", 176)
    assert (taxed["kind"], taxed["amount"]) == ("Withholding Tax", -26.4)
    assert paid["action_id"] == taxed["action_id"]
    agree(desk)


def test_whoever_is_short_pays_the_dividend(desk: Desk) -> None:
    buy(desk, "-50")
    (paid,) = event(desk, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
    assert (paid["kind"], paid["amount"]) == ("Payment In Lieu Of Dividends", -50)
    agree(desk)


def test_a_split_changes_shares_and_price_but_no_value(desk: Desk) -> None:
    buy(desk, "100")
    before = desk.world.books.portfolio(desk.account, desk.now)
    (row,) = event(desk, event="split", symbol="SPY", new=2, old=1)
    after = desk.world.books.portfolio(desk.account, desk.now)
    assert row["change"] == 100
    assert after.positions[0].quantity == 200
    assert after.positions[0].cost == before.positions[0].cost
    assert abs(after.values.net_liquidation - before.values.net_liquidation) <= 4
    agree(desk)
    with pytest.raises(ValueError, match="part of a share"):
        event(desk, event="split", symbol="SPY", new=1, old=3)
    agree(desk)


def test_a_split_is_refused_while_its_options_are_held(desk: Desk) -> None:
    put = desk.option()
    desk.book.transfer(put, Decimal(-1), Decimal("2.5"))
    with pytest.raises(ValueError, match="options on SPY are held"):
        event(desk, event="split", symbol="SPY", new=2, old=1)


def test_a_conversion_leaves_a_balance_that_the_api_shows(desk: Desk) -> None:
    (row,) = event(desk, event="convert", account=desk.account, currency="EUR", quantity="1000", rate="1.10")
    assert row["cash"] == {"EUR": 1000, "USD": -1102}
    event(desk, event="rate", currency="EUR", rate="1.20")
    seen = desk.world.books.portfolio(desk.account, desk.now)
    assert seen.values.cash == Decimal("1000000.00") - 1102 + 1200
    desk.get("/portfolio/accounts")
    ledger = desk.get(f"/portfolio/{desk.account}/ledger")
    assert (ledger["EUR"]["cashbalance"], ledger["EUR"]["exchangerate"]) == (1000.0, 1.2)
    assert ledger["USD"]["cashbalance"] == 998898.0
    assert ledger["BASE"]["cashbalance"] == 1000098.0
    balances = desk.get(f"/iserver/account/{desk.account}/summary")["cashBalances"]
    assert {row["currency"]: row["balance"] for row in balances} == {
        "USD": 998898.0,
        "EUR": 1000.0,
        "Total (in USD)": 1000098.0,
    }
    assert ledger["BASE"]["netliquidationvalue"] == pytest.approx(
        sum(row["netliquidationvalue"] * row["exchangerate"] for name, row in ledger.items() if name != "BASE")
    )
    agree(desk)


@pytest.mark.parametrize(("side", "word", "shares"), [(1, "exercise", -100), (-1, "assign", 100)])
def test_an_option_ends_early_by_hand(desk: Desk, side: int, word: str, shares: int) -> None:
    put = desk.option()
    desk.book.transfer(put, Decimal(2 * side), Decimal("2.5"))
    ended, delivered = event(desk, event=word, account=desk.account, conid=put.conid, quantity=1)
    assert (ended["ending"], ended["price"]) == ("Exercise" if side > 0 else "Assignment", 0)
    assert delivered["related"] == ended["number"]
    assert desk.book.quantity(put.conid) == side
    assert desk.book.quantity(756733) == shares
    assert desk.book.balanced
    other = "assign" if side > 0 else "exercise"
    with pytest.raises(ValueError, match="is not"):
        event(desk, event=other, account=desk.account, conid=put.conid, quantity=1)


def test_an_expiry_stands_in_the_history_as_what_it_was(desk: Desk) -> None:
    from ibkit.sim.exchange.books import trade_day

    chain = [o for o in desk.world.instruments.chain("SPY", trade_day(desk.now)) if o.expiry == trade_day(desk.now)]
    price = desk.world.market.quote(756733, desk.now).last
    assert price is not None
    deep = next(o for o in chain if o.right == "P" and o.strike > price * Decimal("1.1"))
    far = next(o for o in chain if o.right == "P" and o.strike < price * Decimal("0.8"))
    for option in (deep, far):
        desk.book.transfer(option, Decimal(-1), Decimal("1.00"))
    desk.simulator.advance(8 * 3600)
    endings = [(entry.ending, entry.related is not None) for entry in desk.book.history if isinstance(entry, Traded)]
    assert sorted(endings, key=str) == [("Assignment", False), ("Expiration", False), (None, True)]


def test_the_world_pays_by_itself_where_it_shall() -> None:
    desk = Desk(income=True)
    buy(desk, "1000")
    desk.simulator.advance(timedelta(days=40).total_seconds())
    kinds = {(entry.kind, entry.at.date()) for entry in desk.book.history if isinstance(entry, CashMoved)}
    assert ("Broker Interest Received", date(2026, 12, 1)) in kinds
    assert ("Dividends", date(2026, 12, 18)) in kinds
    assert ("Withholding Tax", date(2026, 12, 18)) in kinds
    agree(desk)
    again = Desk(income=True)
    buy(again, "1000")
    again.simulator.advance(timedelta(days=40).total_seconds())
    assert [repr(e) for e in again.book.history] == [repr(e) for e in desk.book.history]


@pytest.mark.parametrize(
    "body",
    [
        {"event": "nothing"},
        {"event": "deposit", "account": "DU9", "amount": 1},
        {"event": "deposit", "account": "DU1000001", "amount": "0.001"},
        {"event": "deposit", "account": "DU1000001", "amount": "NaN"},
        {"event": "deposit", "account": "DU1000001", "amount": 5, "currency": "XXX"},
        {"event": "convert", "account": "DU1000001", "currency": "EUR", "quantity": 5, "rate": -1},
        {"event": "convert", "account": "DU1000001", "currency": "USD", "quantity": 5},
        {"event": "dividend", "symbol": "NONE", "per_share": 1},
        {"event": "dividend", "symbol": "SPY", "per_share": 0},
        {"event": "split", "symbol": "SPY", "new": 1, "old": 1},
        {"event": "split", "symbol": "SPY", "new": "1.5", "old": 1},
        {"event": "exercise", "account": "DU1000001", "conid": 1, "quantity": 1},
        {"event": "rate", "currency": "EUR", "rate": 0},
    ],
)
def test_what_cannot_happen_changes_nothing(desk: Desk, body: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        event(desk, **body)
    assert desk.simulator.control("GET", "history") == []
    agree(desk)


events = st.one_of(
    st.tuples(st.just("buy"), st.integers(-200, 200).filter(bool)),
    st.tuples(st.just("deposit"), st.integers(-100_000, 100_000).filter(bool)),
    st.tuples(st.just("dividend"), st.integers(1, 500)),
    st.tuples(st.just("convert"), st.integers(-5000, 5000).filter(bool)),
    st.tuples(st.just("split"), st.sampled_from([(2, 1), (3, 1), (3, 2), (1, 10)])),
)


@given(st.lists(events, max_size=12))
@settings(max_examples=25, deadline=None)
def test_books_are_the_sum_of_their_history_whatever_happens(rows: list[tuple[str, object]]) -> None:
    desk = Desk()
    for name, what in rows:
        match name:
            case "buy":
                buy(desk, str(what), "100.00")
            case "deposit":
                event(desk, event="deposit", account=desk.account, amount=Decimal(str(what)) / 100)
            case "dividend":
                event(desk, event="dividend", symbol="SPY", per_share=Decimal(str(what)) / 100, tax_pct=15)
            case "convert":
                event(desk, event="convert", account=desk.account, currency="EUR", quantity=what)
            case _:
                assert isinstance(what, tuple)
                if desk.book.quantity(756733) * what[0] % what[1] == 0:
                    event(desk, event="split", symbol="SPY", new=what[0], old=what[1])
        agree(desk)
    assert all(isinstance(e, Traded | CashMoved | Converted | Split) for e in desk.book.history)
