"""The control endpoints under /__sim/: look at the world, move its clock, make trouble. They are no part of IBKR's API.

GET  requests | ledger | history | world | clock | quirks | faults | flex
POST clock {"advance": s}           POST scenario {"scenario": name | [names]}      POST reset {}
POST faults {"endpoint" | "path", "fault", "times", "after", "method", "params"} (or a list; DELETE clears)
POST market {"symbol", "price"} or {"conid", "bid", "ask", "bid_size", "ask_size"} (null: nobody bids, offers) or
            {"conid", "release": true} or {"symbol", "halted": true|false}, or {"moves": [these, each with "after"]}
POST order {"account", "ticket"}  an order typed into TWS: no cOID, no question; the ticket as on the wire
POST fill {"order_id", "price", "quantity"}  fill a working order whatever the market says (quantity: all of it)
POST events {"event", …}  deposits, dividends, splits, conversions, exercises (`event_moves.py`)
POST flex {"token" | "query" | "fail": {…}}  tokens, queries, failures of the Flex Web Service (`flex/service.py`)
POST quirks {name: value}           POST login {"username", "logged_in"}
POST faults {"fault", "topic", "user", "times", "after", "params"} for the frames of WebSockets
POST notice {"username", "id", "text"}  a notice on the user's WebSockets
POST competing {"username", "on"}   POST rotate {}  (new certificates for both faces)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

import msgspec

from ibkit.sim.exchange.ledger import ledger_row
from ibkit.sim.exchange.tickets import BadTicket, read_ticket
from ibkit.sim.faults import FAULTS, SCENARIOS, STREAM_FAULTS, RequestFault, StreamFault
from ibkit.sim.logins import sessions
from ibkit.sim.market.calendar import LAST_DAY
from ibkit.sim.serving.event_moves import history_of, move_account
from ibkit.sim.serving.market_moves import move_market
from ibkit.sim.serving.server import SimServer

__all__ = ["PREFIX", "Control"]

PREFIX = "/__sim/"


class _BadRequest(Exception):
    """What the caller asked cannot be done; its text says why."""


class Control:
    """rotate: makes new certificates for the faces, where there are any."""

    def __init__(self, server: SimServer, *, rotate: Callable[[], None] | None = None) -> None:
        self._server = server
        self._rotate = rotate
        self._gets: dict[str, Callable[[], Any]] = {
            "requests": lambda: server.log.entries(),
            "ledger": lambda: server.world.exchange.ledger_rows(),
            "history": lambda: history_of(server.world),
            "world": self._world,
            "clock": self._clock,
            "quirks": lambda: server.world.quirks,
            "flex": lambda: server.world.flex.as_dict(),
            "faults": self._faults,
        }
        self._posts: dict[str, Callable[[Any], Any]] = {
            "clock": self._move_clock,
            "scenario": self._set_scenario,
            "faults": self._add_faults,
            "reset": self._reset,
            "market": self._set_market,
            "order": self._enter_order,
            "fill": self._fill_order,
            "events": self._account_event,
            "flex": self._set_flex,
            "quirks": self._set_quirks,
            "login": self._login,
            "competing": self._competing,
            "notice": self._notify,
            "rotate": self._rotate_certificates,
        }

    def handle(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and JSON of one control call; path with its prefix."""
        name = path.removeprefix(PREFIX).strip("/")
        self._server.world.advance(self._server.clock.now())
        try:
            status, answer = self._act(method, name, body)
        except _BadRequest as error:
            status, answer = 400, {"error": str(error)}
        return status, _encoder.encode(answer)

    def _act(self, method: str, name: str, body: bytes) -> tuple[int, Any]:
        if method == "GET" and name in self._gets:
            return 200, _plain_tree(self._gets[name]())
        if method == "POST" and name in self._posts:
            return 200, _plain_tree(self._posts[name](_read(body)))
        if method == "DELETE" and name == "faults":
            self._server.world.faults.clear()
            return 200, self._faults()
        known = sorted({*self._gets, *self._posts})
        return 404, {"error": f"no such control: {method} {name}", "known": known}

    # --- looking -------------------------------------------------------------------------------------------------

    def _clock(self) -> dict[str, Any]:
        clock = self._server.clock
        return {"now": clock.now().isoformat(), "speed": clock.speed, "mode": clock.mode}

    def _faults(self) -> dict[str, Any]:
        faults = self._server.world.faults
        return {
            "scenarios": faults.scenarios or ("ok",),
            "requests": faults.requests,
            "streams": faults.streams,
            "known": FAULTS | STREAM_FAULTS,
        }

    def _world(self) -> dict[str, Any]:
        world = self._server.world
        return {
            "now": world.now.isoformat(),
            "seed": world.seed,
            "scenarios": world.faults.scenarios or ("ok",),
            "users": [
                {"username": user.username, "accounts": [account.id for account in user.accounts]}
                for user in world.users
            ],
            "sessions": [_session_dump(world, session) for session in world.logins.sessions],
            "elsewhere": sorted(world.logins.elsewhere),
            "exchange": world.exchange.as_dict(),
            "books": world.books.as_dict(world.now),
        }

    # --- changing ------------------------------------------------------------------------------------------------

    def _move_clock(self, body: Mapping[str, Any]) -> Any:
        seconds = _number(body, "advance")
        if seconds < 0:
            raise _BadRequest("advance: the clock does not go backwards")
        end = datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, tzinfo=UTC)
        if seconds > Decimal((end - self._server.clock.now()).total_seconds()):
            raise _BadRequest(f"advance: a simulated world ends with {LAST_DAY}")
        self._server.clock.advance(float(seconds))
        self._server.world.advance(self._server.clock.now())
        return self._clock()

    def _set_scenario(self, body: Mapping[str, Any]) -> Any:
        names = body.get("scenario", body.get("scenarios"))
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _BadRequest(f"scenario: a name or a list of names; there are: {', '.join(sorted(SCENARIOS))}")
        try:
            self._server.world.faults.set_scenarios(names)
        except ValueError as error:
            raise _BadRequest(str(error)) from error
        sessions.apply_scenarios(self._server.world)
        return {"scenarios": self._server.world.faults.scenarios or ("ok",)}

    def _add_faults(self, body: Any) -> Any:
        rows = body if isinstance(body, list) else [body]
        try:
            faults = [(StreamFault if row.get("fault") in STREAM_FAULTS else RequestFault)(**row) for row in rows]
        except (TypeError, ValueError) as error:
            raise _BadRequest(str(error)) from error
        for fault in faults:
            self._server.world.faults.add(fault)
        return self._faults()

    def _reset(self, _body: Any) -> Any:
        self._server.reset()
        return self._clock()

    def _set_market(self, body: Mapping[str, Any]) -> Any:
        world = self._server.world
        try:
            until = move_market(world, body)
        except (LookupError, ValueError, TypeError) as error:
            raise _BadRequest(f"market: {error}") from error
        return {"now": world.now.isoformat(), "until": until.isoformat()}

    def _enter_order(self, body: Mapping[str, Any]) -> Any:
        world = self._server.world
        account = str(body.get("account", ""))
        if account not in world.books.accounts:
            raise _BadRequest(f"no account is called {account}; there are: {', '.join(world.books.accounts)}")
        try:
            ticket = read_ticket(body.get("ticket"), world.instruments)
        except BadTicket as error:
            raise _BadRequest(f"order: {error.error or 'the ticket cannot be read'}") from error
        return ledger_row(world.exchange.enter_external(account, ticket, world.now))

    def _fill_order(self, body: Mapping[str, Any]) -> Any:
        world = self._server.world
        quantity = _number(body, "quantity") if "quantity" in body else None
        try:
            order = world.exchange.fill(int(body.get("order_id", 0)), _number(body, "price"), quantity, world.now)
        except (LookupError, TypeError, ValueError) as error:
            raise _BadRequest(f"fill: {error}") from error
        return ledger_row(order)

    def _account_event(self, body: Mapping[str, Any]) -> Any:
        try:
            return move_account(self._server.world, body)
        except ValueError as error:
            raise _BadRequest(f"events: {error}") from error

    def _set_flex(self, body: Mapping[str, Any]) -> Any:
        try:
            self._server.world.flex.change(body)
        except ValueError as error:
            raise _BadRequest(f"flex: {error}") from error
        return self._server.world.flex.as_dict()

    def _set_quirks(self, body: Mapping[str, Any]) -> Any:
        try:
            self._server.world.quirks = self._server.world.quirks.with_values(body)
        except ValueError as error:
            raise _BadRequest(str(error)) from error
        return self._server.world.quirks

    def _username(self, body: Mapping[str, Any]) -> str:
        users = self._server.world.logins.users
        username = body.get("username", self._server.world.logins.first_user.username)
        if username not in users:
            raise _BadRequest(f"no user is called {username}; there are: {', '.join(users)}")
        return str(username)

    def _login(self, body: Mapping[str, Any]) -> Any:
        """Log the gateway in or out without the browser."""
        world = self._server.world
        if body.get("logged_in", True):
            sessions.gateway_login(world, self._username(body), ready=True)
        else:
            sessions.gateway_logout(world)
        gateway = world.logins.gateway
        return {"gateway": gateway.user.username if gateway else None}

    def _competing(self, body: Mapping[str, Any]) -> Any:
        """Another platform takes the user's brokerage session, or lets it go."""
        world, username = self._server.world, self._username(body)
        if body.get("on", True):
            sessions.take_elsewhere(world, username)
        else:
            world.logins.elsewhere.discard(username)
        return {"elsewhere": sorted(world.logins.elsewhere)}

    def _notify(self, body: Mapping[str, Any]) -> Any:
        """A notice (`ntf`) to the open sockets of a user."""
        username, text = self._username(body), body.get("text")
        if not isinstance(text, str):
            raise _BadRequest("text: a text is wanted")
        row = {"id": str(body.get("id", "0")), "text": text, "title": body.get("title"), "url": body.get("url")}
        self._server.world.notices.append((username, row))
        return row

    def _rotate_certificates(self, _body: Any) -> Any:
        if self._rotate is None:
            raise _BadRequest("rotate: this simulator has no certificates")
        self._rotate()
        return {"rotated": True}


def _read(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        given = json.loads(body, parse_float=Decimal)
    except ValueError as error:
        raise _BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(given, dict | list):
        raise _BadRequest("the body must be an object")
    return given


def _number(body: Mapping[str, Any], name: str) -> Decimal:
    try:
        number = Decimal(str(body[name]))
    except (KeyError, InvalidOperation) as error:
        raise _BadRequest(f"{name}: a number is wanted") from error
    if not number.is_finite():
        raise _BadRequest(f"{name}: a number is wanted")
    return number


def _session_dump(world: Any, session: Any) -> dict[str, Any]:
    brokerage = session.brokerage
    return {
        "user": session.user.username,
        "method": session.method,
        "opened_at": session.opened_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
        "last_call_at": session.last_call_at.isoformat(),
        "ready": sessions.is_ready(session, world.now),
        "competing": session.competing,
        "connected": session.connected,
        "brokerage": None
        if brokerage is None
        else {
            "opened_at": brokerage.opened_at.isoformat(),
            "accounts_primed": brokerage.accounts_primed,
            "selected_account": brokerage.selected_account,
            "suppressed": sorted(brokerage.suppressed),
        },
    }


def _plain_tree(value: Any) -> Any:
    """Dataclasses as objects, everything else left to the encoder."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain_tree(asdict(value))
    if isinstance(value, Mapping):
        return {_key(name): _plain_tree(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain_tree(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return _plain(value) if isinstance(value, datetime | date | time | Enum) else value


def _key(name: Any) -> Any:
    return name if isinstance(name, str) else str(name)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else str(value)


_encoder = msgspec.json.Encoder(enc_hook=_plain, decimal_format="number")
