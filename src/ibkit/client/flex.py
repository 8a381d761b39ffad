"""Statements from IBKR's Flex Web Service: asked for, waited for, got. It needs no session, and signs in nobody.

    async with FlexClient(token=Secret("…"), transport=open_flex_transport()) as flex:
        fetched = await flex.fetch("123456")
    query = decode_flex(fetched.body, accounts={"U1234567"})

The token stands in the query of each address, because IBKR wants it there: so no address is kept, told or traced, and
errors of the transport are made anew without it.
Source: docs/facts/accounts-and-portfolio.md §6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, quote_plus, urlencode

import anyio

from ibkit.client.transport import USER_AGENT, Transport
from ibkit.client.transports import open_transport
from ibkit.clock import Clock, SystemClock
from ibkit.errors import (
    ConfigError,
    CredentialsRejected,
    Effect,
    IbkitError,
    InvalidRequest,
    OutcomeUnknown,
    Refused,
    UnexpectedAnswer,
    Unreachable,
    frameless,
)
from ibkit.model import Secret
from ibkit.spans import span
from ibkit.wire.flex.answers import (
    FLEX_URL,
    FlexAnswer,
    FlexFailure,
    FlexKind,
    FlexReference,
    FlexReport,
    followed,
    query_of,
    read_answer,
)
from ibkit.wire.flex.polling import ASK_TRIES, GIVE_UP_S, NEW_REFERENCE_S, WINDOW, pause_s, wait_s
from ibkit.wire.http import Request, Response

__all__ = ["FLEX_BODY_LIMIT", "FlexClient", "FlexFetched", "FlexPending", "FlexTicket", "open_flex_transport"]

FLEX_BODY_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of one answer; a longer one is cut off. Our own bound."""
TIMEOUT_S: Final = 60.0
"""Of one exchange. Our own choice: an answer may have 100 MB."""
_VERSION: Final = "3"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexTicket:
    """A statement that IBKR is making. It may be kept and gone on with later, also by another process.

    url: where IBKR said that it will be. first, last: the period, where it was asked for.
    """

    query_id: str
    reference: str
    url: str | None
    requested_at: datetime
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexFetched:
    """The statement as IBKR sent it, to be kept before it is read."""

    body: bytes
    ticket: FlexTicket
    at: datetime

    def __repr__(self) -> str:
        return f"FlexFetched({len(self.body)} bytes, query {self.ticket.query_id}, {self.at.isoformat()})"


class FlexPending(Refused):
    """Not there yet. `ticket`: what to go on with, where IBKR gave a reference; `retry_at`: not before."""

    default_code = "E-FLEX-PENDING"

    def __init__(self, message: str = "", *, ticket: FlexTicket | None, retry_at: datetime, said: str) -> None:
        details: dict[str, object] = {"said": said, "retry_at": retry_at.isoformat()}
        if ticket is not None:
            details["reference"] = ticket.reference
        super().__init__(message, details=details)
        self.ticket = ticket
        self.retry_at = retry_at


def open_flex_transport(base_url: str = FLEX_URL, *, ca: bytes | None = None) -> Transport:
    """A transport that takes long answers. ca: PEM of the only authority to trust (a simulator's)."""
    return open_transport(base_url, ca=ca, pool_size=1, body_limit=FLEX_BODY_LIMIT)


class FlexClient:
    """One token. One request at a time, one a second and ten a minute; what is refused for good is not asked again.

    base_url: the service's address; a simulator's to try against. No other host than this one and IBKR's is asked.
    """

    def __init__(
        self, *, token: Secret[str], transport: Transport, base_url: str = FLEX_URL, clock: Clock | None = None
    ) -> None:
        if not token:
            raise ConfigError("No Flex token is set", code="E-FLEX-TOKEN", details={"reason": "none is set"})
        self._token = token
        self._transport = transport
        self._base_url = base_url.rstrip("/")
        self._clock: Clock = clock or SystemClock()
        self._sent: deque[float] = deque(maxlen=WINDOW)
        self._lock = anyio.Lock()
        self._open: dict[tuple[str, date | None, date | None], FlexTicket] = {}
        self._dead: IbkitError | None = None

    def __repr__(self) -> str:
        return f"FlexClient({self._base_url})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.aclose()

    async def fetch(
        self,
        query_id: str,
        *,
        first: date | None = None,
        last: date | None = None,
        ticket: FlexTicket | None = None,
    ) -> FlexFetched:
        """The statement of a saved query, after as long as it takes, five minutes at most.

        first, last: days that override the template's period.
        ticket:      one to go on with. One of this client's own that is not ten minutes old is gone on with by itself.

        Raises FlexPending (go on later), CredentialsRejected (E-FLEX-TOKEN: a person must act; nothing is asked with
        this token any more), InvalidRequest (E-FLEX-QUERY), ConfigError for a period that cannot be, and Unreachable,
        OutcomeUnknown or UnexpectedAnswer where nothing else came in all that time (with `details["reference"]`).
        """
        period = query_of(first=first, last=last)
        key = (query_id, first, last)
        again = True
        ticket = ticket or self._unfinished(key)
        while True:
            if ticket is None:
                ticket = await self._ask(query_id, period, first, last)
                self._open[key] = ticket
            failure = await self._get(ticket)
            if isinstance(failure, FlexFetched):
                self._open.pop(key, None)
                return failure
            # The reference is none any more: once a new one, then that is an answer, too.
            self._open.pop(key, None)
            if not again:
                raise self._pending(None, failure)
            again, ticket = False, None

    def _unfinished(self, key: tuple[str, date | None, date | None]) -> FlexTicket | None:
        ticket = self._open.get(key)
        if ticket is None or self._clock.now() - ticket.requested_at >= timedelta(seconds=NEW_REFERENCE_S):
            return None
        return ticket

    async def _ask(self, query_id: str, period: Mapping[str, str], first: date | None, last: date | None) -> FlexTicket:
        """A reference."""
        for tried in range(ASK_TRIES):
            answer = await self._exchange(f"{self._base_url}/SendRequest", {"q": query_id, **period})
            if isinstance(answer, FlexReference):
                now = self._clock.now().astimezone(UTC)
                return FlexTicket(
                    query_id=query_id,
                    reference=answer.reference,
                    url=answer.url,
                    requested_at=now,
                    first=first,
                    last=last,
                )
            trouble = self._for_now(answer)
            if tried < ASK_TRIES - 1:
                await self._clock.sleep(pause_s(tried, _kind_of(trouble)))
        if isinstance(trouble, IbkitError):
            raise trouble
        raise self._pending(None, trouble)

    async def _get(self, ticket: FlexTicket) -> FlexFetched | FlexFailure:
        """The statement; the failure where its reference is none. Raises when the time is up."""
        until = self._clock.monotonic() + GIVE_UP_S
        address = followed(ticket.url, self._base_url)
        asked, kind = 0, FlexKind.POLL
        while True:
            await self._clock.sleep(pause_s(asked, kind))
            answer = await self._exchange(address, {"q": ticket.reference})
            asked += 1
            if isinstance(answer, FlexReport):
                return FlexFetched(body=answer.body, ticket=ticket, at=self._clock.now().astimezone(UTC))
            if isinstance(answer, FlexFailure) and answer.kind is FlexKind.START_AGAIN:
                return answer
            trouble = self._for_now(answer)
            kind = _kind_of(trouble)
            if self._clock.monotonic() + pause_s(asked, kind) > until:
                if isinstance(trouble, IbkitError):
                    trouble.details["reference"] = ticket.reference
                    raise trouble
                raise self._pending(ticket, trouble)

    def _for_now(self, answer: FlexAnswer | IbkitError) -> FlexFailure | IbkitError:
        """A trouble that may pass. Raises for one that does not."""
        if isinstance(answer, IbkitError):
            return answer
        if isinstance(answer, FlexFailure):
            told = {"flex_code": answer.code, "reason": f"{answer.code} {answer.text}".strip()}
            if answer.kind is FlexKind.FINAL_ALERT:
                self._dead = CredentialsRejected(code="E-FLEX-TOKEN", details={**told, "alert": True})
                raise self._dead
            if answer.kind is FlexKind.FINAL:
                raise InvalidRequest(code="E-FLEX-QUERY", details=told)
            return answer
        return UnexpectedAnswer("The Flex Web Service answered another question", effect=Effect.NONE)

    def _pending(self, ticket: FlexTicket | None, failure: FlexFailure) -> FlexPending:
        wait = NEW_REFERENCE_S if ticket is None else GIVE_UP_S
        retry_at = self._clock.now().astimezone(UTC) + timedelta(seconds=wait)
        return FlexPending(ticket=ticket, retry_at=retry_at, said=f"{failure.code} {failure.text}".strip())

    # --- one request -----------------------------------------------------------------------------------------------

    async def _exchange(self, address: str, query: Mapping[str, str]) -> FlexAnswer | IbkitError:
        """What came of one request; errors that may pass are handed back. Never two at a time, never too soon."""
        async with self._lock:
            if self._dead is not None:
                raise self._dead.with_traceback(None)
            await self._clock.sleep(wait_s(self._sent, self._clock.monotonic()))
            self._sent.append(self._clock.monotonic())
            route = "/" + address.rpartition("/")[2]
            with span("ibkr.flex", **{"http.request.method": "GET", "http.route": route}) as current:
                response = await self._send(address, query)
                if isinstance(response, IbkitError):
                    return response
                current.set("http.response.status_code", response.status)
            return self._read(response)

    def _read(self, response: Response) -> FlexAnswer | IbkitError:
        """Without the token, should the answer quote what it was asked."""
        try:
            answer = read_answer(response)
        except UnexpectedAnswer as error:
            # Its frames hold the whole answer.
            error.excerpt = self._scrubbed(error.excerpt)
            return frameless(error)
        if isinstance(answer, FlexFailure):
            return FlexFailure(answer.code, self._scrubbed(answer.text))
        return answer

    def _scrubbed(self, text: str) -> str:
        for spelling in {self._token.reveal(), quote(self._token.reveal(), safe=""), quote_plus(self._token.reveal())}:
            text = text.replace(spelling, "***")
        return text

    async def _send(self, address: str, query: Mapping[str, str]) -> Response | IbkitError:
        try:
            return await self._transport.send(self._request(address, query), timeout_s=TIMEOUT_S)
        except IbkitError as error:
            return self._without_token(error)

    def _request(self, address: str, query: Mapping[str, str]) -> Request:
        # In one expression: no frame holds the whole address, should somebody print the locals of each.
        return Request(
            "GET",
            f"{address}?{urlencode({'t': self._token.reveal(), **query, 'v': _VERSION})}",
            {"User-Agent": USER_AGENT},
        )

    def _without_token(self, error: IbkitError) -> IbkitError:
        """The same trouble, told anew: HTTP libraries like to name the address in what they raise."""
        kind = type(error) if type(error) in (Unreachable, OutcomeUnknown) else UnexpectedAnswer
        cause = error.details.get("cause")
        bare = kind(
            self._scrubbed(error.message),
            code=error.code,
            effect=Effect.NONE,
            details={} if cause is None else {"cause": cause},
        )
        return frameless(bare)


def _kind_of(trouble: FlexFailure | IbkitError) -> FlexKind:
    return trouble.kind if isinstance(trouble, FlexFailure) else FlexKind.RETRY
