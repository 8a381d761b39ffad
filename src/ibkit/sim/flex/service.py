"""The Flex Web Service: tokens, saved queries, references, and its answers, failures included.

Each user has a token and two queries from the start: `<n>01` activity of all accounts, `<n>02` trade confirmations,
n being the user's id. `POST /__sim/flex` changes them:

    {"token": {"username", "expires_in_s", "ip", "renew": true}}       renew: a new one, which ends the old
    {"query": {"id", "username", "type", "accounts", "period", "sections", "breakout", "dashed", "zoned", "omit"}}
    {"fail": {"code", "on": "SendRequest" | "GetStatement", "times"}}  times: null for ever, 0 ends it

Order of the checks: User-Agent, path, version, token, expiry, address, pacing, failures by hand, query or reference.
Source: docs/facts/accounts-and-portfolio.md §6.1, §6.2, §6.5; what stands in no source is a quirk `flex_…` or [sim].
"""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args, get_type_hints
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from ibkit.sim.flex.period import last_closed_day, report_day
from ibkit.sim.flex.queries import ACTIVITY_SECTIONS, PERIODS, SimFlexQuery, period_of
from ibkit.sim.flex.statement import make_statement
from ibkit.sim.routing import Reply
from ibkit.wire.flex.answers import CODES

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["FLEX_PATH", "FlexService", "is_flex"]

FLEX_PATH = "/AccountManagement/FlexWebService"
_OLD_PATH = "/Universal/servlet/FlexStatementService"
_NEW_YORK = ZoneInfo("America/New_York")
_REFUSED = "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1></BODY></HTML>"
_A_YEAR = timedelta(days=365)
_SECOND_S, _MINUTE_S, _A_MINUTE = 1.0, 60.0, 10


def is_flex(path: str) -> bool:
    return path.startswith((f"{FLEX_PATH}/", _OLD_PATH))


@dataclass(slots=True, kw_only=True)
class _Token:
    token: str
    username: str
    expires_at: datetime
    ip: str | None = None
    revoked: bool = False


@dataclass(slots=True, kw_only=True)
class _Reference:
    code: str
    token: str
    query: SimFlexQuery
    first: date
    last: date
    until: datetime | None
    asked_at: datetime
    polls: int = 0
    body: bytes | None = None


@dataclass(slots=True, kw_only=True)
class _Failure:
    code: int
    on: str
    times: int | None = 1


class _Failed(Exception):  # the answer of a call, not an error of ours
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class FlexService:
    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = random.Random(f"{world.seed}/flex")  # noqa: S311  # a seeded world, not a secret
        self._tokens: dict[str, _Token] = {}
        self._references: dict[str, _Reference] = {}
        self._failures: list[_Failure] = []
        self._sent: dict[str, deque[float]] = {}
        self.queries: dict[str, SimFlexQuery] = {}
        for user in world.users_at_start:
            self._add_token(user.username, timedelta(seconds=world.quirks.flex_token_s), None)
            accounts = tuple(account.id for account in user.accounts)
            activity = SimFlexQuery(id=f"{user.user_id}01", username=user.username, accounts=accounts)
            self._put(activity)
            self._put(dataclasses.replace(activity, id=f"{user.user_id}02", type="TCF", name="sim-confirmations"))

        for query in world.config.flex_queries:
            self._put(query)

    def token_of(self, username: str) -> str:
        """The user's token that is not revoked."""
        return next(each.token for each in self._tokens.values() if each.username == username and not each.revoked)

    # --- the service -----------------------------------------------------------------------------------------------

    def answer(
        self,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        peer: str,
        monotonic: float,
        base: str,
    ) -> Reply:
        """base: scheme, host and port under which the caller finds this service. headers: names in lower case."""
        if not headers.get("user-agent", "").strip():
            return Reply(_REFUSED, 403, content_type="text/html")
        if path.startswith(_OLD_PATH):
            return self._fail(1001)
        call = path.removeprefix(f"{FLEX_PATH}/")
        if call not in ("SendRequest", "GetStatement"):
            return Reply("<html><body><h1>Not found</h1></body></html>", 404, content_type="text/html")
        try:
            token = self._check(call, query, peer, monotonic)
            if call == "SendRequest":
                return self._send_request(token, query, base)
            return self._get_statement(token, query.get("q", ""))
        except _Failed as failed:
            return self._fail(failed.code)

    def _check(self, call: str, query: Mapping[str, str], peer: str, monotonic: float) -> _Token:
        if query.get("v") != "3" or not query.get("q"):
            raise _Failed(1020)
        token = self._tokens.get(query.get("t", ""))
        if token is None or token.revoked:
            raise _Failed(1015)
        if token.expires_at <= self._world.now:
            raise _Failed(1012)
        if token.ip is not None and token.ip != peer:
            raise _Failed(1013)
        if not self._in_pace(token.token, monotonic) and self._world.quirks.flex_pacing:
            raise _Failed(1018)
        for failure in self._failures:
            if failure.on == call and failure.times != 0:
                failure.times = None if failure.times is None else failure.times - 1
                raise _Failed(failure.code)
        return token

    def _in_pace(self, token: str, now: float) -> bool:
        """Refused requests count, too. [sim]"""
        sent = self._sent.setdefault(token, deque(maxlen=_A_MINUTE))
        good = not sent or now - sent[-1] >= _SECOND_S
        good = good and (len(sent) < _A_MINUTE or now - sent[0] >= _MINUTE_S)
        sent.append(now)
        return good

    def _send_request(self, token: _Token, asked: Mapping[str, str], base: str) -> Reply:
        query = self.queries.get(asked["q"])
        if query is None or query.username != token.username:
            raise _Failed(1014)
        first, last, until = self._period(query, asked)
        code = str(self._chance.randrange(4_000_000_000, 5_000_000_000))
        self._references[code] = _Reference(
            code=code,
            token=token.token,
            query=query,
            first=first,
            last=last,
            until=until,
            asked_at=self._world.now,
        )
        url = f"{base}{FLEX_PATH}/GetStatement"
        return self._reply(f"<Status>Success</Status>\n<ReferenceCode>{code}</ReferenceCode>\n<Url>{escape(url)}</Url>")

    def _period(self, query: SimFlexQuery, asked: Mapping[str, str]) -> tuple[date, date, datetime | None]:
        """Days, and where the data of the last one ends."""
        world = self._world
        if query.type == "TCF":
            until = world.now - timedelta(seconds=world.quirks.flex_confirm_delay_s)
            newest = report_day(world, world.now)
        elif world.quirks.flex_data == "now":
            until, newest = world.now, report_day(world, world.now)
        else:
            until, newest = None, last_closed_day(world)
        if "fd" not in asked and "td" not in asked:
            first, last = (newest, newest) if query.type == "TCF" else period_of(query, newest)
            return first, last, until
        try:
            first, last = (datetime.strptime(asked[name], "%Y%m%d").date() for name in ("fd", "td"))  # noqa: DTZ007
        except (KeyError, ValueError) as error:
            raise _Failed(1020) from error
        if not timedelta(0) <= last - first < _A_YEAR:
            raise _Failed(1020)
        if first > newest:
            raise _Failed(1003)
        return first, min(last, newest), until

    def _get_statement(self, token: _Token, code: str) -> Reply:
        world, reference = self._world, self._references.get(code)
        if reference is None or reference.token != token.token:
            raise _Failed(1017)
        if (world.now - reference.asked_at).total_seconds() >= world.quirks.flex_reference_s:
            del self._references[code]
            raise _Failed(1017)
        reference.polls += 1
        if world.quirks.flex_hang or (reference.body is None and reference.polls <= world.quirks.flex_polls):
            raise _Failed(1019)
        if reference.body is None:
            reference.body = make_statement(world, reference.query, reference.first, reference.last, reference.until)
        if world.quirks.flex_reference_once:
            del self._references[code]
        return Reply(reference.body, content_type="text/xml;charset=UTF-8")

    def _fail(self, code: int) -> Reply:
        text = CODES[code][1]
        return self._reply(
            f"<Status>Fail</Status>\n<ErrorCode>{code}</ErrorCode>\n<ErrorMessage>{escape(text)}</ErrorMessage>"
        )

    def _reply(self, inner: str) -> Reply:
        now = self._world.now.astimezone(_NEW_YORK)
        stamp = f"{now:%d %B, %Y %I:%M %p} {now.tzname()}"
        body = f'<FlexStatementResponse timestamp="{stamp}">\n{inner}\n</FlexStatementResponse>'
        return Reply(body, content_type="text/xml;charset=UTF-8")

    # --- by hand ----------------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """For whoever tries it; the control face never leaves the machine."""
        return {
            "path": FLEX_PATH,
            "tokens": [dataclasses.asdict(token) for token in self._tokens.values()],
            "queries": [dataclasses.asdict(query) for query in self.queries.values()],
            "failures": [dataclasses.asdict(failure) for failure in self._failures if failure.times != 0],
        }

    def change(self, body: Mapping[str, Any]) -> None:
        """Raises ValueError for what cannot be; then nothing changed."""
        parts = {"token": self._change_token, "query": self._change_query, "fail": self._change_failure}
        if len(body) != 1 or not body.keys() <= parts.keys():
            raise ValueError(f"one of {', '.join(parts)}")
        ((name, row),) = body.items()
        if not isinstance(row, Mapping):
            raise ValueError(f"{name}: an object is wanted")
        parts[name](row)

    def _user(self, row: Mapping[str, Any]) -> str:
        users = [user.username for user in self._world.users_at_start]
        username = row.get("username", users[0])
        if username not in users:
            raise ValueError(f"no user is called {username}; there are: {', '.join(users)}")
        return str(username)

    def _change_token(self, row: Mapping[str, Any]) -> None:
        username = self._user(row)
        life = timedelta(seconds=float(row["expires_in_s"])) if "expires_in_s" in row else None
        token = self._tokens[self.token_of(username)]
        ip = str(row["ip"]) if row.get("ip") else None
        if row.get("renew"):
            token.revoked = True
            self._add_token(username, life or _A_YEAR, ip)
            return
        if life is not None:
            token.expires_at = self._world.now + life
        token.ip = ip

    def _add_token(self, username: str, life: timedelta, ip: str | None) -> None:
        token = "".join(str(self._chance.randrange(10)) for _ in range(24))
        self._tokens[token] = _Token(token=token, username=username, expires_at=self._world.now + life, ip=ip)

    def _change_query(self, row: Mapping[str, Any]) -> None:
        known = {each.name for each in dataclasses.fields(SimFlexQuery)}
        if not row.keys() <= known:
            raise ValueError(f"query: {', '.join(sorted(row.keys() - known))} is not known")
        username = self._user(row)
        old = self.queries.get(str(row.get("id", "")))
        user = next(user for user in self._world.users_at_start if user.username == username)
        accounts = tuple(account.id for account in (*user.accounts, *user.spare_accounts))
        values: dict[str, Any] = dataclasses.asdict(old) if old else {"accounts": accounts[: len(user.accounts)]}
        values |= {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
        values["username"] = username
        values["id"] = str(values.get("id") or self._chance.randrange(100_000, 1_000_000))
        query = SimFlexQuery(**values)
        kinds = get_args(get_type_hints(SimFlexQuery)["type"])
        if query.type not in kinds or query.period not in PERIODS:
            raise ValueError(f"query: type is one of {', '.join(kinds)}, period one of {', '.join(PERIODS)}")
        if not set(query.sections) <= set(ACTIVITY_SECTIONS):
            raise ValueError(f"query: sections are {', '.join(ACTIVITY_SECTIONS)}")
        if not query.accounts or not set(query.accounts) <= set(accounts):
            raise ValueError(f"query: accounts of {username} are {', '.join(accounts)}")
        self._put(query)

    def _put(self, query: SimFlexQuery) -> None:
        self.queries[query.id] = query

    def _change_failure(self, row: Mapping[str, Any]) -> None:
        code, on, times = row.get("code"), row.get("on", "GetStatement"), row.get("times", 1)
        if not isinstance(code, int) or code not in CODES or on not in ("SendRequest", "GetStatement"):
            raise ValueError(f"fail: code is one of {', '.join(map(str, CODES))}, on is SendRequest or GetStatement")
        if times is not None and (not isinstance(times, int) or times < 0):
            raise ValueError("fail: times is a number, or null for ever")
        self._failures = [each for each in self._failures if (each.code, each.on) != (code, on)]
        self._failures.append(_Failure(code=code, on=on, times=times))
