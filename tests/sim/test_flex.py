"""The simulated Flex Web Service: its protocol against our client, its statements against the books and a stranger."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desks import Desk
from flex_oracle import compared
from ibkit.client.flex import FlexClient, FlexPending
from ibkit.errors import CredentialsRejected, InvalidRequest
from ibkit.model import Secret
from ibkit.sim.exchange.books import Holding
from ibkit.sim.exchange.tickets import read_ticket
from ibkit.sim.flex.period import report_day
from ibkit.sim.flex.queries import SimFlexQuery
from ibkit.sim.flex.service import FLEX_PATH
from ibkit.sim.flex.statement import make_statement
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import CLOUD_URL, TRADING_MOMENT, Simulator
from ibkit.wire.flex import (
    HISTORY_NEEDS,
    FlexFailure,
    FlexReference,
    FlexReport,
    FlexStatement,
    decode_flex,
    missing_sections,
    read_answer,
)
from ibkit.wire.http import Request, Response
from simulators import KEYS, Caller, make_simulator

pytestmark = pytest.mark.requirement("FUT-08", "TST-01")

SPY = 756733
ACTIVITY, CONFIRMS = "10000000101", "10000000102"


class Moving:
    """The simulator's clock, which goes on while somebody sleeps on it."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def now(self):
        return self._simulator.clock.now()

    def monotonic(self) -> float:
        return self._simulator.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        self._simulator.advance(seconds)


def client(simulator: Simulator, *, username: str = "simpaper1", token: str | None = None) -> FlexClient:
    return FlexClient(
        token=Secret(token or simulator.world.flex.token_of(username)),
        transport=simulator.transport("cloud"),
        base_url=CLOUD_URL + FLEX_PATH,
        clock=Moving(simulator),
    )


def ask(simulator: Simulator, call: str, q: str, *, wait: float = 6.5, headers: Any = None, **changed: str) -> Response:
    simulator.advance(wait)
    query = {"t": simulator.world.flex.token_of("simpaper1"), "q": q, "v": "3", **changed}
    text = "&".join(f"{name}={value}" for name, value in query.items())
    headers = {"User-Agent": "test"} if headers is None else headers
    outcome = simulator.server.handle(
        Request("GET", f"{CLOUD_URL}{FLEX_PATH}/{call}?{text}", headers), face="cloud", peer="127.0.0.1"
    )
    return Response(outcome.status, dict(outcome.headers), outcome.body)


def trade(desk: Desk, shares: int, price: str = "600.00", conid: int = SPY) -> None:
    row = {"conid": conid, "side": "BUY" if shares > 0 else "SELL", "quantity": abs(shares), "orderType": "LMT"}
    ticket = read_ticket({**row, "tif": "GTC", "price": 1 if shares > 0 else 9000}, desk.world.instruments)
    order = desk.exchange.enter_external(desk.account, ticket, desk.now)
    if order.working:
        desk.exchange.fill(order.id, Decimal(price), None, desk.now)


def event(desk: Desk, **body: object) -> None:
    desk.simulator.control("POST", "events", body)


def statement(desk: Desk, *, first: date | None = None, last: date | None = None, **options: object) -> FlexStatement:
    """Up to now, without the service."""
    from dataclasses import replace

    query = replace(desk.world.flex.queries[ACTIVITY], **options)  # type: ignore[arg-type]
    today = report_day(desk.world, desk.now)
    first = first or report_day(desk.world, desk.world.config.start)
    body = make_statement(desk.world, query, first, last or today, desk.now)
    (only,) = decode_flex(body, accounts={desk.account}).statements
    return only


# --- the protocol ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_our_client_gets_a_statement_after_two_times_in_progress() -> None:
    simulator = make_simulator(maintenance="no")
    flex = client(simulator)
    fetched = await flex.fetch(ACTIVITY)
    query = decode_flex(fetched.body, accounts={"DU1000001"})
    assert query.statements[0].toDate == date(2026, 11, 19)  # the last day that is over
    assert missing_sections(query, HISTORY_NEEDS) == []
    calls = [entry.path.rpartition("/")[2] for entry in simulator.requests]
    assert calls == ["SendRequest", "GetStatement", "GetStatement", "GetStatement"]
    assert all(entry.query["t"] == "…" for entry in simulator.requests)


@pytest.mark.anyio
async def test_a_hanging_statement_is_gone_on_with() -> None:
    simulator = make_simulator(maintenance="no", flex_hang="yes")
    flex = client(simulator)
    with pytest.raises(FlexPending) as caught:
        await flex.fetch(ACTIVITY)
    assert not any(entry.status != 200 for entry in simulator.requests)
    simulator.control("POST", "quirks", {"flex_hang": False})
    fetched = await client(simulator).fetch(ACTIVITY, ticket=caught.value.ticket)
    assert decode_flex(fetched.body).statements


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"token": {"username": "simpaper1", "expires_in_s": 0}}, 1012),
        ({"token": {"username": "simpaper1", "ip": "203.0.113.7"}}, 1013),
        ({"token": {"username": "simpaper1", "renew": True}}, 1015),
    ],
)
async def test_tokens_end(change: dict[str, object], error: int) -> None:
    simulator = make_simulator(maintenance="no")
    flex = client(simulator)
    simulator.control("POST", "flex", change)
    with pytest.raises(CredentialsRejected) as caught:
        await flex.fetch(ACTIVITY)
    assert caught.value.details["flex_code"] == error


@pytest.mark.anyio
async def test_a_query_of_another_user_is_refused() -> None:
    simulator = make_simulator(maintenance="no")
    with pytest.raises(InvalidRequest) as caught:
        await client(simulator, username="simpaper2").fetch(ACTIVITY)
    assert caught.value.details["flex_code"] == 1014


@pytest.mark.anyio
async def test_failures_by_hand_pass_and_the_statement_comes() -> None:
    simulator = make_simulator(maintenance="no")
    for code, on in ((1009, "SendRequest"), (1018, "GetStatement"), (1021, "GetStatement"), (1004, "GetStatement")):
        simulator.control("POST", "flex", {"fail": {"code": code, "on": on, "times": 1}})
    assert (await client(simulator).fetch(ACTIVITY)).body
    assert simulator.control("GET", "flex")["failures"] == []


def test_the_service_refuses_what_ibkr_refuses() -> None:
    simulator = make_simulator(maintenance="no")
    assert ask(simulator, "SendRequest", ACTIVITY, headers={}).status == 403
    assert ask(simulator, "Elsewhere", ACTIVITY).status == 404

    def code(call: str, q: str, **changed: str) -> int:
        answer = read_answer(ask(simulator, call, q, **changed))
        assert isinstance(answer, FlexFailure)
        return answer.code

    assert code("SendRequest", "999") == 1014
    assert code("SendRequest", ACTIVITY, t="1") == 1015
    assert code("SendRequest", ACTIVITY, v="2") == 1020
    assert code("SendRequest", ACTIVITY, fd="20260101", td="20270101") == 1020
    assert code("SendRequest", ACTIVITY, fd="20260101") == 1020
    assert code("SendRequest", ACTIVITY, fd="20270101", td="20270102") == 1003
    assert code("GetStatement", "4000000000") == 1017
    assert code("GetStatement", "1", wait=0.2) == 1018  # type: ignore[arg-type]
    old = Request("GET", f"{CLOUD_URL}/Universal/servlet/FlexStatementService.SendRequest?t=1&q=2", {"User-Agent": "x"})
    outcome = simulator.server.handle(old, face="cloud")
    assert read_answer(Response(200, {}, outcome.body)) == FlexFailure(
        1001, "Statement could not be generated at this time. Please try again shortly."
    )
    assert Caller(simulator, "gateway")("GET", f"{FLEX_PATH}/SendRequest?t=1&q=2&v=3").status == 302


def test_ten_requests_a_minute_and_a_reference_lives_a_while() -> None:
    simulator = make_simulator(maintenance="no")
    taken = read_answer(ask(simulator, "SendRequest", ACTIVITY))
    assert isinstance(taken, FlexReference)
    answers = [read_answer(ask(simulator, "GetStatement", taken.reference, wait=2)) for _ in range(10)]
    kinds = [answer.code if isinstance(answer, FlexFailure) else type(answer) for answer in answers]
    assert kinds == [1019, 1019, *[FlexReport] * 7, 1018]
    simulator.advance(900)
    assert read_answer(ask(simulator, "GetStatement", taken.reference)) == FlexFailure(
        1017, "Reference code is invalid."
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"what": {}},
        {"query": {"id": "1", "sections": ["Moonshots"]}},
        {"query": {"id": "1", "accounts": ["U9"]}},
        {"query": {"id": "1", "accounts": []}},
        {"query": {"id": "1", "period": "Never"}},
        {"query": {"colour": "red"}},
        {"token": {"username": "nobody"}},
        {"token": 5},
        {"fail": {"code": 1}},
        {"fail": {"code": 1001, "on": "Elsewhere"}},
        {"fail": {"code": 1001, "times": "often"}},
    ],
)
def test_what_the_control_cannot_do_is_said(body: dict[str, object]) -> None:
    simulator = make_simulator()
    before = simulator.control("GET", "flex")
    with pytest.raises(ValueError):
        simulator.control("POST", "flex", body)
    assert simulator.control("GET", "flex") == before


@pytest.mark.anyio
async def test_a_template_chooses_sections_dates_and_days() -> None:
    desk = Desk(flex_data="now")
    trade(desk, 100)
    desk.simulator.control(
        "POST",
        "flex",
        {
            "query": {
                "id": "77",
                "sections": ["Trades", "OpenPositions"],
                "period": "Last30CalendarDays",
                "dashed": True,
                "zoned": True,
                "breakout": True,
                "omit": ["markPrice"],
            }
        },
    )
    body = (await client(desk.simulator).fetch("77")).body
    assert b'dateTime="2026-11-20;' in body
    assert b' EST"' in body
    query = decode_flex(body)
    assert len(query.statements) == 22
    assert [len(each.trades) for each in query.statements] == [*[0] * 21, 1]
    assert sorted(query.statements[0].sections) == ["OpenPositions", "Trades"]
    assert "OpenPositions: markPrice" in map(str, missing_sections(query))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault", ["drop-request", "drop-answer", "truncate", "html", "empty-200", "redirect", "status"]
)
@pytest.mark.parametrize("call", ["SendRequest", "GetStatement"])
async def test_whatever_breaks_on_the_way_the_statement_comes_whole(fault: str, call: str) -> None:
    """A cut answer is no statement, and no reference is lost by one."""
    simulator = make_simulator(maintenance="no", flex_polls=0)
    row = {"path": f"{FLEX_PATH}/{call}", "fault": fault, "times": 2, "params": {"status": 503}}
    simulator.control("POST", "faults", row if fault == "status" else {**row, "params": {}})
    fetched = await client(simulator).fetch(ACTIVITY)
    assert decode_flex(fetched.body, accounts={"DU1000001"}).statements
    asked = [entry.path.rpartition("/")[2] for entry in simulator.requests]
    assert asked.count(call) == 3
    assert asked.count("SendRequest") == (3 if call == "SendRequest" else 1)


@pytest.mark.anyio
async def test_queries_and_the_life_of_tokens_are_configured() -> None:
    saved = SimFlexQuery(id="4711", username="simpaper1", accounts=("DU1000001",), sections=("CashReport",))
    quirks = Quirks().with_values({"flex_token_s": 3600, "maintenance": "no"})
    simulator = Simulator.at(TRADING_MOMENT, keys=KEYS, quirks=quirks, flex_queries=(saved,))
    (told,) = decode_flex((await client(simulator).fetch("4711")).body).statements
    assert list(told.sections) == ["CashReport"]
    simulator.advance(3600)
    with pytest.raises(CredentialsRejected):
        await client(simulator).fetch("4711")


# --- statements and books -------------------------------------------------------------------------------------------


def a_month(desk: Desk) -> None:
    """Something of everything."""
    event(desk, event="deposit", account=desk.account, amount="25000.00")
    trade(desk, 100, "600.00")
    trade(desk, 100, "610.00")
    event(desk, event="convert", account=desk.account, currency="EUR", quantity="2000", rate="1.10")
    event(desk, event="convert", account=desk.account, currency="JPY", quantity="-30000")
    desk.simulator.advance(3 * 86400)
    trade(desk, -150, "620.00")
    event(desk, event="dividend", symbol="SPY", per_share="1.76", tax_pct="15")
    event(desk, event="split", symbol="SPY", new=2, old=1)
    event(desk, event="rate", currency="EUR", rate="1.15")
    event(desk, event="fee", account=desk.account, amount="-10.00")
    event(desk, event="interest", account=desk.account, amount="-3.21", currency="EUR")
    from ibkit.sim.exchange.books import trade_day

    today = trade_day(desk.now)
    puts = [o for o in desk.world.instruments.chain("SPY", today) if o.right == "P" and o.expiry > today]
    deep, far = max(puts, key=lambda o: o.strike), min(puts, key=lambda o: o.strike)
    trade(desk, -1, "300.00", deep.conid)
    trade(desk, 2, "0.50", far.conid)
    event(desk, event="assign", account=desk.account, conid=deep.conid, quantity=1)
    desk.simulator.advance(5 * 86400)


def replayed(told: FlexStatement) -> tuple[dict[str, Decimal], dict[int, Decimal]]:
    """Cash and positions as whoever reads the statement adds them up, from nothing but its rows."""
    cash: dict[str, Decimal] = defaultdict(Decimal)
    held: dict[int, Decimal] = defaultdict(Decimal)
    for row in told.trades:
        assert row.quantity is not None
        assert row.proceeds is not None
        assert row.ibCommission is not None
        cash[row.currency or ""] += row.proceeds
        cash[row.ibCommissionCurrency or ""] += row.ibCommission
        if row.assetCategory == "CASH":
            cash[(row.symbol or "").split(".")[0]] += row.quantity
        else:
            held[row.conid or 0] += row.quantity
    for cash_row in told.cash_transactions:
        assert cash_row.amount is not None
        cash[cash_row.currency or ""] += cash_row.amount
    for action in told.corporate_actions:
        held[action.conid or 0] += action.quantity or 0
    for transfer in told.transfers:
        held[transfer.conid or 0] += transfer.quantity or 0
    return cash, {conid: quantity for conid, quantity in held.items() if quantity}


def coherent(desk: Desk, told: FlexStatement) -> None:
    """The statement agrees with itself, and with the books, to the last digit."""
    cash, held = replayed(told)
    for row in told.cash_report:
        assert row.startingCash is not None
        assert row.endingCash == row.startingCash + cash[row.currency or ""], row.currency
    book = desk.book
    assert {row.currency: row.endingCash for row in told.cash_report} == {"USD": book.cash, **book.foreign}
    assert {row.conid: row.position for row in told.open_positions} == held
    assert held == {conid: h.quantity for conid, h in book.holdings.items() if h.quantity}
    for conid, lots in itertools.groupby(told.open_lots, key=lambda row: row.conid):
        (position,) = [row for row in told.open_positions if row.conid == conid]
        parts = list(lots)
        assert sum(row.position or 0 for row in parts) == position.position
        assert sum(row.costBasisMoney or 0 for row in parts) == position.costBasisMoney
    for row in told.trades:
        if row.assetCategory != "CASH":
            assert row.fifoPnlRealized == (row.netCash or 0) + (row.cost or 0)
    realized = sum(row.fifoPnlRealized or 0 for row in told.trades)
    assert realized == sum(row.fifoPnlRealized or 0 for row in told.closed_lots)
    change = told.change_in_nav
    assert change is not None
    assert told.equity_summaries[-1].total == change.endingValue
    seen = desk.world.books.portfolio(desk.account, desk.now).values
    if desk.world.calendar.session(told.toDate) is not None and desk.world.calendar.is_open(desk.now):  # type: ignore[arg-type]
        assert abs((change.endingValue or 0) - seen.net_liquidation) <= Decimal("0.05")


@pytest.fixture
def lived() -> Desk:
    desk = Desk()
    a_month(desk)
    return desk


def test_a_statement_agrees_with_itself_and_with_the_books(lived: Desk) -> None:
    told = statement(lived)
    coherent(lived, told)
    assert missing_sections(told, HISTORY_NEEDS) == []
    assert {row.type for row in told.cash_transactions} == {
        *("Deposits/Withdrawals", "Dividends", "Withholding Tax", "Other Fees", "Broker Interest Paid")
    }
    assert [row.type for row in told.corporate_actions] == ["FS"]
    assert {row.transactionType for row in told.option_events} >= {"Assignment", "Buy"}
    assert {row.symbol for row in told.trades if row.assetCategory == "CASH"} == {"EUR.USD", "USD.JPY"}
    assert {row.fxCurrency for row in told.fx_positions} == {"EUR", "JPY"}
    assert told.account_information is not None
    assert told.account_information.currency == "USD"
    assert told.unknown_sections == ()
    assert all(not row.unread for rows in told.sections.values() for row in rows)


def test_a_stranger_reads_the_same_in_a_simulated_statement(lived: Desk) -> None:
    query = lived.world.flex.queries[ACTIVITY]
    body = make_statement(lived.world, query, date(2026, 11, 20), report_day(lived.world, lived.now), lived.now)
    assert compared(body) > 1000


def test_holdings_of_a_statement_are_those_of_the_positions(lived: Desk) -> None:
    """FUT-08: the same holdings as by positions."""
    lived.get("/portfolio/accounts")
    rows = lived.get(f"/portfolio2/{lived.account}/positions")
    told = statement(lived)
    assert {int(row["conid"]): row["position"] for row in rows} == {
        row.conid: float(row.position or 0) for row in told.open_positions
    }
    assert rows
    assert {row["currency"] for row in rows} == {row.currency for row in told.open_positions}


def test_days_one_by_one_are_the_whole(lived: Desk) -> None:
    """Cash and value at the end of a day are those at the beginning of the next."""
    whole = statement(lived)
    days = lived.world.calendar.days_between(date(2026, 11, 20), date(2026, 11, 28))
    before: FlexStatement | None = None
    trades: list[str | None] = []
    for day in days:
        told = statement(lived, first=day, last=day)
        trades += [row.tradeID for row in told.trades]
        if before is not None:
            ended = {row.currency: row.endingCash for row in before.cash_report}
            for row in told.cash_report:
                assert row.startingCash == ended.get(row.currency, Decimal(0))
        before = told
    assert trades == [row.tradeID for row in whole.trades]


def test_lots_go_first_in_first_out() -> None:
    desk = Desk()
    trade(desk, 100, "600.00")
    trade(desk, 100, "610.00")
    trade(desk, -150, "620.00")
    told = statement(desk)
    assert [(row.quantity, row.cost) for row in told.closed_lots] == [
        (Decimal(100), Decimal("60001")),
        (Decimal(50), Decimal("30500.5")),
    ]
    (lot,) = told.open_lots
    assert (lot.position, lot.costBasisMoney) == (Decimal(50), Decimal("30500.5"))
    assert [row.openCloseIndicator for row in told.trades] == ["O", "O", "C"]
    trade(desk, -150, "620.00")
    assert statement(desk).trades[-1].openCloseIndicator == "C;O"


@pytest.mark.anyio
async def test_confirmations_come_after_minutes_and_count_once() -> None:
    desk = Desk()
    trade(desk, 100, "600.00")
    trade(desk, -40, "605.00")
    flex = client(desk.simulator)
    early = decode_flex((await flex.fetch(CONFIRMS)).body)
    assert early.type == "TCF"
    assert early.statements[0].trade_confirms == ()
    desk.simulator.advance(600)
    body = (await flex.fetch(CONFIRMS)).body
    (told,) = decode_flex(body).statements
    assert [(row.quantity, row.netCash) for row in told.trade_confirms] == [
        (Decimal(100), Decimal(-60001)),
        (Decimal(-40), Decimal(24199)),
    ]
    assert [row.levelOfDetail for row in told.sections["TradeConfirms"]] == ["SYMBOL_SUMMARY", "ORDER", "EXECUTION"] * 2
    assert {row.execID for row in told.trade_confirms} == {
        execution.id for order in desk.exchange.orders.values() for execution in order.executions
    }
    assert compared(body) > 100


def options_held(desk: Desk) -> list[Holding]:
    return [h for h in desk.book.holdings.values() if h.quantity and h.instrument.is_option]


def near_put(desk: Desk) -> int:
    """A put around the money, the next to expire after today."""
    today = report_day(desk.world, desk.now)
    price = desk.world.market.quote(SPY, desk.now).mark
    assert price is not None
    puts = [o for o in desk.world.instruments.chain("SPY", today) if o.right == "P" and o.expiry and o.expiry > today]
    first = min(o.expiry for o in puts if o.expiry)
    return min((o for o in puts if o.expiry == first), key=lambda o: abs((o.strike or 0) - price)).conid


things = st.one_of(
    st.tuples(st.just("trade"), st.integers(-300, 300).filter(bool)),
    st.tuples(st.just("cash"), st.integers(-50_000, 50_000).filter(bool)),
    st.tuples(st.just("dividend"), st.integers(1, 500)),
    st.tuples(st.just("convert"), st.integers(-5000, 5000).filter(bool)),
    st.tuples(st.just("yen"), st.integers(-900_000, 900_000).filter(bool)),
    st.tuples(st.just("split"), st.sampled_from([(2, 1), (3, 1), (3, 2), (1, 10)])),
    st.tuples(st.just("rate"), st.integers(90, 130)),
    st.tuples(st.just("days"), st.integers(1, 4)),
    st.tuples(st.just("put"), st.integers(-3, 3).filter(bool)),
    st.tuples(st.just("early"), st.integers(1, 3)),
)


@given(st.lists(things, max_size=14))
@settings(max_examples=25, deadline=None)
def test_any_life_of_an_account_is_told_to_the_last_digit(rows: list[tuple[str, Any]]) -> None:
    desk = Desk()
    for name, what in rows:
        match name:
            case "trade":
                trade(desk, what, "100.37")
            case "cash":
                event(desk, event="deposit", account=desk.account, amount=Decimal(what) / 100)
            case "dividend":
                event(desk, event="dividend", symbol="SPY", per_share=Decimal(what) / 100, tax_pct=15)
            case "convert":
                event(desk, event="convert", account=desk.account, currency="EUR", quantity=what)
            case "yen":
                event(desk, event="convert", account=desk.account, currency="JPY", quantity=what)
            case "rate":
                event(desk, event="rate", currency="EUR", rate=Decimal(what) / 100)
            case "days":
                desk.simulator.advance(timedelta(days=what).total_seconds())
            case "put":
                trade(desk, what, "3.15", near_put(desk))
            case "early":
                for holding in options_held(desk)[:1]:
                    word = "exercise" if holding.quantity > 0 else "assign"
                    size = min(abs(holding.quantity), Decimal(what))
                    conid = holding.instrument.conid
                    event(desk, event=word, account=desk.account, conid=conid, quantity=size)
            case _:
                if desk.book.quantity(SPY) * what[0] % what[1] == 0 and not options_held(desk):
                    event(desk, event="split", symbol="SPY", new=what[0], old=what[1])
    coherent(desk, statement(desk))
