"""One door for every order: no code reaches the order endpoints past the gateway, and none leaves unannounced.

The first half reads the source, the second runs every public order verb of SDK, blocking SDK and command line and looks
into the journal file, with nothing of ours, at the moment each order call arrives at the simulator.
"""

from __future__ import annotations

import ast
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ibkit
from ibkit import cli
from ibkit.bootstrap import Edges, TradingClient, run, using
from ibkit.model import AccountId, Contract, OrderTicket, OrderType, Side, TimeInForce
from ibkit.sim.serving.inprocess import CLOUD_URL, SimTransport, Simulator
from ibkit.wire.http import Request, Response
from simulators import KEYS, make_simulator

SOURCE = Path(ibkit.__file__).parent
ENDPOINTS = {"PLACE_ORDERS", "REPLY", "MODIFY_ORDER", "CANCEL_ORDER", "ANSWER_PROMPT"}
VERBS = {"place", "reply", "modify", "cancel"}
RAW = "ibkit.client.api.orders"
PATHS = re.compile(r"/iserver/(reply|notification|account/[^/ ]*/orders?\b)")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(SOURCE.rglob("*.py")):
        yield file.relative_to(SOURCE).as_posix(), ast.parse(file.read_text())


def strings(tree: ast.AST) -> Iterator[str]:
    """Every text of the code but docstrings, which are the statements that are nothing but a text."""
    told = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def names(tree: ast.AST) -> set[str]:
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


def home_of(place: str) -> bool:
    return place.startswith(("wire/", "sim/"))


@pytest.mark.requirement("TRD-17")
def test_only_the_raw_verbs_name_the_endpoints_that_change_orders() -> None:
    naming = {place for place, tree in modules() if not home_of(place) and names(tree) & ENDPOINTS}
    assert naming == {"client/api/orders.py"}
    spelling = {place for place, tree in modules() if not home_of(place) and any(map(PATHS.search, strings(tree)))}
    assert spelling == set()


@pytest.mark.requirement("TRD-17")
def test_only_the_broker_calls_the_raw_verbs() -> None:
    callers = set()
    for place, tree in modules():
        imported, aliases = set(), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == RAW:
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module == "ibkit.client.api":
                aliases |= {alias.asname or alias.name for alias in node.names if alias.name == "orders"}
            elif isinstance(node, ast.Import):
                assert not any(alias.name == RAW for alias in node.names), f"{place}: import it by name"
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases
        }
        if (imported | used) & VERBS:
            callers.add(place)
    assert callers == {"client/broker.py"}


@pytest.mark.requirement("TRD-17")
def test_only_the_conversation_calls_the_broker_and_hands_out_permits() -> None:
    callers, permitting, granting = set(), set(), set()
    for place, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            if isinstance(function, ast.Attribute) and function.attr in VERBS:
                holder = function.value
                name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
                if "broker" in name:
                    callers.add(place)
            if any(keyword.arg == "permit" for keyword in node.keywords):
                permitting.add(place)
            if getattr(function, "id", getattr(function, "attr", "")) == "SendPermit":
                granting.add(place)
    assert callers == {"trading/conversation.py"}
    assert granting == {"trading/conversation.py", "trading/deciding.py"}
    assert permitting == {"trading/conversation.py", "client/broker.py", "client/api/orders.py", "client/core.py"}


@pytest.mark.requirement("TRD-17")
def test_the_clients_have_no_verb_that_changes_an_order_but_those_of_the_gateway() -> None:
    for bare in (ibkit.Client,):
        assert not {name for name in dir(bare) if name in VERBS | {"suppress"}}
    assert {"place", "modify", "cancel", "cancel_all", "bracket", "one_cancels_all"} <= set(dir(TradingClient))
    assert "reply" not in dir(TradingClient)
    assert "reply" not in dir(ibkit.IBRestClient)


# --- at run time -----------------------------------------------------------------------------------------------------


@dataclass
class Door:
    """Where order calls arrive. journal: the file that must announce them. seen: kind and name of each that came."""

    journal: Path
    seen: list[str] = field(default_factory=list)
    unannounced: list[str] = field(default_factory=list)

    def arrive(self, request: Request) -> None:
        found = PATHS.search(request.url)
        if request.method == "GET" or found is None or request.url.endswith("/whatif"):
            return
        body = json.loads(request.body) if request.body else {}
        last = request.url.rsplit("/", 1)[-1].split("?")[0]
        if found[1] == "reply":
            kind, name = "reply", last
        elif last == "orders":
            kind, name = "place", str(body["orders"][0]["cOID"])
        else:
            kind, name = ("cancel" if request.method == "DELETE" else "modify"), last
        self.seen.append(kind)
        if not self._announces(kind, name):
            self.unannounced.append(f"{kind} {name}")

    def _announces(self, kind: str, name: str) -> bool:
        """A row that says SENDING (or REPLYING) of this very call is in the file, committed, before it arrives."""
        if not self.journal.exists():
            return False
        connection = sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)
        try:
            state = "replying" if kind == "reply" else "sending"
            rows = connection.execute("SELECT intent_id FROM intents WHERE state = ?", (state,)).fetchall()
            for (intent_id,) in rows:
                texts = connection.execute(
                    "SELECT kind, body FROM intent_events WHERE intent_id = ? ORDER BY number", (intent_id,)
                ).fetchall()
                events = [(event, json.loads(text)) for event, text in texts]
                planned, last = events[0][1], events[-1]
                if kind == "place" and intent_id == name and last[0] == "Sending":
                    return True
                if kind == "reply" and last[0] == "Replying" and last[1]["question_id"] == name:
                    return True
                if planned["operation"] == kind and str(planned["target"]) == name and last[0] == "Sending":
                    return True
        finally:
            connection.close()
        return False


class Watched(SimTransport):
    """The simulator's transport, with a look into the journal before each request is handed on."""

    def __init__(self, simulator: Simulator, door: Door) -> None:
        super().__init__(simulator, "cloud")
        self._door = door

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self._door.arrive(request)
        return await super().send(request, timeout_s=timeout_s)


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulator:
    made = make_simulator()
    keys = made.users[0]
    for path in KEYS.rglob("private_*.pem"):
        path.chmod(0o600)
    environ = {
        "HOME": str(tmp_path),
        "IBKR_BASE_URL": CLOUD_URL,
        "IB_CONSUMER_KEY": keys.consumer_key,
        "IB_ACCESS_TOKEN": keys.access_token,
        "IB_ACCESS_TOKEN_SECRET": keys.access_token_secret,
        "IB_SIGNATURE_KEY_PATH": str(keys.signature_key),
        "IB_ENCRYPTION_KEY_PATH": str(keys.encryption_key),
        "IB_DH_PARAM_PATH": str(keys.dhparam),
    }
    monkeypatch.setattr("os.environ", environ)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def door(simulator: Simulator, tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path / ".local/state/ibkit/journal.db")
    with using(Edges(transport=lambda _: Watched(simulator, made), clock=simulator.clock, keep_alive=False)):
        yield made


def ticket(contract: Contract, side: Side, order_type: OrderType, **more: Any) -> OrderTicket:
    return OrderTicket(
        account_id=AccountId("DU1000001"),
        contract=contract,
        side=side,
        order_type=order_type,
        quantity=Decimal(1),
        tif=TimeInForce.DAY,
        **more,
    )


def resting(contract: Contract, price: str = "600") -> OrderTicket:
    return ticket(contract, Side.BUY, OrderType.LIMIT, limit_price=Decimal(price))


def check(door: Door, simulator: Simulator, *kinds: str) -> None:
    assert door.unannounced == []
    assert set(kinds) <= set(door.seen)
    arrived = {"PLACE_ORDERS", "REPLY", "MODIFY_ORDER", "CANCEL_ORDER"}
    assert len(door.seen) == len([entry for entry in simulator.requests if entry.endpoint in arrived])


@pytest.mark.requirement("TRD-17", "TRD-22")
def test_every_order_verb_of_the_sdk_is_in_the_journal_before_it_arrives(door: Door, simulator: Simulator) -> None:
    async def work() -> None:
        async with ibkit.connect() as ib:
            spy = await ib.underlying("SPY")
            placed = await ib.place(resting(spy), key="door-place-0123456789")
            assert placed.order_id is not None, placed.error
            changed = await ib.modify(placed.order_id, resting(spy, "601"))
            assert changed.accepted, changed.error
            assert (await ib.cancel(placed.order_id)).accepted
            bracket = await ib.bracket(resting(spy, "597"), take_profit=Decimal(650), stop=Decimal(580))
            assert bracket.accepted, bracket.error
            assert len(bracket.intent.legs) == 2
            group = await ib.one_cancels_all((resting(spy, "599"), resting(spy, "598")))
            assert group.accepted, group.error
            swept = await ib.cancel_all()
            assert swept.complete, swept
            sold = await ib.sell_option_with_stop("SPY", 620, "P", quantity=1)
            assert sold.success, sold.message
            again = await ib.place(resting(spy), key="door-place-0123456789")
            assert again.cached
            keys = [intent.key for intent in await ib.intents()]
            assert "door-place-0123456789" in keys
            assert len(keys) >= 7

    run(work)
    check(door, simulator, "place", "modify", "cancel")


@pytest.mark.requirement("TRD-10", "TRD-17", "TRD-22")
def test_a_reply_is_in_the_journal_before_it_arrives(door: Door, simulator: Simulator) -> None:
    simulator.control("POST", "scenario", {"scenario": "order-question"})

    async def work() -> None:
        async with ibkit.connect() as ib:
            placed = await ib.place(resting(await ib.underlying("SPY")))
            assert placed.accepted, placed.error

    run(work)
    check(door, simulator, "place", "reply")


@pytest.mark.requirement("TRD-01", "TRD-17", "TRD-22")
def test_every_order_verb_of_the_blocking_sdk_is_in_the_journal_before_it_arrives(
    door: Door, simulator: Simulator
) -> None:
    with ibkit.IBRestClient() as ib:
        spy = ib.underlying("SPY")
        placed = ib.place(resting(spy))
        assert placed.order_id is not None, placed.error
        assert ib.modify(placed.order_id, resting(spy, "601")).accepted
        assert ib.cancel(placed.order_id).accepted
        assert ib.bracket(resting(spy, "597"), stop=Decimal(580)).accepted
        assert ib.one_cancels_all([resting(spy, "599"), resting(spy, "598")]).accepted
        assert ib.cancel_all().complete
        assert ib.sell_option_with_stop("SPY", 620, "P", quantity=1).success
        assert len(ib.intents()) >= 7
    check(door, simulator, "place", "modify", "cancel")


@pytest.mark.requirement("TRD-17", "TRD-22")
def test_every_order_command_is_in_the_journal_before_its_call_arrives(
    door: Door, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> str:
        assert cli.run(list(words)) == 0, capsys.readouterr()
        simulator.advance(70)
        return capsys.readouterr().out

    (sold,) = json.loads(told("sell-option", "--side", "put", "--quantity", "1", "--json"))["legs"]
    told("orders", "modify", sold["stop_order_id"], "--stop-price", "9.50")
    told("orders", "cancel", sold["stop_order_id"])
    told("orders", "place", "buy", "1", "SPY", "--limit-price", "600", "--yes")
    told("orders", "place", "buy", "2", "SPY", "--limit-price", "601", "--stop-loss", "580", "--yes")
    told("trade", "validate")
    check(door, simulator, "place", "modify", "cancel")
