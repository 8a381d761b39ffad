"""What stands between a write and a send: lanes, the controls a decision rests on, and the record of what was sent.

Everything runs inside a caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from ibkit.model import AccountId, Username
from ibkit.store.columns import instant_text
from ibkit.store.mark import Mark
from ibkit.store.transactions import driver_of
from ibkit.trading.events import Claimed, Decided, Event, Operation, Replying, Sending, Stage, TakenOver
from ibkit.trading.intent import Intent
from ibkit.trading.ports import ControlsMoved, Fenced, lane_of

__all__ = ["check_controls", "check_lane", "controls", "record_sends", "rise", "take_lane"]

_FENCED = (Claimed, TakenOver, Sending, Replying)
_BEFORE_SENDS = (Stage.SEND, Stage.CONFIRM)
_COUNTED = (Operation.PLACE, Operation.MODIFY)
"""A cancel takes risk away and counts against nothing."""

_TAKE_LANE = (
    "INSERT INTO lanes (username, epoch, owner, taken_at) VALUES (?, 1, ?, ?)"
    " ON CONFLICT (username) DO UPDATE SET epoch = epoch + 1, owner = excluded.owner, taken_at = excluded.taken_at"
    " RETURNING epoch"
)
_EPOCH = "SELECT epoch FROM lanes WHERE username = ?"
_PRESENT = (
    "SELECT generation, coalesce((SELECT serial FROM send_serials WHERE account_id = ?), 0)"
    " FROM risk_state WHERE id = 1"
)
_RAISE_SERIAL = (
    "INSERT INTO send_serials (account_id, serial) VALUES (?, 1)"
    " ON CONFLICT (account_id) DO UPDATE SET serial = serial + 1"
)
_INSERT_SEND = (
    "INSERT INTO sends (intent_id, number, at, tenant, account_id, user, api_key, symbol, conid, side, quantity, price,"
    " value_usd, operation, strategy) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_RISE = "UPDATE lineage SET changes = changes + 1 WHERE id = 1 RETURNING journal_id, changes"


def take_lane(connection: Connection, username: Username, *, owner: str, at: datetime) -> int:
    """The lane's new epoch: whoever held it before can no longer send."""
    epoch: int = driver_of(connection).execute(_TAKE_LANE, (username, owner, instant_text(at))).fetchall()[0][0]
    return epoch


def check_lane(connection: Connection, after: Intent, events: Sequence[Event]) -> bool:
    """Whether `events` take an order closer to IBKR. Fenced where they do so under an epoch that is not the newest."""
    if not any(isinstance(event, _FENCED) for event in events):
        return False
    check_epoch(connection, after)
    return True


def check_epoch(connection: Connection, after: Intent) -> None:
    """Fenced where the lane has a newer epoch than the one that `after` is carried out under."""
    lane = lane_of(after.planned)
    found = driver_of(connection).execute(_EPOCH, (lane,)).fetchone()
    newest = 0 if found is None else found[0]
    if after.epoch != newest:
        raise Fenced(
            f"Order {after.intent_id}: another process has taken over the orders of IBKR user {lane}",
            details={"intent": after.intent_id, "epoch": str(after.epoch), "newest": str(newest)},
        )


def controls(connection: Connection, account_id: AccountId) -> tuple[int, int]:
    """What a decision on an order of the account has to rest on now: generation and serial."""
    generation, serial = driver_of(connection).execute(_PRESENT, (account_id,)).fetchone()
    return generation, serial


def check_controls(connection: Connection, after: Intent, events: Sequence[Event]) -> None:
    """ControlsMoved where a decision to send rests on other limits, or other sends of its account, than now."""
    resting = [e for e in events if isinstance(e, Decided) and e.passed and e.stage in _BEFORE_SENDS]
    if not resting:
        return
    present = controls(connection, after.planned.account_id)
    for decided in resting:
        if (decided.generation, decided.serial) != present:
            raise ControlsMoved(
                f"Order {after.intent_id}: limits, kill switches or sends changed since it was judged",
                details={"intent": after.intent_id, "generation": str(present[0]), "serial": str(present[1])},
            )


def record_sends(connection: Connection, after: Intent, first: int, events: Sequence[Event]) -> None:
    """A row for each send of an order or a change, counted for its account. first: the number of the first event."""
    value: Decimal | None = None
    for number, event in enumerate(events, start=first):
        if isinstance(event, Decided):
            value = event.value
        if isinstance(event, Sending) and after.operation in _COUNTED:
            driver_of(connection).execute(_RAISE_SERIAL, (after.planned.account_id,))
            _record_send(connection, after, number, event, value)


def rise(connection: Connection) -> Mark:
    """The journal moves on: an older copy of it differs from now on."""
    return Mark(*driver_of(connection).execute(_RISE).fetchall()[0])


def _record_send(connection: Connection, intent: Intent, number: int, sending: Sending, value: Decimal | None) -> None:
    planned, ticket = intent.planned, intent.ticket
    price = ticket.limit_price if ticket.limit_price is not None else ticket.stop_price
    row = (
        intent.intent_id,
        number,
        instant_text(sending.at),
        planned.tenant,
        planned.account_id,
        planned.user,
        planned.api_key,
        ticket.contract.symbol,
        ticket.contract.conid,
        ticket.side.value,
        f"{ticket.quantity:f}",
        None if price is None else f"{price:f}",
        None if value is None else f"{value:f}",
        planned.operation.value,
        planned.strategy,
    )
    driver_of(connection).execute(_INSERT_SEND, row)
