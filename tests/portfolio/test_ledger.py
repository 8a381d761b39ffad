"""The ledger: lots, endings of options, corporate actions, currencies; each kind of transaction by hand."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ibkit.model import AccountId, Conid, Fill, Side
from ibkit.portfolio.fills import trade_of_fill
from ibkit.portfolio.ledger import Ledger, Opening, Rules, fold_ledger
from ibkit.portfolio.lots import LotOrder
from ibkit.portfolio.merging import merge
from ibkit.portfolio.transactions import (
    ActionKind,
    Converted,
    CorporateAction,
    Ending,
    Listed,
    Origin,
    Paid,
    PaymentKind,
    RowSource,
    Traded,
    Transaction,
    Transferred,
    cash_of,
    kind_of_transaction,
)

pytestmark = pytest.mark.requirement("FUT-08")

ACCOUNT = "DU1000001"
START = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
SPY = Listed(conid=756733, symbol="SPY", asset_class="STK", currency="USD")
NEW = Listed(conid=4, symbol="NEW", asset_class="STK", currency="USD")
PUT = Listed(
    conid=700,
    symbol="SPY   261218P00540000",
    asset_class="OPT",
    currency="USD",
    multiplier=Decimal(100),
    strike=Decimal(540),
    right="P",
    underlying_conid=756733,
)
_numbers = itertools.count(1)


def head(day: int, **given: Any) -> dict[str, Any]:
    number = next(_numbers)
    on = date(2026, 11, 20) + timedelta(days=day)
    row = RowSource(digest="d" * 64, section="Trades", row=number)
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "ids": (f"trade:{number}",),
        "at": START + timedelta(days=day),
        "day": on,
        "booked_on": on,
        "sequence": number,
        "fx_rate": Decimal(1),
        "source": row,
    }
    return fields | given


def trade(quantity: str, price: str, *, day: int = 0, listed: Listed = SPY, fee: str = "1", **given: Any) -> Traded:
    size, unit = Decimal(quantity), Decimal(price)
    return Traded(
        listed=listed,
        quantity=size,
        price=unit,
        proceeds=-size * unit * listed.multiplier,
        commission=-Decimal(fee),
        commission_currency="USD",
        **head(day, **given),
    )


def action(quantity: str, *, kind: ActionKind, listed: Listed = SPY, day: int = 1, **given: Any) -> CorporateAction:
    own = {name: given.pop(name) for name in ("proceeds", "action_id", "told_realized", "told_cost") if name in given}
    return CorporateAction(kind=kind, listed=listed, quantity=Decimal(quantity), **own, **head(day, **given))


def fold(*these: Transaction, rules: Rules | None = None, opening: Opening | None = None, **given: Any) -> Ledger:
    """And the identity of the books holds."""
    opening = opening or Opening(cash={"USD": Decimal(100_000)})
    ledger = fold_ledger(ACCOUNT, these, rules=rules, opening=opening, **given)
    flows = sum(
        (cash_of(e).get("USD", Decimal(0)) for e in ledger.transactions if isinstance(e, Paid | Converted)), Decimal(0)
    )
    realized, cost = ledger.realized().get("USD", Decimal(0)), ledger.cost().get("USD", Decimal(0))
    moved = ledger.transferred.get("USD", Decimal(0))
    assert ledger.cash["USD"] == opening.cash["USD"] + realized - cost + flows + moved
    return ledger


def lots(ledger: Ledger, listed: Listed = SPY) -> list[tuple[Decimal, Decimal]]:
    held = ledger.held.get(listed.conid)
    return [] if held is None else [(lot.quantity, lot.cost) for lot in held.lots]


def test_what_was_paid_counts_and_not_what_a_price_makes_of_it() -> None:
    """A bond is priced in per cent of its face: 10,000 of it, from 98.5 to 99.5, brought 100."""
    bond = Listed(conid=9, symbol="IBKR 3 01/28", asset_class="BOND", currency="USD")
    bought = replace(trade("10000", "98.5", listed=bond, fee="5"), proceeds=Decimal(-9850))
    sold = replace(trade("-10000", "99.5", day=1, listed=bond, fee="5"), proceeds=Decimal(9950))
    held = fold(bought)
    assert (held.cost(), held.cash) == ({"USD": 9855}, {"USD": 90_145})
    ledger = fold(bought, sold)
    assert (ledger.realized(), ledger.cash) == ({"USD": 90}, {"USD": 100_090})
    over = fold(bought, replace(sold, quantity=Decimal(-15000), proceeds=Decimal(14925), commission=Decimal(-6)))
    assert (over.realized(), over.held[9].quantity, over.held[9].cost) == ({"USD": 91}, -5000, -4973)


def test_first_in_first_out_and_the_other_way_round_and_by_choice() -> None:
    one, two = trade("100", "600"), trade("100", "610", day=1)
    sale = trade("-150", "620", day=2, fee="3")
    fifo = fold(one, two, sale)
    assert [(c.quantity, c.cost, c.realized) for c in fifo.closed] == [
        (100, Decimal("60001"), Decimal("1997")),
        (50, Decimal("30500.5"), Decimal("498.5")),
    ]
    assert lots(fifo) == [(Decimal(50), Decimal("30500.5"))]
    lifo = fold(one, two, sale, rules=Rules(order=LotOrder.LIFO))
    assert [c.opened_by for c in lifo.closed] == [two.key, one.key]
    assert lots(lifo) == [(Decimal(50), Decimal("30000.5"))]
    picks = {sale.key: [(two.key, Decimal(60)), (one.key, Decimal(30))]}
    chosen = fold(one, two, sale, rules=Rules(order=LotOrder.SPECIFIC, picks=picks))
    assert [(c.opened_by, c.quantity) for c in chosen.closed] == [(two.key, 60), (one.key, 30), (one.key, 60)]


def test_a_short_position_and_one_trade_that_turns_it_round() -> None:
    short = fold(trade("-10", "600"))
    assert lots(short) == [(Decimal(-10), Decimal("-5999"))]
    assert short.held[SPY.conid].unrealized(Decimal(590)) == Decimal(99)
    assert short.held[SPY.conid].unrealized(None) is None
    turned = fold(trade("-10", "600"), trade("25", "590", day=1, fee="2.5"))
    assert turned.realized() == {"USD": Decimal("98")}
    assert lots(turned) == [(Decimal(15), Decimal("8851.5"))]


@pytest.mark.parametrize("told", [True, False])
def test_the_premium_of_an_assignment_goes_into_the_cost_of_the_stock(told: bool) -> None:
    sold = trade("-1", "2.50", listed=PUT, fee="0.70")
    option = trade("1", "0", day=5, listed=PUT, fee="0", ending=Ending.ASSIGNMENT)
    stock = trade("100", "540", day=5, fee="0", delivery=True, related=option.key if told else "")
    # The stock's side may stand before the option's.
    for these in ((sold, option, stock), (stock, option, sold)):
        ledger = fold(*these)
        assert lots(ledger) == [(Decimal(100), Decimal("53750.70"))]
        assert ledger.realized() == {"USD": Decimal(0)}
    realized = fold(sold, option, stock, rules=Rules(premium_into_stock=False))
    assert lots(realized) == [(Decimal(100), Decimal(54000))]
    assert realized.realized() == {"USD": Decimal("249.30")}
    # Without its stock the premium is not lost.
    assert fold(sold, option).realized() == {"USD": Decimal("249.30")}


def test_the_cost_of_an_exercised_put_lowers_what_the_sale_brings() -> None:
    bought, own = trade("1", "5.00", listed=PUT, fee="1"), trade("100", "500")
    option = trade("-1", "0", day=5, listed=PUT, fee="0", ending=Ending.EXERCISE)
    stock = trade("-100", "540", day=5, fee="0", delivery=True, related=option.key)
    ledger = fold(bought, own, option, stock)
    assert ledger.realized() == {"USD": Decimal("54000") - Decimal("501") - Decimal("50001")}
    assert ledger.held == {}


def test_a_worthless_option_realizes_its_premium() -> None:
    end = trade("1", "0", day=5, listed=PUT, fee="0", ending=Ending.EXPIRATION)
    ledger = fold(trade("-1", "2.50", listed=PUT, fee="0.70"), end)
    assert ledger.realized() == {"USD": Decimal("249.30")}
    assert kind_of_transaction(end) == "expiration"


def test_a_split_scales_each_lot_and_keeps_what_it_cost() -> None:
    thirds = fold(trade("10", "100"), trade("5", "110", day=1), action("-10", kind=ActionKind.SPLIT, day=2))
    assert lots(thirds) == [(Decimal("3.33333333"), Decimal(1001)), (Decimal("1.66666667"), Decimal(551))]
    assert thirds.held[SPY.conid].quantity == 5
    short = fold(trade("-10", "100"), action("-10", kind=ActionKind.SPLIT))
    assert lots(short) == [(Decimal(-20), Decimal(-999))]


def test_a_reverse_split_under_a_new_number_takes_the_cost_with_it() -> None:
    rows = [
        action("10", kind=ActionKind.SPLIT, listed=NEW, action_id="9"),
        action("-100", kind=ActionKind.SPLIT, action_id="9"),
    ]
    for these in (rows, rows[::-1]):
        ledger = fold(trade("60", "10"), trade("40", "11"), *these)
        assert lots(ledger, NEW) == [(Decimal(6), Decimal(601)), (Decimal(4), Decimal(441))]
        assert lots(ledger) == []
        assert ledger.closed == ()


def test_a_merger_for_stock_and_cash_and_one_for_cash_alone() -> None:
    out = action("-100", kind=ActionKind.MERGER, action_id="7", proceeds=Decimal(500), told_realized=Decimal(120))
    came = action("50", kind=ActionKind.MERGER, listed=NEW, action_id="7")
    ledger = fold(trade("100", "10"), out, came)
    assert ledger.realized() == {"USD": Decimal(120)}
    assert lots(ledger, NEW) == [(Decimal(50), Decimal(1001 - 500 + 120))]
    cash = action("-100", kind=ActionKind.MERGER, action_id="8", proceeds=Decimal(1500))
    assert fold(trade("60", "10"), trade("40", "10"), cash).realized() == {"USD": Decimal(1500 - 1002)}


def test_a_symbol_change_keeps_the_day_of_purchase_and_a_spin_off_comes_beside() -> None:
    bought = trade("100", "10")
    ledger = fold(
        bought,
        action("-100", kind=ActionKind.SYMBOL_CHANGE, action_id="5"),
        action("100", kind=ActionKind.SYMBOL_CHANGE, listed=NEW, action_id="5"),
    )
    (lot,) = ledger.held[NEW.conid].lots
    assert (lot.opened_on, lot.key, lot.cost) == (bought.day, bought.key, Decimal(1001))
    spun = fold(bought, action("10", kind=ActionKind.SPIN_OFF, listed=NEW, action_id="6"))
    assert (lots(spun), lots(spun, NEW)) == ([(Decimal(100), Decimal(1001))], [(Decimal(10), Decimal(0))])


def test_a_transfer_realizes_nothing() -> None:
    came = Transferred(listed=SPY, quantity=Decimal(10), cost=Decimal(5000), currency="USD", **head(0))
    went = Transferred(listed=SPY, quantity=Decimal(-4), cost=Decimal(-2400), currency="USD", **head(1))
    ledger = fold(came, went)
    assert lots(ledger) == [(Decimal(6), Decimal(3000))]
    assert ledger.closed == ()
    assert ledger.cash == {"USD": Decimal(100_000)}


def payment(amount: str, kind: PaymentKind, *, currency: str = "USD", day: int = 0, **given: Any) -> Paid:
    return Paid(kind=kind, currency=currency, amount=Decimal(amount), **head(day, **given))


def test_income_and_costs_by_period() -> None:
    ledger = fold(
        payment("100", PaymentKind.DIVIDEND, day=1),
        payment("-15", PaymentKind.WITHHOLDING_TAX, day=1),
        payment("7", PaymentKind.DIVIDEND, day=40),
        payment("-2.5", PaymentKind.FEE, day=3),
        payment("0.4", PaymentKind.COMMISSION_ADJUSTMENT, day=3),
        trade("1", "10", day=2, taxes=Decimal("-0.25")),
    )
    november = (date(2026, 11, 1), date(2026, 11, 30))
    paid = ledger.paid(*november)
    assert paid[PaymentKind.DIVIDEND] == {"USD": Decimal(100)}
    assert ledger.paid()[PaymentKind.DIVIDEND] == {"USD": Decimal(107)}
    assert ledger.commissions(*november) == {"USD": Decimal("-1.25")}
    assert ledger.realized(date(2027, 1, 1)) == {}


def converted(quantity: str, rate: str, *, day: int = 0, **given: Any) -> Converted:
    size = Decimal(quantity)
    return Converted(
        pair="EUR.USD",
        currency="EUR",
        quantity=size,
        other_currency="USD",
        proceeds=-size * Decimal(rate),
        price=Decimal(rate),
        commission=Decimal(-2),
        commission_currency="USD",
        **head(day, **given),
    )


def test_gains_by_exchange_rates() -> None:
    ledger = fold(
        converted("1000", "1.10"),
        payment("100", PaymentKind.INTEREST, currency="EUR", day=1, fx_rate=Decimal("1.20")),
        converted("-1050", "1.30", day=2),
    )
    assert ledger.gains_of_currencies() == {"EUR": Decimal("1000") * Decimal("0.20") + 50 * Decimal("0.10")}
    assert ledger.cash["EUR"] == 50
    unknown = fold(payment("100", PaymentKind.INTEREST, currency="EUR", fx_rate=None), converted("-100", "1.3", day=1))
    assert unknown.gains_of_currencies() == {"EUR": None}


def test_what_is_taken_back_never_was() -> None:
    """The cancelled trade is neither of the lots nor realized, and both are shown."""
    first, wrong = trade("100", "600"), trade("100", "700", day=1)
    back = trade("-100", "700", day=3, fee="-1", is_cancellation=True, cancels=(wrong.key,))
    right = trade("100", "690", day=3)
    ledger = fold(first, wrong, back, right)
    assert lots(ledger) == [(Decimal(100), Decimal(60001)), (Decimal(100), Decimal(69001))]
    assert ledger.closed == ()
    assert ledger.struck == (wrong, back)
    # Without ids: the same size and price, of the latest.
    assert fold(first, wrong, trade("-100", "700", day=3, fee="-1", is_cancellation=True)).struck[0] == wrong
    # As of the day before, it was there.
    assert fold(first, wrong, back, until=START + timedelta(days=2)).held[SPY.conid].quantity == 200


def test_as_of_any_moment() -> None:
    these = [trade("1", "10", day=day) for day in range(5)]
    for day in range(5):
        at = START + timedelta(days=day)
        assert fold(*these, until=at).held[SPY.conid].quantity == day + 1
        assert fold(*these, until=at - timedelta(microseconds=1)).cash["USD"] == 100_000 - 11 * day


def test_another_account_is_another_ledger() -> None:
    assert fold(trade("1", "10", account_id="DU2")).held == {}


def test_a_live_fill_and_both_statements_count_once() -> None:
    fill = Fill(
        execution_id="0000e0d5.6a4b1c2d.01.01",
        order_id=None,
        account_id=AccountId(ACCOUNT),
        conid=Conid(756733),
        side=Side.SELL,
        quantity=Decimal(4),
        price=Decimal(600),
        fee=None,
        at=START,
    )
    live = trade_of_fill(fill, SPY, day=START.date())
    same = {"ids": ("exec:0000e0d5.6a4b1c2d.01.01", "trade:77"), "at": START}
    confirmed = trade("-4", "600", origin=Origin.CONFIRMATION, **same)
    booked = trade("-4", "600", origin=Origin.ACTIVITY, **(same | {"ids": ("trade-tx:5", "trade:77")}))
    assert fold(live).cash["USD"] == 102_400
    for order in itertools.permutations((live, confirmed, booked)):
        there: dict[str, Transaction] = {}
        # Activity that tells no execution shares no id with a live fill: then it is the confirmation that ties them.
        for each in (*order, booked, live):
            found = merge(there.values(), [each])
            there |= {new.key: new for new in found.added}
            for change in found.corrected:
                for gone in change.also:
                    del there[gone.key]
                there[change.after.key] = change.after
        (only,) = there.values()
        assert only.origin is Origin.ACTIVITY
        assert set(only.ids) == {*live.ids, *confirmed.ids, *booked.ids}
        assert fold(only).cash["USD"] == 102_399
        # The same at once.
        assert len(merge([], order).added) == 1


def test_a_figure_that_changes_later_is_told() -> None:
    old, new = trade("1", "10", ids=("trade:1",)), trade("1", "10", fee="0.35", ids=("trade:1",))
    found = merge([old], [new])
    assert [(each.before, each.after.ids, each.what) for each in found.corrected] == [(old, ("trade:1",), ("cash",))]
    assert merge([old], [old]).known == 1
    earlier = RowSource(digest="e" * 64, told_at=START)
    later = RowSource(digest="f" * 64, told_at=START + timedelta(days=1))
    from dataclasses import replace

    stale = merge([replace(new, source=later)], [replace(old, source=earlier)])
    assert (stale.corrected, stale.known) == ([], 1)


def test_what_many_assignments_take_grows_with_their_number_alone() -> None:
    """An option seller's year: 400 took 0.4 s, and seven times as much for each doubling, at every question."""

    def year(count: int) -> list[Traded]:
        rows = []
        for _ in range(count):
            rows += [
                trade("1", "0", listed=PUT, fee="0", ending=Ending.ASSIGNMENT),
                trade("100", "540", fee="0", delivery=True),
            ]
        return rows

    def steps(count: int) -> int:
        """Lines of the ledger's own code that ran: no clock, so the same on every machine."""
        rows, seen = year(count), 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal seen
            seen += event == "line"
            return trace if "portfolio" in frame.f_code.co_filename else None

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            fold_ledger(ACCOUNT, rows)
        finally:
            sys.settrace(before)
        return seen

    assert steps(200) < 2.5 * steps(100)
