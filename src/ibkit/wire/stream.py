"""The WebSocket's topics: commands as they are sent, frames as typed values. Pure.

    TOPIC[+TARGET…][+{JSON}]      s.. subscribes, u.. unsubscribes; there is no acknowledgement but the first data

Source: docs/facts/websocket.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from ibkit.model import Conid
from ibkit.wire.codec import BODY_LIMIT, decode_json, encode, excerpt
from ibkit.wire.executions import TradeRow
from ibkit.wire.numbers import figure, whole
from ibkit.wire.orders import LiveOrder

__all__ = [
    "ECHO",
    "STREAM_PATH",
    "TIC",
    "AccountsTold",
    "Bulletins",
    "Complaint",
    "Frame",
    "Greeted",
    "Heartbeat",
    "Market",
    "NoticeRow",
    "Notices",
    "Orders",
    "PnlRow",
    "ProfitAndLoss",
    "SessionNews",
    "TicReply",
    "Trades",
    "Unknown",
    "Unreadable",
    "WaitingForSession",
    "cookie",
    "live_order",
    "merge_fields",
    "read_frame",
    "session_message",
    "subscribe_market",
    "subscribe_orders",
    "subscribe_pnl",
    "subscribe_trades",
    "unsubscribe_market",
    "unsubscribe_orders",
    "unsubscribe_pnl",
    "unsubscribe_trades",
]

STREAM_PATH: Final = "/v1/api/ws"
TIC: Final = "tic"
"""Keeps the socket, not the brokerage session. Source: §3."""
ECHO: Final = "ech+hb"


# --- what is sent ------------------------------------------------------------------------------------------------


def subscribe_market(conid: Conid, fields: Iterable[str]) -> str:
    """Quotes of one contract; sent again it begins a new life and a full frame. Source: §5.1.

    >>> subscribe_market(Conid(265598), ("31", "84"))
    'smd+265598+{"fields":["31","84"]}'
    """
    return f"smd+{conid}+{encode({'fields': list(fields)}).decode()}"


def unsubscribe_market(conid: Conid) -> str:
    return f"umd+{conid}+{{}}"


def subscribe_orders() -> str:
    """All orders of today, if there are any, and from then on what changes. Source: §5.4."""
    return "sor+{}"


def unsubscribe_orders() -> str:
    return "uor+{}"


def subscribe_trades(*, days: int = 1) -> str:
    """Executions of the last days (1-7), then new ones. Source: §5.5."""
    return f'str+{{"realtimeUpdatesOnly":false,"days":{days}}}'


def unsubscribe_trades() -> str:
    return "utr+{}"


def subscribe_pnl() -> str:
    return "spl+{}"


def unsubscribe_pnl() -> str:
    return "upl+{}"


def session_message(session: str) -> str:
    """The answer to `waiting for session`. Source: §1."""
    return encode({"session": session}).decode()


def cookie(session: str) -> str:
    """The Cookie header of the upgrade. session: from a fresh tickle. Source: §1."""
    return f"api={session}"


# --- what comes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greeted:
    """`system` success: from here on commands are heard. Source: §1.1, §2."""

    username: str
    is_paper: bool | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    at: datetime | None


@dataclass(frozen=True, slots=True)
class TicReply:
    """It may come four times. Source: §3."""


@dataclass(frozen=True, slots=True)
class SessionNews:
    """`sts`, often one member alone: None means unchanged. Source: §6."""

    authenticated: bool | None = None
    competing: bool | None = None
    established: bool | None = None
    connected: bool | None = None
    fail: str | None = None


@dataclass(frozen=True, slots=True)
class AccountsTold:
    accounts: tuple[str, ...]
    selected: str | None


@dataclass(frozen=True, slots=True)
class Market:
    """`smd`: the fields that changed. updated_ms: IBKR's moment; None where the frame had none. Source: §5.1."""

    target: str
    conid: Conid | None
    updated_ms: int | None
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Orders:
    """`sor`: full rows and deltas alike, members as sent. Source: §5.4."""

    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Trades:
    """`str`. A row comes again later with its commission. Source: §5.5."""

    rows: tuple[TradeRow, ...]


@dataclass(frozen=True, slots=True)
class PnlRow:
    """One entry of `spl`; only daily and unrealized are sure. Source: §5.6."""

    account: str
    daily: Decimal | None
    unrealized: Decimal | None
    net_liquidation: Decimal | None = None
    excess_liquidity: Decimal | None = None
    market_value: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ProfitAndLoss:
    rows: tuple[PnlRow, ...]


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """One entry of `ntf`. order_id and options: a prompt, which wants an answer. Source: §6."""

    text: str
    id: str | None = None
    order_id: str | None = None
    request_id: str | None = None
    message_id: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notices:
    rows: tuple[NoticeRow, ...]


@dataclass(frozen=True, slots=True)
class Bulletins:
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaitingForSession:
    """No brokerage session, or no cookie. Source: §1."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error frame, with or without a topic. Source: §6."""

    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A frame that nobody asked for in a topic that we do not read."""

    topic: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """No JSON object, or not of the shape its topic has. why: for logs, scrubbed."""

    why: str


Frame: TypeAlias = (
    Greeted
    | Heartbeat
    | TicReply
    | SessionNews
    | AccountsTold
    | Market
    | Orders
    | Trades
    | ProfitAndLoss
    | Notices
    | Bulletins
    | WaitingForSession
    | Complaint
    | Unknown
    | Unreadable
)


def read_frame(data: str | bytes) -> Frame:
    """What a frame says, whichever opcode it came with. Never raises. Source: §1.2, §6.

    >>> read_frame('{"topic":"system","success":"johndoe123","isPaper":true}')
    Greeted(username='johndoe123', is_paper=True)
    >>> read_frame(b'{"message":"waiting for session"}')
    WaitingForSession()
    """
    # Invalid UTF-8 in a company's name must not cost the connection (§1.2, ibind#148).
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if raw.strip() == ECHO.encode():
        return TicReply()
    if len(raw) > BODY_LIMIT:
        return Unreadable(f"{len(raw)} bytes")
    try:
        value = decode_json(raw.decode("utf-8", "replace").encode())
    except (msgspec.DecodeError, RecursionError):
        return Unreadable(excerpt(raw))
    if not isinstance(value, dict):
        return Unreadable(excerpt(raw))
    try:
        return _read(value)
    except (msgspec.ValidationError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        return Unreadable(f"{value.get('topic')!s:.40}: {error}"[:200])


def _read(value: dict[str, Any]) -> Frame:
    topic = value.get("topic")
    if value.get("error"):
        return Complaint(excerpt(str(value["error"]).encode()))
    if not isinstance(topic, str):
        told = value.get("message")
        return WaitingForSession() if told == "waiting for session" else Unknown("")
    args = value.get("args")
    name, _, target = topic.partition("+")
    match name:
        case "smd":
            return _market(value, target)
        case "sor":
            return Orders(tuple(_objects(args)))
        case "str":
            return Trades(tuple(msgspec.convert(_with_texts(row), TradeRow) for row in _objects(args)))
        case "spl":
            return ProfitAndLoss(tuple(_pnl(key, row) for key, row in _members(args).items()))
        case "ntf":
            return Notices(tuple(_notice(row) for row in _objects(args)))
        case "blt":
            return Bulletins(tuple(str(row.get("message", "")) for row in _objects(args)))
        case "tic":
            return TicReply()
        case "system" if "success" in value:
            return Greeted(str(value["success"]), _flag(value.get("isPaper")))
        case "system":
            return Heartbeat(_moment(value.get("hb")))
        case "sts":
            return _session_news(_members(args))
        case "act":
            accounts = _members(args)
            selected = accounts.get("selectedAccount")
            return AccountsTold(tuple(map(str, accounts.get("accounts") or ())), str(selected) if selected else None)
        case _:
            return Unknown(topic[:40])


def _objects(args: Any) -> Iterable[dict[str, Any]]:
    """Arrays are objects in some documents, and the other way round (§8 trap 3)."""
    rows = args if isinstance(args, list) else [args]
    return (row for row in rows if isinstance(row, dict))


def _members(args: Any) -> dict[str, Any]:
    if isinstance(args, list):
        return {name: value for row in args if isinstance(row, dict) for name, value in row.items()}
    return args if isinstance(args, dict) else {}


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _moment(value: Any) -> datetime | None:
    milliseconds = whole(value)
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _session_news(args: Mapping[str, Any]) -> SessionNews:
    fail = args.get("fail")
    return SessionNews(
        authenticated=_flag(args.get("authenticated")),
        competing=_flag(args.get("competing")),
        established=_flag(args.get("established")),
        connected=_flag(args.get("connected")),
        fail=fail if isinstance(fail, str) and fail else None,
    )


_IDENTITY = frozenset({"topic", "conid", "conidEx", "server_id", "_updated", "6119", "6508"})


def _market(value: Mapping[str, Any], target: str) -> Market:
    # A frame may lack its conid; the topic has it (§5.1).
    conid = whole(value.get("conid")) or whole(target.partition("@")[0] if target[:1].isdigit() else None)
    fields = {name: told for name, told in value.items() if name not in _IDENTITY}
    return Market(target, None if conid is None else Conid(conid), whole(value.get("_updated")), fields)


def _pnl(key: str, row: Any) -> PnlRow:
    told = row if isinstance(row, dict) else {}
    numbers = (figure(told.get(name)) for name in ("dpl", "upl", "nl", "uel", "mv"))
    return PnlRow(key.partition(".")[0], *numbers)


def _notice(row: Mapping[str, Any]) -> NoticeRow:
    def text(name: str) -> str | None:
        return None if row.get(name) is None else str(row[name])

    return NoticeRow(
        text=text("text") or "",
        id=text("id"),
        order_id=text("orderId"),
        request_id=text("reqId"),
        message_id=text("messageId"),
        options=tuple(map(str, row.get("options") or ())),
    )


_TEXTS = ("execution_id", "account", "accountCode", "conidEx", "symbol", "side", "order_ref", "sec_type", "trade_time")


def _with_texts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Members that are texts here and numbers there become texts; what a struct does not know is left out by it."""
    return {
        name: str(value) if name in _TEXTS and value is not None and not isinstance(value, str) else value
        for name, value in row.items()
    }


def merge_fields(known: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """A delta over what is known: absent is not null, and null says nothing. Source: §8 trap 6.

    >>> merge_fields({"31": "1", "84": "2"}, {"84": "3", "86": None})
    {'31': '1', '84': '3'}
    """
    return {**known, **{name: value for name, value in told.items() if value is not None}}


def live_order(fields: Mapping[str, Any]) -> LiveOrder:
    """A merged `sor` row as the live list's struct. Raises ValueError where it has another shape."""
    try:
        return msgspec.convert(dict(fields), LiveOrder)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
