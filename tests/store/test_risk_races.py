"""A hundred orders race for one budget: the compare-and-set of the journal lets through what fits, never more."""

from __future__ import annotations

import multiprocessing
from decimal import Decimal

import anyio
import pytest

from fakes import ACCOUNT, GRID, SPY, START, USER, quote, stock_ticket
from ibkit.clock import ManualClock
from ibkit.model import Environment, Key, OrderType, Ref, Username
from ibkit.store import open_journal
from ibkit.trading.events import Claimed, Decided, IntentId, Operation, Planned, Sending, Stage
from ibkit.trading.fingerprint import fingerprint, ticket_terms
from ibkit.trading.ports import ControlsMoved
from ibkit.trading.risk import Facts, Layer, LimitChange, SessionHealth, case_of, check, scope_of

pytestmark = pytest.mark.requirement("TRD-18")
FACTS = Facts(
    broker_is_paper=True,
    quote=quote(SPY.conid, "100", "100"),
    quote_at=START,
    increments=GRID,
    positions={},
    read_at=START,
    others=(),
    open_short_options=Decimal(0),
    net_liquidation=Decimal(10_000_000),
    daily_pnl=Decimal(0),
    pnl_at=START,
    health=SessionHealth(authenticated=True, competing=False, at=START),
)
WIDE = {
    "orders_per_second": "off",
    "orders_per_minute": "off",
    "repeat_breaker": "off",
    "max_active_orders": "off",
    "duplicates": "off",
}


def wish(number: int, username: Username) -> Planned:
    ticket = stock_ticket("10", order_type=OrderType.LIMIT, limit_price=Decimal(100))
    terms = ticket_terms(ticket)
    ref = f"ib-{username}-{number}"
    return Planned(
        at=START,
        intent_id=IntentId(ref),
        operation=Operation.PLACE,
        tenant="local",
        environment=Environment.PAPER,
        username=username,
        key=Key(f"key-{username}-{number:012d}"),
        ref=Ref(ref),
        account_id=ACCOUNT,
        ticket=ticket,
        target=None,
        terms=terms,
        fingerprint=fingerprint(terms),
        expires_at=START,
        purpose="order",
    )


async def try_to_send(journal, planned: Planned, epoch: int) -> bool:
    """Decide and send as the conversation does; decided anew while others are faster."""
    intent, _ = await journal.plan(planned)
    moment = {"at": START, "passed": True, "version": "v"}
    claimed = Claimed(at=START, owner="race", epoch=epoch)
    intent = await journal.append(intent, Decided(stage=Stage.INTAKE, **moment), claimed)
    while True:
        state = await journal.risk.state(scope_of(planned), START, read_at=START)
        verdict = check(case_of(planned, FACTS, state, stage=Stage.SEND, now=START))
        if verdict.objection is not None:
            return False
        decided = Decided(
            stage=Stage.SEND, generation=state.generation, serial=state.serial, value=verdict.value, **moment
        )
        sending = Sending(at=START, deadline_s=2.0, session="1", trading_day=START.date())
        try:
            await journal.append(intent, decided, sending)
        except ControlsMoved:
            continue
        return True


async def budget(journal, **limits: str) -> None:
    for name, value in {**WIDE, **limits}.items():
        await journal.risk.change(
            LimitChange(
                environment=Environment.PAPER,
                layer=Layer.ENVIRONMENT,
                whose="paper",
                name=name,
                new=value,
                by="ada",
                note="",
                at=START,
            )
        )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limits", "fitting"),
    [
        ({"max_daily_value": "17500"}, 17),
        ({"max_position": "170"}, 17),
        ({"orders_per_minute": "17"}, 17),
        ({"max_active_orders": "17"}, 17),
        ({"max_exposure": "0.00175"}, 17),
    ],
)
async def test_a_hundred_at_once_never_exceed_the_budget(tmp_path, limits, fitting):
    passed = []
    async with open_journal(tmp_path / "journal.db", clock=ManualClock(START)) as journal:
        await budget(journal, **limits)
        async with journal.conversation(USER, wait_s=1.0) as lane:

            async def one(number: int) -> None:
                passed.append(await try_to_send(journal, wish(number, USER), lane.epoch))

            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(one, number)
        state = await journal.risk.state(scope_of(wish(0, USER)), START)

    assert passed.count(True) == fitting
    assert (len(passed), state.usage.sent_today, state.serial) == (100, fitting, fitting)
    assert state.usage.value_today == fitting * 1000


def _process(path, username, count, results) -> None:
    async def run() -> int:
        async with (
            open_journal(path, clock=ManualClock(START)) as journal,
            journal.conversation(username, wait_s=5.0) as lane,
        ):
            return sum([await try_to_send(journal, wish(number, username), lane.epoch) for number in range(count)])

    results.put(anyio.run(run))


@pytest.mark.slow
def test_four_processes_share_one_budget(tmp_path):
    """Different user names of one account: no lane is between them, only what their decisions rest on."""
    path = tmp_path / "journal.db"

    async def prepare() -> None:
        async with open_journal(path, clock=ManualClock(START)) as journal:
            await budget(journal, max_daily_value="23999")

    anyio.run(prepare)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    names = [Username(f"user{number}") for number in range(4)]
    processes = [context.Process(target=_process, args=(path, name, 25, results)) for name in names]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)

    assert sum(found) == 23


@pytest.mark.anyio
async def test_a_limit_that_changes_between_decision_and_send_is_decided_anew(tmp_path):
    async with open_journal(tmp_path / "journal.db", clock=ManualClock(START)) as journal:
        planned = wish(1, USER)
        async with journal.conversation(USER, wait_s=1.0) as lane:
            intent, _ = await journal.plan(planned)
            moment = {"at": START, "passed": True, "version": "v"}
            intent = await journal.append(
                intent, Decided(stage=Stage.INTAKE, **moment), Claimed(at=START, owner="race", epoch=lane.epoch)
            )
            state = await journal.risk.state(scope_of(planned), START)
            await budget(journal, max_order_value="999")
            decided = Decided(stage=Stage.SEND, generation=state.generation, serial=state.serial, **moment)
            sending = Sending(at=START, deadline_s=2.0, session="1", trading_day=START.date())
            with pytest.raises(ControlsMoved):
                await journal.append(intent, decided, sending)
            now = await journal.risk.state(scope_of(planned), START)
            verdict = check(case_of(planned, FACTS, now, stage=Stage.SEND, now=START))

    assert verdict.objection.control == "RC-08"
