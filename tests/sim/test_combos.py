"""Combos: quotes from their legs, fills in each leg, margin, rows. Source: docs/facts/orders.md §1.6, §12.4."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desks import Desk
from ibkit.sim.market.combos import combo_quote, combo_ticks, leg_prices
from ibkit.sim.market.instruments import Instrument

pytestmark = pytest.mark.requirement("TST-01", "TRD-12")


class Vertical:
    """A put spread, short leg 3 below the market and long leg 8 below, both held at known quotes."""

    def __init__(self, *scenarios: str, **options: Any) -> None:
        self.desk = Desk(*scenarios, **options)
        self.short, self.long = self.desk.option(offset=-3), self.desk.option(offset=-8)
        self.quote("2.00", "2.10", "1.00", "1.05")

    def quote(self, short_bid: str, short_ask: str, long_bid: str, long_ask: str) -> None:
        self.desk.hold(self.short, short_bid, short_ask)
        self.desk.hold(self.long, long_bid, long_ask)

    @property
    def conidex(self) -> str:
        """Bought, it buys the short leg back: a positive price."""
        return f"28812380;;;{self.short.conid}/1,{self.long.conid}/-1"

    def ticket(self, side: str, quantity: object, kind: str = "MKT", **more: object) -> dict[str, Any]:
        ticket = {**self.desk.ticket(self.short, side, quantity, kind, **more), "conidex": self.conidex, **more}
        del ticket["conid"]
        return ticket

    def place(self, side: str, quantity: object, kind: str = "MKT", **more: object) -> Any:
        status, rows = self.desk.send(self.ticket(side, quantity, kind, **more))
        assert status == 200, rows
        assert "order_id" in rows[0], rows
        return self.desk.order(rows[0]["order_id"])

    @property
    def held(self) -> tuple[Decimal, Decimal]:
        return self.desk.book.quantity(self.short.conid), self.desk.book.quantity(self.long.conid)


def combo(desk: Desk, text: str) -> Instrument:
    found = desk.world.instruments.combo(text)
    assert found is not None
    return found


def test_a_combo_is_quoted_by_what_its_legs_come_to() -> None:
    vertical = Vertical()
    desk, market = vertical.desk, vertical.desk.world.market
    bought = market.quote_of(combo(desk, vertical.conidex), desk.now)
    assert (bought.bid, bought.ask) == (Decimal("0.95"), Decimal("1.10"))
    turned = market.quote_of(combo(desk, f"28812380;;;{vertical.short.conid}/-1,{vertical.long.conid}/1"), desk.now)
    assert (turned.bid, turned.ask) == (Decimal("-1.10"), Decimal("-0.95"))
    double = market.quote_of(combo(desk, f"28812380;;;{vertical.short.conid}/1,{vertical.long.conid}/-2"), desk.now)
    assert (double.bid, double.ask) == (Decimal("-0.10"), Decimal("0.10"))
    assert (double.bid_size, double.ask_size) == (12, 20), "of the thinner leg, in combos"


def test_a_combos_ticks_and_its_quotes_agree() -> None:
    desk = Desk()
    short, long = desk.option(offset=-3), desk.option(offset=-30)
    both = combo(desk, f"28812380;;;{short.conid}/1,{long.conid}/-2")
    start = desk.now
    desk.pass_time(60)
    run = combo_ticks(desk.world.market, both, start, desk.now)
    assert len(run) == 60
    for index, tick in enumerate(run):
        quote = combo_quote(desk.world.market, both, tick.at)
        assert (tick.bid, tick.ask) == (quote.bid, quote.ask)
        assert (run.bid_size[index], run.ask_size[index]) == (quote.bid_size, quote.ask_size)


def test_a_leg_that_nobody_bids_for_goes_for_nothing_and_one_that_nobody_offers_is_not_to_be_had() -> None:
    vertical = Vertical()
    desk = vertical.desk
    at = {"at": desk.now}
    desk.world.market.set_quote(vertical.long.conid, None, Decimal("0.01"), **at)
    quote = desk.world.market.quote_of(combo(desk, vertical.conidex), desk.now)
    assert (quote.bid, quote.ask) == (Decimal("1.99"), Decimal("2.10"))
    desk.world.market.set_quote(vertical.long.conid, Decimal("0.01"), None, **at)
    quote = desk.world.market.quote_of(combo(desk, vertical.conidex), desk.now)
    assert (quote.bid, quote.ask) == (None, Decimal("2.09"))
    order = vertical.place("SELL", 1)
    desk.pass_time(5)
    assert order.state == "live"


prices = st.integers(0, 3000).map(lambda cents: Decimal(cents).scaleb(-2))


@given(
    st.lists(st.tuples(st.sampled_from([-3, -2, -1, 1, 2, 3]), prices), min_size=2, max_size=4),
    st.integers(-2000, 2000).map(lambda cents: Decimal(cents).scaleb(-2)),
)
def test_leg_prices_are_never_negative_and_come_to_the_net_price(rows: list[tuple[int, Decimal]], net: Decimal) -> None:
    ratios, touches = [row[0] for row in rows], [row[1] for row in rows]
    try:
        found = leg_prices(ratios, touches, net)
    except ValueError:
        assert all(ratio * net < 0 for ratio in ratios), "only a sum of nothing but one sign cannot reach the other"
        return
    assert all(price >= 0 for price in found)
    assert abs(sum(r * p for r, p in zip(ratios, found, strict=True)) - net) <= Decimal("0.00000012")


def test_selling_a_spread_for_a_credit_and_buying_it_back() -> None:
    vertical = Vertical()
    desk = vertical.desk
    sold = vertical.place("SELL", 2)
    assert (sold.state, sold.filled, sold.executions[0].price) == ("filled", 2, Decimal("0.95"))
    assert vertical.held == (-2, 2)
    legs = [(leg.instrument.conid, leg.side, leg.quantity, leg.price) for leg in sold.executions[0].legs]
    assert legs == [
        (vertical.short.conid, "SELL", 2, Decimal("2.00")),
        (vertical.long.conid, "BUY", 2, Decimal("1.05")),
    ]
    assert desk.book.cash == desk.book.started_with + Decimal("190.00") - Decimal("2.60")
    bought = vertical.place("BUY", 2, "LMT", price=0.50)
    desk.pass_time(5)
    assert bought.state == "live"
    vertical.quote("1.00", "1.05", "0.60", "0.65")
    desk.pass_time(2)
    assert (bought.state, bought.executions[0].price) == ("filled", Decimal("0.50"))
    assert vertical.held == (0, 0)
    assert desk.book.cash == desk.book.started_with + Decimal("90.00") - Decimal("5.20")
    assert desk.book.balanced


def test_a_credit_is_also_a_purchase_at_a_negative_price() -> None:
    vertical = Vertical()
    ticket = vertical.ticket("BUY", 1, "LMT", price=-0.95)
    ticket["conidex"] = f"28812380;;;{vertical.short.conid}/-1,{vertical.long.conid}/1"
    order = vertical.desk.order(vertical.desk.send(ticket)[1][0]["order_id"])
    assert (order.state, order.executions[0].price, vertical.held) == ("filled", Decimal("-0.95"), (-1, 1))
    stop = vertical.ticket("SELL", 1, "STP", price=-2.00, tif="GTC")
    stop["conidex"] = ticket["conidex"]
    exit_ = vertical.desk.order(vertical.desk.send(stop)[1][0]["order_id"])
    vertical.quote("3.00", "3.10", "1.00", "1.05")
    vertical.desk.pass_time(2)
    assert exit_.elected_at is None, "the ask is -1.95"
    vertical.quote("3.05", "3.15", "1.00", "1.05")
    vertical.desk.pass_time(2)
    assert (exit_.state, exit_.executions[0].price, vertical.held) == ("filled", Decimal("-2.15"), (0, 0))


def bracket(vertical: Vertical) -> tuple[Any, Any, Any]:
    status, rows = vertical.desk.send(
        vertical.ticket("SELL", 1, "LMT", price=0.95, cOID="spread-1"),
        vertical.ticket("BUY", 1, "STP", price=2.00, tif="GTC", parentId="spread-1"),
        vertical.ticket("BUY", 1, "LMT", price=0.30, tif="GTC", parentId="spread-1"),
    )
    assert status == 200
    stop, target, parent = (vertical.desk.order(row["order_id"]) for row in rows)
    assert parent.state == "filled"
    return parent, stop, target


def test_a_bracket_around_a_spread_stops_the_loss() -> None:
    vertical = Vertical()
    _, stop, target = bracket(vertical)
    vertical.quote("3.00", "3.20", "1.05", "1.10")
    vertical.desk.pass_time(2)
    assert stop.state == "live", "the combo's bid is 1.90"
    vertical.quote("3.10", "3.30", "1.05", "1.10")
    vertical.desk.pass_time(2)
    assert (stop.state, stop.executions[0].price, target.state) == ("filled", Decimal("2.25"), "cancelled")
    assert vertical.held == (0, 0)


def test_a_child_may_name_the_legs_the_other_way_round() -> None:
    """As a client does: a STP child with reversed ratios. Source: docs/facts/orders.md §1.6."""
    vertical = Vertical()
    short, long = vertical.short.conid, vertical.long.conid
    credit = vertical.ticket("BUY", 1, "LMT", price=-0.95, cOID="credit")
    credit["conidex"] = f"28812380;;;{short}/-1,{long}/1"
    _, rows = vertical.desk.send(credit, vertical.ticket("BUY", 1, "STP", price=2.00, tif="GTC", parentId="credit"))
    stop, parent = (vertical.desk.order(row["order_id"]) for row in rows)
    assert (parent.state, stop.parent, vertical.held) == ("filled", parent, (-1, 1))
    vertical.quote("3.10", "3.30", "1.05", "1.10")
    vertical.desk.pass_time(2)
    assert (stop.state, vertical.held) == ("filled", (0, 0))


def test_a_bracket_around_a_spread_takes_the_profit() -> None:
    vertical = Vertical()
    _, stop, target = bracket(vertical)
    vertical.quote("0.60", "0.65", "0.35", "0.40")
    vertical.desk.pass_time(2)
    assert (target.state, target.executions[0].price, stop.state) == ("filled", Decimal("0.30"), "cancelled")


def test_by_quirk_a_combos_stop_wants_two_looks() -> None:
    vertical = Vertical(combo_trigger="double_bid_ask")
    _, stop, _ = bracket(vertical)
    vertical.quote("3.10", "3.30", "1.05", "1.10")
    vertical.desk.pass_time(2)
    assert stop.elected_at is None
    vertical.quote("3.15", "3.35", "1.05", "1.10")
    vertical.desk.pass_time(2)
    assert stop.state == "filled"


def test_a_trailing_stop_on_a_spread_follows_its_price_down() -> None:
    vertical = Vertical()
    vertical.place("SELL", 1)
    order = vertical.place("BUY", 1, "TRAIL", tif="GTC", trailingAmt=0.5, trailingType="amt")
    assert order.stop == Decimal("1.45")
    vertical.quote("1.00", "1.05", "0.60", "0.65")
    vertical.desk.pass_time(2)
    assert order.stop == Decimal("0.85")
    vertical.quote("1.50", "1.55", "0.60", "0.65")
    vertical.desk.pass_time(2)
    assert (order.state, order.executions[0].price, vertical.held) == ("filled", Decimal("0.95"), (0, 0))


def test_the_rows_of_a_combo() -> None:
    vertical = Vertical()
    desk = vertical.desk
    order = vertical.place("SELL", 1, "LMT", price=1.50, cOID="c-1")
    row = desk.live()[order.id]
    assert (row["conid"], row["conidex"], row["secType"]) == (28812380, vertical.conidex, "BAG")
    assert (row["ticker"], row["price"], row["totalSize"], row["order_ref"]) == ("SPY", "1.50", 1.0, "c-1")
    assert row["description2"].startswith("1 NOV 20 '26 ")
    assert " -1 NOV 20 '26 " in row["description2"]
    status = desk.get(f"/iserver/account/order/status/{order.id}")
    assert (status["conid"], status["conidex"], status["sec_type"]) == (28812380, vertical.conidex, "BAG")


def trades(desk: Desk) -> list[dict[str, Any]]:
    desk.get("/iserver/account/trades?days=1", wait=6)
    return desk.get("/iserver/account/trades?days=1", wait=6)


def test_trades_show_a_row_for_each_leg() -> None:
    vertical = Vertical()
    order = vertical.place("SELL", 2, cOID="c-1")
    rows = trades(vertical.desk)
    assert {(r["conid"], r["side"], r["size"], r["price"], r["net_amount"]) for r in rows} == {
        (vertical.short.conid, "S", 2.0, "2.00", 400.0),
        (vertical.long.conid, "B", 2.0, "1.05", 210.0),
    }
    assert {(r["order_id"], r["order_ref"], r["sec_type"]) for r in rows} == {(order.id, "c-1", "OPT")}
    assert len({r["execution_id"] for r in rows}) == 2
    assert sum(Decimal(r["commission"]) for r in rows) == Decimal("2.60")


def test_by_quirk_trades_show_the_combo_as_well() -> None:
    vertical = Vertical(combo_executions="combo_and_legs")
    vertical.place("SELL", 2)
    rows = trades(vertical.desk)
    (whole,) = [r for r in rows if r["sec_type"] == "BAG"]
    assert (whole["conid"], whole["conidEx"], whole["price"]) == (28812380, vertical.conidex, "0.95")
    assert (whole["size"], whole["net_amount"], len(rows)) == (2.0, 190.0, 3)


def preview(vertical: Vertical, *tickets: dict[str, Any]) -> dict[str, Any]:
    path = f"/iserver/account/{vertical.desk.account}/orders/whatif"
    status, row = vertical.desk.call("POST", path, {"orders": list(tickets)})
    assert status == 200, row
    return row


def test_a_spread_previews_at_its_width_less_its_credit() -> None:
    vertical = Vertical()
    row = preview(vertical, vertical.ticket("SELL", 2, "LMT", price=1.00))
    assert row["amount"] == {"amount": "200 USD (2 Contracts)", "commission": "2.60 USD", "total": "202.60 USD"}
    marks = [vertical.desk.quote(leg).mark for leg in (vertical.short, vertical.long)]
    assert Decimal(row["initial"]["change"]) == (2 * 100 * (5 - (marks[0] - marks[1]))).to_integral_value()
    assert "position" not in row
    assert (row["warn"], row["error"]) == (None, None)
    assert vertical.desk.exchange.orders == {}


def test_spreads_are_refused_for_margin_by_their_width_and_not_by_the_naked_leg() -> None:
    vertical = Vertical()
    desk = vertical.desk
    desk.brokerage.suppressed.update({"o383", "o451"})
    assert "order_id" in desk.send(vertical.ticket("SELL", 400, "LMT", price=1.50))[1][0]
    assert "error" in desk.send(desk.ticket(vertical.short, "SELL", 400, "LMT", price=2.50))[1]
    assert "in sufficient" in desk.send(vertical.ticket("SELL", 4000, "LMT", price=1.50))[1]["error"]


def test_the_price_grid_of_index_combos_is_their_own() -> None:
    desk = Desk()
    grid = "The price does not conform to the minimum price variation for this contract."

    def answer(symbol: str, offsets: tuple[int, int], price: float) -> Any:
        legs = [desk.option(offset=o, symbol=symbol) for o in offsets]
        ticket = desk.ticket(legs[0], "BUY", 1, "LMT", price=price)
        ticket["conidex"] = f"28812380;;;{legs[0].conid}/-1,{legs[1].conid}/1"
        del ticket["conid"]
        return desk.send(ticket)[1]

    assert answer("SPX", (-50, -100), -0.03) == {"error": grid}
    assert "order_id" in answer("SPX", (-50, -100), -7.05)[0]
    assert "order_id" in answer("SPY", (-3, -8), -1.03)[0]
    assert answer("AAPL", (-5, -10), -3.03) == {"error": grid}


@pytest.mark.parametrize(
    "form",
    [
        "28812380;;;{a}/1",
        "28812380;;;{a}/1,{a}/-1",
        "28812380;;;{a}/1,{b}/0",
        "28812380;;;{a}/1,{stock}/-100",
        "28812380;;;{a}/1,{index}/-1",
        "28812380;;;{a}/1,999/-1",
        "28812380;;;{a}/x,{b}/1",
        "28812380;;;",
        "61227077;;;{a}/1,{b}/-1",
        "0;;;{a}/1,{b}/-1",
    ],
)
def test_what_is_no_combo_here_is_refused_by_the_name_of_its_member(form: str) -> None:
    vertical = Vertical()
    desk = vertical.desk
    index = desk.stock("SPX").conid
    conids = {"a": vertical.short.conid, "b": vertical.long.conid, "stock": desk.stock().conid, "index": index}
    ticket = vertical.ticket("BUY", 1) | {"conidex": form.format(**conids)}
    assert desk.send(ticket) == (500, {"error": "invalid order attribute : conidex"})


@pytest.mark.parametrize("kind", ["MIT", "LIT", "MOC", "LOC", "REL", "MIDPRICE"])
def test_combos_do_not_take_every_order_type(kind: str) -> None:
    vertical = Vertical()
    answer = vertical.desk.send(vertical.ticket("BUY", 1, kind, price=1.0, auxPrice=1.0))
    assert answer == (500, {"error": f"invalid order attribute : {kind}"})


def test_half_a_spread_is_refused() -> None:
    vertical = Vertical()
    text = "This order doesn't support fractional quantity trading"
    assert vertical.desk.send(vertical.ticket("BUY", 0.5)) == (200, {"error": text})


def test_a_combo_asks_for_market_data_of_its_legs() -> None:
    vertical = Vertical(quiet=False)
    (question,) = vertical.desk.send(vertical.ticket("SELL", 1, "LMT", price=0.95))[1]
    assert question["messageIds"] == ["o354"]


def test_a_combos_gtc_order_ends_with_its_first_leg() -> None:
    vertical = Vertical()
    order = vertical.place("SELL", 1, "LMT", price=4.50, tif="GTC")
    vertical.desk.pass_time(6 * 3600)
    assert order.state == "cancelled"


def test_a_combo_is_changed_by_its_conidex_and_by_no_other() -> None:
    vertical = Vertical()
    desk = vertical.desk
    order = vertical.place("SELL", 1, "LMT", price=1.50)
    path = f"/iserver/account/{desk.account}/order/{order.id}"
    status, rows = desk.call("POST", path, vertical.ticket("SELL", 2, "LMT", price=1.40))
    assert (status, rows[0]["order_id"], order.total) == (200, str(order.id), 2)
    turned = {**vertical.ticket("SELL", 2, "LMT", price=1.40)}
    turned["conidex"] = f"28812380;;;{vertical.short.conid}/1,{vertical.long.conid}/-2"
    assert "error" in desk.call("POST", path, turned)[1]


def test_a_combo_is_filled_by_hand_at_a_price_its_legs_can_come_to() -> None:
    vertical = Vertical()
    desk = vertical.desk
    order = vertical.place("SELL", 2, "LMT", price=1.50)
    desk.simulator.control("POST", "fill", {"order_id": order.id, "price": "1.55", "quantity": 1})
    assert sum(leg.price * r for leg, r in zip(order.executions[0].legs, (1, -1), strict=True)) == Decimal("1.55")
    assert vertical.held == (-1, 1)
    strangle = desk.ticket(vertical.short, "SELL", 1, "LMT", price=9.00)
    strangle["conidex"] = f"28812380;;;{vertical.short.conid}/1,{desk.option('C', 5).conid}/1"
    del strangle["conid"]
    both = desk.order(desk.send(strangle)[1][0]["order_id"])
    before = desk.book.cash
    with pytest.raises(ValueError, match="no prices of the legs come to"):
        desk.simulator.control("POST", "fill", {"order_id": both.id, "price": "-1"})
    assert (both.state, both.filled, desk.book.cash) == ("live", 0, before)


def test_a_spread_larger_than_its_thinnest_leg_comes_as_several_executions() -> None:
    vertical = Vertical()
    desk = vertical.desk
    desk.hold(vertical.short, "2.00", "2.10", bid_size=3, ask_size=9)
    order = vertical.place("SELL", 7)
    assert [e.quantity for e in order.executions] == [3, 3, 1]
    assert order.commission == Decimal("0.65") * 14
    assert vertical.held == (-7, 7)
    assert desk.book.balanced


# --- market data -----------------------------------------------------------------------------------------------------


def data_name(vertical: Vertical) -> str:
    return f"0;;;{vertical.short.conid}/1,{vertical.long.conid}/-1"


def snapshot(desk: Desk, name: str, fields: str = "31,84,85,86,88,55,7308") -> dict[str, Any]:
    desk.get(f"/iserver/marketdata/snapshot?conids={name}&fields={fields}", wait=5)
    (row,) = desk.get(f"/iserver/marketdata/snapshot?conids={name}&fields={fields}", wait=5)
    return row


def test_a_snapshot_of_a_combo_names_no_spread_conid() -> None:
    vertical = Vertical()
    desk, name = vertical.desk, data_name(vertical)
    dark = snapshot(desk, name)
    assert dark == {"conidEx": name, "conid": 0}, "derivatives stay dark until their underlying was searched"
    desk.brokerage.searched_symbols.add("SPY")
    row = snapshot(desk, name)
    assert (row["conidEx"], row["conid"], row["84"], row["86"], row["55"]) == (name, 0, "0.95", "1.10", "SPY")
    assert (row["88"], row["85"]) == ("25", "25"), "25 of the short leg are offered, 25 of the long one"
    assert "7308" not in row
    spread = f"28812380{name[1:]}"
    assert snapshot(desk, spread) == {"conidEx": spread, "conid": 28812380}


def test_market_data_of_the_combo_or_of_all_its_legs_answers_the_question_about_market_data() -> None:
    vertical = Vertical(quiet=False)
    desk = vertical.desk
    desk.brokerage.searched_symbols.add("SPY")
    ticket = vertical.ticket("SELL", 1, "LMT", price=0.95)

    def asked() -> bool:
        return "message" in desk.send(ticket)[1][0]

    snapshot(desk, str(vertical.short.conid), "84")
    assert asked(), "one leg is not enough"
    snapshot(desk, str(vertical.long.conid), "84")
    assert not asked()
    desk.brokerage.market_lines.clear()
    snapshot(desk, data_name(vertical))
    assert not asked()


# --- positions -------------------------------------------------------------------------------------------------------


def combo_positions(desk: Desk) -> list[dict[str, Any]]:
    desk.get("/portfolio/accounts", wait=6)
    return desk.get(f"/portfolio/{desk.account}/combo/positions")


def test_a_combo_is_held_as_one_until_its_legs_are_gone() -> None:
    vertical = Vertical()
    desk = vertical.desk
    assert combo_positions(desk) == []
    vertical.place("SELL", 3)
    (row,) = combo_positions(desk)
    short, long = vertical.short.conid, vertical.long.conid
    assert {(leg["conid"], leg["ratio"]) for leg in row["legs"]} == {(str(short), -1), (str(long), 1)}
    assert {(p["conid"], p["position"]) for p in row["positions"]} == {(short, -3.0), (long, 3.0)}
    assert row["name"].startswith("CP.CP")
    assert row["description"] in (f"-1*{short}+1*{long}", f"1*{long}-1*{short}")
    turned = vertical.ticket("SELL", 1) | {"conidex": f"28812380;;;{short}/-1,{long}/1"}
    desk.send(turned)
    assert [r["name"] for r in combo_positions(desk)] == [row["name"]], "the reverse of a combo is the same combo"
    desk.place(vertical.long, "SELL", 2)
    assert combo_positions(desk) == [], "without its long leg a spread is none"
