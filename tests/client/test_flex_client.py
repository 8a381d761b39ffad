"""The Flex client against scripted answers: what it asks, how often, what it tells, and that the token stays unsaid."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flex_statements import ACTIVITY
from ibkit.client.flex import FlexClient, FlexFetched, FlexPending, FlexTicket
from ibkit.clock import ManualClock
from ibkit.errors import (
    ConfigError,
    CredentialsRejected,
    Effect,
    IbkitError,
    InvalidRequest,
    OutcomeUnknown,
    Unreachable,
)
from ibkit.model import Secret
from ibkit.wire.flex.answers import CODES, FLEX_URL, FlexKind
from ibkit.wire.http import Request, Response
from recorded_spans import spans as spans  # a fixture

pytestmark = [pytest.mark.requirement("FUT-08"), pytest.mark.anyio]

TOKEN = "171283849372618203746"
START = datetime(2026, 7, 7, 8, 0, tzinfo=UTC)


def xml(inner: str, status: int = 200) -> Response:
    return Response(status, {}, f"<FlexStatementResponse>{inner}</FlexStatementResponse>".encode())


def taken(reference: str = "4210987654", url: str = f"{FLEX_URL}/GetStatement") -> Response:
    return xml(f"<Status>Success</Status><ReferenceCode>{reference}</ReferenceCode><Url>{url}</Url>")


def failed(code: int, text: str = "no") -> Response:
    return xml(f"<Status>Fail</Status><ErrorCode>{code}</ErrorCode><ErrorMessage>{text}</ErrorMessage>")


REPORT = Response(200, {}, ACTIVITY)


class Script:
    """Answers in order, the last one for ever. Keeps when each request came."""

    def __init__(self, clock: ManualClock, *answers: Response | IbkitError | Callable[[Request], Response]) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.times: list[float] = []

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.requests.append(request)
        self.times.append(self.clock.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, IbkitError):
            raise answer
        return answer if isinstance(answer, Response) else answer(request)

    async def dial(self, request: Request, *, timeout_s: float) -> object:
        raise AssertionError("never")

    async def aclose(self) -> None: ...

    @property
    def calls(self) -> list[str]:
        return [urlsplit(request.url).path.rpartition("/")[2] for request in self.requests]


class Running:
    """A client whose clock goes on by itself while it sleeps."""

    def __init__(self, *answers: Response | IbkitError | Callable[[Request], Response]) -> None:
        self.clock = Hasty(START)
        self.script = Script(self.clock, *answers)
        self.client = FlexClient(token=Secret(TOKEN), transport=self.script, clock=self.clock)  # type: ignore[arg-type]

    async def fetch(self, **options: object) -> FlexFetched:
        return await self.client.fetch("123456", **options)  # type: ignore[arg-type]


class Hasty(ManualClock):
    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.advance(seconds)


async def test_a_statement_is_asked_for_and_got() -> None:
    running = Running(taken(), failed(1019), failed(1019), REPORT)
    fetched = await running.fetch(first=date(2026, 7, 1), last=date(2026, 7, 6))
    assert fetched.body == ACTIVITY
    assert running.script.calls == ["SendRequest", "GetStatement", "GetStatement", "GetStatement"]
    first, second, *_ = [parse_qs(urlsplit(request.url).query) for request in running.script.requests]
    assert first == {"t": [TOKEN], "q": ["123456"], "v": ["3"], "fd": ["20260701"], "td": ["20260706"]}
    assert second == {"t": [TOKEN], "q": ["4210987654"], "v": ["3"]}
    assert all(request.headers["User-Agent"] for request in running.script.requests)
    gaps = [b - a for a, b in pairwise(running.script.times)]
    assert gaps == pytest.approx([5, 5, 10])


@pytest.mark.parametrize("code", [code for code, (kind, _) in CODES.items() if kind is FlexKind.FINAL_ALERT])
async def test_a_refused_token_is_never_used_again(code: int) -> None:
    running = Running(failed(code))
    for _ in range(3):
        with pytest.raises(CredentialsRejected) as caught:
            await running.fetch()
        assert caught.value.code == "E-FLEX-TOKEN"
        assert caught.value.details["alert"] is True
    assert len(running.script.requests) == 1


@pytest.mark.parametrize("code", [code for code, (kind, _) in CODES.items() if kind is FlexKind.FINAL])
@pytest.mark.parametrize("before", [(), (taken(),)])
async def test_a_final_refusal_ends_the_asking(code: int, before: tuple[Response, ...]) -> None:
    running = Running(*before, failed(code))
    with pytest.raises(InvalidRequest) as caught:
        await running.fetch()
    assert (caught.value.code, caught.value.details["flex_code"]) == ("E-FLEX-QUERY", code)
    assert len(running.script.requests) == 1 + len(before)


async def test_a_hanging_statement_is_given_up_with_its_reference_and_gone_on_with() -> None:
    running = Running(taken(), failed(1019))
    with pytest.raises(FlexPending) as caught:
        await running.fetch()
    asked = len(running.script.requests)
    assert running.script.times[-1] - running.script.times[0] <= 300
    assert 8 <= asked <= 14
    ticket = caught.value.ticket
    assert ticket is not None
    assert (caught.value.code, caught.value.http_status) == ("E-FLEX-PENDING", 503)
    assert caught.value.details["reference"] == ticket.reference == "4210987654"

    # Another process goes on with what was kept, and asks for no other reference.
    later = Running(REPORT)
    fetched = await later.fetch(ticket=ticket)
    assert (fetched.body, later.script.calls) == (ACTIVITY, ["GetStatement"])

    # This one goes on by itself, until the reference is ten minutes old.
    with pytest.raises(FlexPending):
        await running.fetch()
    assert running.script.calls.count("SendRequest") == 1
    running.clock.advance(600)
    running.script.answers = [taken("99"), REPORT]
    assert (await running.fetch()).ticket.reference == "99"


async def test_a_lost_reference_is_asked_for_anew_once() -> None:
    running = Running(taken("1"), failed(1017), taken("2"), REPORT)
    assert (await running.fetch()).ticket.reference == "2"
    running = Running(*(answer for n in range(9) for answer in (taken(str(n)), failed(1017))))
    with pytest.raises(FlexPending) as caught:
        await running.fetch()
    assert running.script.calls == ["SendRequest", "GetStatement"] * 2
    assert caught.value.ticket is None


async def test_a_crowded_token_is_left_alone_for_ten_seconds() -> None:
    running = Running(taken(), failed(1018), REPORT)
    await running.fetch()
    assert running.script.times[2] - running.script.times[1] == pytest.approx(10)


async def test_a_busy_service_is_asked_three_times_for_a_reference() -> None:
    running = Running(failed(1009), failed(1001), taken(), REPORT)
    assert (await running.fetch()).body == ACTIVITY
    running = Running(failed(1009))
    with pytest.raises(FlexPending):
        await running.fetch()
    assert running.script.calls == ["SendRequest"] * 3


async def test_troubles_on_the_way_do_not_lose_the_reference() -> None:
    running = Running(
        taken(),
        Unreachable("refused", details={"cause": "refused"}),
        Response(503, {}, b"<html>busy</html>"),
        OutcomeUnknown("cut", details={"cause": "cut"}),
        failed(1021),
        failed(1777),
        REPORT,
    )
    assert (await running.fetch()).body == ACTIVITY
    assert running.script.calls.count("SendRequest") == 1


async def test_troubles_that_stay_are_told_with_the_reference() -> None:
    running = Running(taken(), Unreachable("no route", details={"cause": "other"}))
    with pytest.raises(Unreachable) as caught:
        await running.fetch()
    assert caught.value.details == {"cause": "other", "reference": "4210987654"}
    assert caught.value.effect is Effect.NONE


async def test_only_ibkrs_hosts_are_followed() -> None:
    running = Running(taken(url="https://evil.example/GetStatement"), REPORT)
    await running.fetch()
    assert urlsplit(running.script.requests[1].url).hostname == "ndcdyn.interactivebrokers.com"
    running = Running(
        taken(url="https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService/GetStatement"), REPORT
    )
    await running.fetch()
    assert urlsplit(running.script.requests[1].url).hostname == "gdcdyn.interactivebrokers.com"


async def test_many_fetches_at_once_keep_the_pace_of_one_token() -> None:
    def any_answer(request: Request) -> Response:
        return taken() if "SendRequest" in request.url else REPORT

    running = Running(any_answer)
    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(running.client.fetch, str(number))
    times = running.script.times
    assert len(times) == 24
    assert all(b - a >= 1 - 1e-6 for a, b in pairwise(times))
    assert all(b - a >= 60 - 1e-6 for a, b in zip(times, times[10:], strict=False))


async def test_a_period_that_cannot_be_is_refused_before_anything_is_sent() -> None:
    running = Running(REPORT)
    with pytest.raises(ConfigError):
        await running.fetch(first=date(2025, 1, 1), last=date(2026, 7, 1))
    assert running.script.requests == []
    with pytest.raises(ConfigError):
        FlexClient(token=Secret(""), transport=running.script)  # type: ignore[arg-type]


@pytest.mark.requirement("SEC-01")
@pytest.mark.plants_secrets
@pytest.mark.parametrize(
    "answer",
    [
        Unreachable(f"error sending request for url ({FLEX_URL}/SendRequest?t={TOKEN}&q=1&v=3)"),
        Response(200, {}, f"<html>{FLEX_URL}/SendRequest?t={TOKEN}</html>".encode()),
        failed(1015, f"Token {TOKEN} is invalid."),
        failed(1014, f"Query of {TOKEN}"),
        failed(1001, f"of {TOKEN}"),
    ],
)
async def test_the_token_is_in_no_error_trace_or_repr(answer: Response | IbkitError) -> None:
    running = Running(answer)
    with pytest.raises(IbkitError) as caught:
        await running.fetch()
    frames = [frame for frame, _ in traceback.walk_tb(caught.tb) if "/ibkit/" in frame.f_code.co_filename]
    assert frames
    locals_ = [repr(value) for frame in frames for value in frame.f_locals.values()]
    error = caught.value
    told = [str(error), repr(error.details), error.remedy, str(getattr(error, "excerpt", "")), repr(error.__cause__)]
    told += [repr(error.__context__), repr(running.client), repr(running.script.requests)]
    assert [text for text in locals_ + told if TOKEN in text] == []


async def test_a_trace_names_the_calls_and_no_token(spans: InMemorySpanExporter) -> None:
    running = Running(taken(), failed(1019), REPORT)
    await running.fetch()
    recorded = [span for span in spans.get_finished_spans() if span.name == "ibkr.flex"]
    routes = [dict(span.attributes or {})["http.route"] for span in recorded]
    assert routes == ["/SendRequest", "/GetStatement", "/GetStatement"]
    assert TOKEN not in "".join(span.to_json() for span in recorded)


def test_tickets_are_plain_values() -> None:
    ticket = FlexTicket(query_id="1", reference="2", url=None, requested_at=START)
    assert TOKEN not in repr(ticket)
    assert ticket.requested_at + timedelta(0) == START
