"""Brackets and OCA groups, whole and broken. Source: docs/facts/orders.md §1.7, §9, §10."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from desks import Desk
from ibkit.sim.exchange.order import SimOrder

pytestmark = pytest.mark.requirement("TST-01", "TRD-12")


def short_put(*scenarios: str, **options: Any) -> tuple[Desk, Any]:
    """A put sold short, held at 1.00 to 1.05."""
    desk = Desk(*scenarios, **options)
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    desk.place(put, "SELL", 2)
    return desk, put


def exits(desk: Desk, put: Any, **more: Any) -> tuple[SimOrder, SimOrder]:
    """A stop and a target for it, in one explicit OCA group."""
    status, rows = desk.send(
        desk.ticket(put, "BUY", 2, "STP", price=3.00, tif="GTC", isSingleGroup=True, cOID="stop", **more),
        desk.ticket(put, "BUY", 2, "LMT", price=0.50, tif="GTC", isSingleGroup=True, cOID="target", **more),
    )
    assert status == 200, rows
    by_ref = {row["local_order_id"]: desk.order(row["order_id"]) for row in rows}
    return by_ref["stop"], by_ref["target"]


def test_an_oca_group_has_a_name_of_its_own_and_no_parent() -> None:
    desk, put = short_put()
    stop, target = exits(desk, put)
    live = desk.live()
    assert live[stop.id]["ocaGroupId"] == live[target.id]["ocaGroupId"] == f"oco-{stop.id}"
    assert "parentId" not in live[stop.id]
    status = desk.get(f"/iserver/account/order/status/{target.id}")
    assert (status["oca_group_id"], status["oca_group_type"]) == (f"oco-{stop.id}", "ReduceOnFillNonBlock")
    assert {"parent_order_id", "children_order_ids"}.isdisjoint(status)


def test_bracket_siblings_carry_the_bare_number_of_their_parent() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    _, rows = desk.send(
        desk.ticket(put, "SELL", 1, "LMT", price=1.20, cOID="p"),
        desk.ticket(put, "BUY", 1, "STP", price=3.00, tif="GTC", parentId="p"),
        desk.ticket(put, "BUY", 1, "LMT", price=0.50, tif="GTC", parentId="p"),
    )
    stop, target, parent = (desk.order(row["order_id"]) for row in rows)
    status = desk.get(f"/iserver/account/order/status/{stop.id}")
    assert (status["parent_order_id"], status["oca_group_id"]) == (str(parent.id), str(parent.id))
    status = desk.get(f"/iserver/account/order/status/{parent.id}")
    assert status["children_order_ids"] == f"{stop.id},{target.id}"
    assert "oca_group_id" not in status


def test_one_question_is_asked_for_a_whole_group() -> None:
    desk = Desk(quiet=False)
    put = desk.option()
    tickets = [desk.ticket(put, "BUY", 1, "STP", price=p, tif="GTC", isSingleGroup=True) for p in (3.00, 4.00)]
    answer = desk.send(*tickets)[1]
    assert len(answer) == 1
    rows = desk.confirm_all(answer)
    assert len({row["order_id"] for row in rows}) == 2


def test_a_fill_ends_the_other_order_and_the_position_is_flat() -> None:
    desk, put = short_put()
    stop, target = exits(desk, put)
    desk.hold(put, "0.45", "0.50")
    desk.pass_time(2)
    assert (target.state, stop.state) == ("filled", "cancelled")
    assert desk.book.quantity(put.conid) == 0


@pytest.mark.parametrize(("quirk", "state"), [("alone", "live"), ("group", "cancelled")])
def test_cancelling_one_of_a_group_takes_the_other_along_by_quirk(quirk: str, state: str) -> None:
    desk, put = short_put(oca_cancel=quirk)
    stop, target = exits(desk, put)
    desk.call("DELETE", f"/iserver/account/{desk.account}/order/{stop.id}")
    desk.pass_time(1)
    assert (stop.state, target.state) == ("cancelled", state)


def test_a_changed_order_stays_in_its_group_and_with_its_parent() -> None:
    desk, put = short_put()
    stop, target = exits(desk, put)
    ticket = desk.ticket(put, "BUY", 2, "LMT", price=0.60, tif="GTC")
    assert desk.call("POST", f"/iserver/account/{desk.account}/order/{target.id}", ticket)[0] == 200
    assert desk.live()[target.id]["ocaGroupId"] == f"oco-{stop.id}"
    desk.hold(put, "0.55", "0.60")
    desk.pass_time(2)
    assert (target.state, stop.state) == ("filled", "cancelled")


def test_a_group_needs_margin_for_one_of_its_orders_and_not_for_all() -> None:
    desk = Desk()
    desk.brokerage.suppressed.update({"o383", "o451"})
    put = desk.option(offset=-10)
    one = desk.ticket(put, "SELL", 60, "LMT", price=8.00)
    assert "in sufficient" in desk.send(one, {**one, "price": 9.00})[1]["error"]
    group = [{**one, "price": 8.00, "quantity": size, "isSingleGroup": True} for size in (60, 61)]
    path = f"/iserver/account/{desk.account}/orders/whatif"
    seen = desk.call("POST", path, {"orders": group})[1]
    assert seen["error"] is None
    assert seen["amount"]["amount"] == "48,800 USD (61 Contracts)", "the one that needs more"
    assert len(desk.send(*group)[1]) == 2


# --- broken on request -----------------------------------------------------------------------------------------------


def bracket(desk: Desk, put: Any, limit: float) -> list[dict[str, Any]]:
    status, rows = desk.send(
        desk.ticket(put, "SELL", 1, "LMT", price=limit, cOID="p"),
        desk.ticket(put, "BUY", 1, "STP", price=3.00, tif="GTC", parentId="p"),
    )
    assert status == 200
    return desk.confirm_all(rows)


@pytest.mark.parametrize(
    ("scenario", "status", "state"),
    [("bracket-child-reject", "Submitted", "live"), ("bracket-refused", "Inactive", "rejected")],
)
@pytest.mark.parametrize("quiet", [True, False])
def test_a_bracket_breaks_as_the_scenario_says(scenario: str, status: str, state: str, quiet: bool) -> None:
    desk = Desk(scenario, quiet=quiet)
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    child, parent = bracket(desk, put, 1.20)
    assert (child["order_id"], child["order_status"]) == ("-1", "Failed")
    assert child["text"].startswith("Order couldn't be submitted: ")
    assert (parent["order_status"], parent["local_order_id"]) == (status, "p")
    order = desk.order(parent["order_id"])
    assert (order.state, order.children) == (state, [])
    assert desk.live()[order.id]["status"] == status
    assert len(desk.exchange.orders) == 1


def test_protection_hung_on_later_is_taken_although_the_scenario_is_on() -> None:
    desk = Desk("bracket-child-reject")
    put = desk.option()
    desk.hold(put, "1.20", "1.25")
    parent = desk.order(bracket(desk, put, 1.20)[1]["order_id"])
    assert parent.state == "filled"
    stop = desk.place(put, "BUY", 1, "STP", price=3.00, tif="GTC", parentId=str(parent.id))
    assert (stop.state, stop.parent) == ("live", parent)


def test_a_plain_order_and_an_oca_group_do_not_notice_that_brackets_break() -> None:
    desk, put = short_put("bracket-child-reject")
    stop, target = exits(desk, put)
    assert (stop.state, target.state) == ("live", "live")


def test_a_sibling_that_stays_keeps_working_at_its_full_size() -> None:
    desk, put = short_put("oca-sibling-stays")
    stop, target = exits(desk, put)
    desk.hold(put, "0.45", "0.50")
    desk.pass_time(2)
    assert (target.state, stop.state, stop.remaining) == ("filled", "live", 2)
    assert desk.live()[stop.id]["status"] == "PreSubmitted"
    desk.call("DELETE", f"/iserver/account/{desk.account}/order/{stop.id}")
    desk.pass_time(1)
    assert stop.state == "cancelled", "whoever notices can still cancel it"


def test_both_siblings_fill_and_the_position_turns_round() -> None:
    desk, put = short_put("oca-both-fill")
    stop, target = exits(desk, put)
    desk.hold(put, "0.45", "0.50")
    desk.pass_time(2)
    assert (target.state, stop.state) == ("filled", "filled")
    assert (target.executions[0].price, stop.executions[0].price) == (Decimal("0.50"), Decimal("3.00"))
    assert desk.book.quantity(put.conid) == 2, "bought twice what was short"
    assert desk.book.balanced
    events = [event["event"] for event in stop.events]
    assert events[-2:] == ["elected", "filled"]


def test_a_group_breaks_as_often_as_the_scenario_says() -> None:
    desk = Desk("bracket-child-reject=1", "oca-sibling-stays=1")
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    first, second = (
        desk.send(
            desk.ticket(put, "SELL", 2, "LMT", price=1.20, cOID=ref),
            desk.ticket(put, "BUY", 2, "STP", price=3.00, tif="GTC", parentId=ref),
            desk.ticket(put, "BUY", 2, "LMT", price=0.50, tif="GTC", parentId=ref),
        )[1]
        for ref in ("p", "q")
    )
    assert [row["order_id"] == "-1" for row in first] == [True, True, False], "both children of one request"
    stop, target, parent = (desk.order(row["order_id"]) for row in second)
    desk.exchange.fill(parent.id, Decimal("1.20"), None, desk.now)
    desk.exchange.fill(target.id, Decimal("0.50"), Decimal(1), desk.now)
    assert stop.total == 2, "the first fill does not reach it"
    desk.exchange.fill(target.id, Decimal("0.50"), Decimal(1), desk.now)
    assert stop.total == 1, "the second does"
    with pytest.raises(ValueError, match="how often"):
        desk.world.faults.set_scenarios(["oca-both-fill=often"])


def test_a_sleeping_child_is_not_filled_along() -> None:
    desk = Desk("oca-both-fill")
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    _, rows = desk.send(
        desk.ticket(put, "SELL", 1, "LMT", price=1.00, cOID="p"),
        desk.ticket(put, "BUY", 1, "STP", price=3.00, tif="GTC", parentId="p"),
        desk.ticket(put, "BUY", 1, "LMT", price=0.50, tif="GTC", parentId="p"),
    )
    stop, target, parent = (desk.order(row["order_id"]) for row in rows)
    assert (parent.state, stop.state, target.state) == ("filled", "live", "live")
