"""What each control says, word for word and figure for figure: what was measured, the limit, what is left, and why not.

The table is read by people before they send (`--dry-run`, `ibkit risk check`) and stored with each decision. It stands
in `words.txt`; UPDATE_GOLDEN=1 writes it anew, and the difference is to be read.
"""

from __future__ import annotations

import dataclasses
import os
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fakes import SPY, option, quote, stock_ticket
from ibkit.model import Conid, Contract, OrderType, Right, SecType, Side, TimeInForce
from ibkit.trading.events import Operation, Stage
from ibkit.trading.risk import CONTROLS, HaltMode, Mode, Usage
from ibkit.trading.risk.limits import PAPER_LIMITS
from risk_cases import (
    HEALTH,
    LIVE,
    NOW,
    bracket,
    case,
    foreign,
    halt,
    holding,
    left,
    limit_order,
    markets,
    oca,
    ours,
    read,
    sale,
    spread,
    spread_order,
    stop_order,
)

GOLDEN = Path(__file__).parent / "words.txt"


def paper(**changes):
    return dataclasses.replace(PAPER_LIMITS, **changes)


def live(**changes):
    return dataclasses.replace(LIVE, **changes)


def seconds(count):
    return NOW - timedelta(seconds=count)


NAKED = spread(("629", -2, Right.PUT), ("624", 1, Right.PUT))
SEEN = {"quote": quote(option().conid, "0.62", "0.63"), "underlying_price": Decimal(630)}
UNNAMED = Contract(conid=Conid(28812380), symbol="SPY", sec_type=SecType.COMBO)
PAIR = (limit_order("100"), limit_order("1", contract=option()))
WIDE = quote(SPY.conid, "90", "110")
RESET = dataclasses.replace(HEALTH, reset_from=NOW, reset_until=NOW + timedelta(minutes=15))
SILENT = dataclasses.replace(HEALTH, stream_stale=True)

SITUATIONS = {
    "RC-01": {
        "paper": case(),
        "a live login on paper": case(broker_is_paper=False),
        "a login of which nothing is known": case(broker_is_paper=None),
        "a paper account of a live environment": case(limits=live(), account="DU1234567"),
        "live": case(limits=LIVE),
        "live, by nobody confirmed": case(limits=LIVE, live_confirmed=False),
        "live, never enabled": case(limits=live(live_enabled_until=None)),
        "live, no longer enabled": case(limits=live(live_enabled_until=date(2026, 11, 19))),
        "live, a close after it was over": case(
            stock_ticket(side=Side.SELL), limits=live(live_enabled_until=date(2026, 11, 19)), positions=holding("10")
        ),
        "live, enabled for too long": case(limits=live(live_enabled_until=date(2027, 12, 1))),
    },
    "RC-29": {
        "off": case(),
        "confirmed": case(limits=LIVE, order_confirmed=True),
        "the first of the day": case(limits=live(confirm_first=True), order_confirmed=False),
        "large": case(limits=live(confirm_above=Decimal(999), confirm_first=False), order_confirmed=False),
        "small": case(limits=live(confirm_above=Decimal(1001), confirm_first=False), order_confirmed=False),
        "of a value that is not known": case(
            limits=live(confirm_above=Decimal(999), confirm_first=False), order_confirmed=False, quote=None
        ),
        "the second of the day": case(
            limits=live(confirm_above=None, confirm_first=True), order_confirmed=False, usage=Usage(sent_today=1)
        ),
    },
    "RC-02": {
        "no halt": case(),
        "a halt": case(halts=(halt(note="enough"),)),
        "a halt of a control, until": case(
            halts=(halt(HaltMode.REDUCE_ONLY, control="RC-16", until=NOW + timedelta(hours=9), symbol="SPY"),)
        ),
    },
    "RC-26": {
        "young": case(now=NOW + timedelta(seconds=2)),
        "young, to the millisecond": case(now=NOW + timedelta(microseconds=1_234_567)),
        "old": case(now=NOW + timedelta(seconds=3600)),
        "at a confirmation": case(stage=Stage.CONFIRM, now=NOW + timedelta(seconds=3600)),
    },
    "RC-03": {
        "any": case(),
        "one of several": case(limits=LIVE),
        "none of them": case(limits=LIVE, account="U7654321"),
    },
    "RC-04": {
        "any": case(*PAIR),
        "one of several": case(*PAIR, limits=paper(allowed_symbols=frozenset({"QQQ", "SPY"}))),
        "none of them": case(limits=paper(allowed_symbols=frozenset({"QQQ", "IWM"}))),
    },
    "RC-05": {
        "allowed": case(*PAIR),
        "not allowed": case(sale("1"), limits=paper(sec_types=frozenset({SecType.STOCK, SecType.CASH}))),
        "a combination of which no legs are known": case(stock_ticket(contract=UNNAMED)),
    },
    "RC-06": {
        "allowed": case(*PAIR),
        "a type that is not": case(limits=paper(order_types=frozenset({OrderType.LIMIT}))),
        "a time that is not": case(limit_order("100", tif=TimeInForce.GTC), limits=paper(tifs=frozenset())),
        "a stop for a time that is not": case(stop_order("100"), limits=paper(stop_tifs=frozenset())),
        "a live market order without a guard": case(limits=live(market_orders=Mode.WARN)),
    },
    "RC-24": {
        "off": case(limits=paper(regular_hours=False)),
        "open": case(limits=LIVE),
        "closed": case(limits=LIVE, now=NOW + timedelta(hours=6)),
        "not known": case(limits=LIVE, hours=None),
        "at the market outside": case(stock_ticket(outside_rth=True), limits=LIVE),
    },
    "RC-25": {
        "none known": case(),
        "no session known": case(health=None),
        "ahead": case(health=RESET, now=seconds(420)),
        "inside": case(health=RESET),
        "over": case(health=RESET, now=NOW + timedelta(hours=1)),
        "off": case(health=RESET, limits=paper(reset_margin_s=0.0), now=seconds(1)),
    },
    "RC-27": {
        "all is well": case(),
        "no skew known": case(health=dataclasses.replace(HEALTH, skew_s=None)),
        "not known": case(health=None),
        "old": case(health=dataclasses.replace(HEALTH, at=seconds(3600))),
        "closed": case(health=dataclasses.replace(HEALTH, authenticated=False)),
        "shared": case(health=dataclasses.replace(HEALTH, competing=True)),
        "clocks apart": case(health=dataclasses.replace(HEALTH, skew_s=-60.0)),
        "silent": case(health=SILENT),
    },
    "RC-07": {
        "shares": case(),
        "too many": case(stock_ticket("10001")),
        "contracts": case(sale("3")),
        "of two the one with less room": oca(stock_ticket("10"), sale("9")),
        "off": case(limits=paper(max_shares=None)),
    },
    "RC-12": {
        "on the grid": case(limit_order("100")),
        "off it": case(limit_order("100.01")),
        "no grid known": case(limit_order("100"), increments=None),
        "nonsense": case(limit_order("1000001")),
        "nothing": case(limit_order("0")),
        "half a contract": case(sale("1.5")),
        "off": case(limits=paper(ticks=False)),
    },
    "RC-09": {
        "fresh": case(),
        "not needed": case(limit_order("100"), limits=paper(collar_pct=None)),
        "old": case(quote_at=seconds(9)),
        "none": case(quote=None),
    },
    "RC-10": {
        "near": case(limit_order("100")),
        "a sale far below": case(limit_order("50", side=Side.SELL)),
        "a purchase far above": case(limit_order("150")),
        "an option": case(limit_order("0.70", contract=option()), **SEEN),
        "no market": case(limit_order("100"), quote=None),
        "off": case(),
        "of two the one with less room": oca(limit_order("99"), limit_order("100")),
        "of a bracket its parent alone": bracket(limit_order("100"), limit_order("300", side=Side.SELL)),
    },
    "RC-11": {
        "narrow": case(),
        "wide, on paper": case(quote=WIDE),
        "wide, live": case(limits=LIVE, quote=WIDE),
        "old, live": case(limits=LIVE, quote_at=seconds(3)),
        "one side, live": case(limits=LIVE, quote=quote(SPY.conid, None, "100")),
        "a limit": case(limit_order("100")),
    },
    "RC-08": {
        "a value": case(),
        "too large": case(stock_ticket("10000")),
        "not known": case(quote=None),
        "off": case(limits=paper(max_order_value=None)),
    },
    "RC-13": {
        "a position": case(limits=LIVE),
        "too large": case(stock_ticket("9999"), limits=live(max_position=Decimal(100)), positions=holding("5")),
        "too large a value": case(
            stock_ticket("100"), limits=live(max_position_value=Decimal(100)), positions=holding("5", "500")
        ),
        "not known": case(limits=live(max_position=Decimal(100)), positions=None, position=None),
        "a sale": case(stock_ticket(side=Side.SELL), limits=live(max_position=Decimal(5))),
        "a value that is not known": case(
            limits=live(max_position=None, max_position_value=Decimal(100)), quote=None, positions=holding("5")
        ),
        "a combination": case(spread_order(NAKED, "1"), limits=live(max_position=Decimal(5))),
        "of two the one with less room": oca(stock_ticket("1"), stock_ticket("9", side=Side.SELL)),
        "off": case(limits=live(max_position=None, max_position_value=None)),
    },
    "RC-14": {
        "exposed": case(limit_order("100", "10"), positions=holding("5", "500")),
        "too much": case(limit_order("100", "10"), limits=paper(max_exposure=Decimal("0.0001"))),
        "worth not known": case(net_liquidation=None),
        "positions not known": case(positions=None),
        "a value not known": case(positions=holding("5", None)),
        "an order's value not known": case(usage=Usage(open=(ours(limit_order("50", "10"), value=None),))),
        "off": case(limits=paper(max_exposure=None)),
    },
    "RC-15": {
        "nothing short": case(),
        "short options": case(sale("3")),
        "too many": case(sale("3"), open_short_options=Decimal(18)),
        "a naked leg": case(spread_order(NAKED, "1"), markets=markets(NAKED, ("1", "1.1"), ("1", "1.1"))),
        "short shares": case(stock_ticket("10", side=Side.SELL), limits=LIVE, positions=holding("4")),
        "shares, not known": case(stock_ticket("10", side=Side.SELL), limits=LIVE, positions=None, position=None),
        "not known": case(sale("3"), open_short_options=None),
    },
    "RC-16": {
        "a profit": case(daily_pnl=Decimal(5)),
        "a loss": case(daily_pnl=Decimal("-5.5")),
        "too much": case(daily_pnl=Decimal(-900_000)),
        "not known": case(daily_pnl=None),
        "old": case(pnl_at=seconds(61)),
        "off": case(limits=paper(max_daily_loss_pct=None)),
    },
    "RC-17": {
        "a day": case(limits=live(max_daily_value=Decimal(5000)), usage=Usage(value_today=Decimal(100))),
        "too much": case(limits=live(max_daily_value=Decimal(1000)), usage=Usage(value_today=Decimal(100))),
        "not known": case(limits=live(max_daily_value=Decimal(1000)), usage=Usage(value_today=None)),
        "off": case(limits=live(max_daily_value=None)),
    },
    "RC-18": {
        "few": case(usage=Usage(sent=(left(stock_ticket(), ago_s=3.0),), sent_today=7)),
        "too many in a second": case(
            limits=paper(orders_per_second=1), usage=Usage(sent=(left(stock_ticket(), ago_s=0.5),), sent_today=1)
        ),
        "too many in a minute": case(
            limits=paper(orders_per_minute=1), usage=Usage(sent=(left(stock_ticket(), ago_s=5.0),), sent_today=1)
        ),
        "too many in a day": case(limits=paper(orders_per_day=7), usage=Usage(sent_today=7)),
        "off": case(limits=paper(orders_per_second=None, orders_per_minute=None, orders_per_day=None)),
    },
    "RC-19": {
        "few": case(usage=Usage(sent=(left(stock_ticket(), ago_s=3.0),))),
        "too many": case(usage=Usage(sent=tuple(left(stock_ticket(), ago_s=3.0, name=f"ib-{n}") for n in range(5)))),
        "an order in a loop": case(usage=Usage(open=(ours(stock_ticket("10"), sent=Decimal(50)),))),
        "off": case(limits=paper(repeat_breaker=None)),
    },
    "RC-20": {
        "few": case(usage=Usage(rejects=(seconds(3),))),
        "too many": case(usage=Usage(rejects=tuple(seconds(n) for n in range(5)))),
        "off": case(limits=paper(reject_breaker=None)),
    },
    "RC-21": {
        "no twin": case(),
        "a twin, on paper": case(usage=Usage(sent=(left(stock_ticket("10"), ago_s=1.0),))),
        "a twin, live": case(limits=LIVE, usage=Usage(sent=(left(stock_ticket("10"), ago_s=1.0),))),
        "a twin that is wanted": case(
            limits=LIVE, usage=Usage(sent=(left(stock_ticket("10"), ago_s=1.0),)), allow_duplicate=True
        ),
        "off": case(limits=paper(duplicates=Mode.OFF)),
    },
    "RC-22": {
        "none": case(),
        "one, on paper": case(usage=Usage(unknown=frozenset({SPY.conidex}))),
        "one, live": case(limits=LIVE, usage=Usage(unknown=frozenset({SPY.conidex}))),
        "off": case(limits=paper(unknowns=Mode.OFF)),
    },
    "RC-23": {
        "few": case(others=(foreign(),)),
        "too many": case(limits=paper(max_active_orders=1), others=(foreign(),)),
        "not known": case(others=None),
        "off": case(limits=paper(max_active_orders=None)),
        "of two the one with less room": oca(stock_ticket(), stock_ticket(side=Side.SELL), others=(foreign(),)),
        "a change": case(operation=Operation.MODIFY, others=(foreign(),)),
    },
    "RC-28": {
        "nothing asked": case(),
        "covered": case(tied=("RC-07", "RC-12")),
        "not covered": case(tied=("RC-07", "RC-99")),
    },
    "RC-30": {
        "off": case(strategy="condor"),
        "watched": case(limits=paper(heartbeat_s=30.0), strategy="condor"),
        "nobody's": case(limits=paper(heartbeat_s=30.0)),
    },
}


def said(control, given):
    """All that a reading holds, on a line or two."""
    reading = read(control, given)
    assert reading.control == control
    assert isinstance(reading.value, str)
    assert isinstance(reading.limit, str)
    left_over = "" if reading.headroom is None else f", {reading.headroom.normalize():f} left"
    lines = [f"{reading.state.name} {reading.name}: {reading.value or '-'} of {reading.limit or '-'}{left_over}"]
    if reading.objection is not None:
        objection = reading.objection
        assert (objection.control, objection.name) == (control, reading.name)
        assert (objection.value, objection.limit) == (reading.value, reading.limit)
        lines.append(f"{objection.code}: {objection.text}")
    if reading.warning:
        lines.append(f"warning: {reading.warning}")
    if reading.halt is not None:
        stop = reading.halt
        lines.append(
            f"halt: {stop.environment.value} {stop.mode.value} by {stop.by} ({stop.control}) of "
            f"{stop.account_id or 'all'} {stop.symbol or 'all'} from {stop.at} until {stop.until}: {stop.note}"
        )
    return lines


@pytest.mark.requirement("TRD-18", "OPT-09")
def test_what_each_control_says_stands_in_the_table():
    written = []
    for control, situations in SITUATIONS.items():
        for title, given in situations.items():
            first, *more = said(control, given)
            written += [f"{control} {title}", f"    {first}", *(f"    {line}" for line in more)]
    text = "\n".join(written) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")

    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.requirement("TRD-18")
def test_every_control_has_its_situations():

    assert {control.number for control in CONTROLS} == set(SITUATIONS)
