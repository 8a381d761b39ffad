"""IBKR's questions at a page: they wait for who looks, are answered by who may order, and stand in the timeline."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from gateway_service import at_the_gateway, order
from ibkit.clock import ManualClock
from ibkit.errors import NotFound
from ibkit.model import Environment, Question
from ibkit.service.waiting_questions import LOOKS_S, WaitingQuestions
from ibkit.trading.event_lines import MEANINGS
from ibkit.trading.events import EVENTS
from ibkit.users import Role, Scope
from people import PAPER, People, person
from service_desks import Answered, Served, until

pytestmark = pytest.mark.requirement("TRD-10", "GWY-02")

HOLDERS = {
    "ada": person("ada"),
    "bob": person("bob"),
    "ann": person("ann", role=Role.ADMIN, scopes=PAPER | {Scope.ADMIN}),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with at_the_gateway(tmp_path_factory.mktemp("questions"), people=People(dict(HOLDERS))) as found:
        yield found


@contextmanager
def asked(service: Served, qty: int) -> Iterator[tuple[Any, Any]]:
    """An order of ada's about which IBKR asks what is in no list: the question, and its answer to come."""
    assert service.world is not None
    service.world.control("POST", "scenario", {"scenario": ["order-question-unknown"]})
    found: list[Any] = []

    def there() -> bool:
        found[:] = service.ask("GET", "/api/questions").data
        return bool(found)

    there()  # somebody looks, from here on
    with ThreadPoolExecutor(1) as tasks:
        placed = tasks.submit(order, service, qty=qty, order_type="limit", limit_price=200)
        try:
            until(there)
            yield found[0], placed
        finally:
            service.world.control("POST", "scenario", {"scenario": ["ok"]})


def answer(service: Served, question_id: str, yes: Any, token: str = "ada") -> Answered:
    return service.ask("POST", f"/api/questions/{question_id}/answer", {"answer": yes}, token=token)


def test_a_question_is_shown_to_whose_order_it_is_and_a_yes_places_it(service: Served) -> None:
    with asked(service, 3) as (question, placed):
        assert question["messages"][0]["text"]
        assert question["messages"][0]["meaning"] is None, "it is in no list"
        assert "AAPL" in question["order"]
        assert question["environment"] == "paper"
        assert service.ask("GET", "/api/questions", token="bob").data == []
        assert answer(service, question["id"], True, token="bob").status == 404
        assert answer(service, question["id"], "yes").fields == ["answer"]
        done = answer(service, question["id"], True)
        assert (done.status, done.json["answer"], done.json["order_id"]) == (200, True, question["order_id"])
        told = placed.result()
    assert told.status in (201, 202), told.raw
    assert told.data["id"] == question["order_id"]
    assert answer(service, question["id"], False).status == 404, "the first answer counts"
    lines = service.ask("GET", f"/broker-order/{question['order_id']}/timeline").json
    words = [each["word"] for each in lines["data"]]
    assert words[0] == "Planned"
    assert words.index("Sending") < words.index("Questioned") < words.index("Replying") < words.index("Acknowledged")
    assert any("allowed by ada" in each["detail"] for each in lines["data"] if each["word"] == "Replying")
    until(lambda: bool(service.ask("GET", "/api/audit?action=orders.question", token="ann").data))


def test_a_no_declines_it(service: Served) -> None:
    with asked(service, 4) as (question, placed):
        assert answer(service, question["id"], False).status == 200
        told = placed.result()
    assert (told.status, told.code) == (409, "E-ORD-QUESTION"), told.raw
    assert "declined by ada" in told.json["error"]["message"]


def test_what_is_known_is_told_with_what_it_is_answered(service: Served) -> None:
    known = {each["id"]: each for each in service.ask("GET", "/api/questions").json["known"]}
    assert known["p6"]["answer"] == "always no"
    assert known["o163"]["answer"] == "yes, while RC-10 covers it"


def test_the_timeline_of_an_order_is_its_users_alone_and_tells_nothing_of_our_own_work(service: Served) -> None:
    placed = order(service, order_type="limit", limit_price=201)
    path = f"/broker-order/{placed.data['id']}/timeline"
    told = service.ask("GET", f"/api{path}")
    assert (told.status, told.json["id"], told.json["status"]) == (200, placed.data["id"], "submitted")
    for inward in (b"fingerprint", b"owner", b"epoch", placed.data["idempotency_key"].encode()):
        assert inward not in told.raw
    assert service.ask("GET", path, token="bob").status == 404
    times = [each["at"] for each in told.json["data"]]
    assert times == sorted(times)


def test_every_event_has_a_meaning() -> None:
    assert {kind.__name__ for kind in MEANINGS} == set(EVENTS)


# -- waiting, without a service ---------------------------------------------------------------------------------------

AT = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
QUESTION = Question("07a13a5a", ("Are you sure?",), ("o99",))
INTENT: Any = SimpleNamespace(planned=SimpleNamespace(environment=Environment.PAPER))


def desk(clock: ManualClock) -> WaitingQuestions:
    return WaitingQuestions(
        lambda who, intent: who.name == "ada", monotonic=clock.monotonic, now=lambda: datetime.now(UTC)
    )


@pytest.mark.anyio
async def test_nobody_is_waited_for_who_does_not_look_or_may_not_answer() -> None:
    clock = ManualClock(AT)
    there = desk(clock)
    ask = there.asker("ibkr", clock)
    assert await ask(INTENT, QUESTION, 25.0) is None
    there.seen_by(person("bob"))  # not his order
    there.seen_by(person("ada", role=Role.VIEWER))
    assert await ask(INTENT, QUESTION, 25.0) is None
    there.seen_by(person("ada"))
    clock.advance(LOOKS_S)
    assert await ask(INTENT, QUESTION, 25.0) is None
    assert clock.now() == AT.replace(minute=30, second=30), "nothing was waited for"


@pytest.mark.anyio
async def test_a_question_that_nobody_answers_in_time_is_gone() -> None:
    clock = ManualClock(AT)
    there = desk(clock)
    ada = person("ada")
    there.seen_by(ada)
    said: list[Any] = []

    async def wait() -> None:
        said.append(await there.asker("ibkr", clock)(INTENT, QUESTION, 25.0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        while not said:
            clock.advance(5)
            await anyio.wait_all_tasks_blocked()
    assert said == [None]
    with pytest.raises(NotFound):
        there.theirs(ada, "07a13a5a")
