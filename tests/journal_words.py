"""Intents and events for tests that speak to a journal directly."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from fakes import ACCOUNT, START, USER, stock_ticket
from ibkit.model import Environment, GroupKind, Key, OrderId, OrderStatus
from ibkit.trading.events import Attached, Claimed, Decided, IntentId, Operation, Planned, Sending, Stage
from ibkit.trading.fingerprint import fingerprint, ticket_terms
from ibkit.trading.ports import Leg
from ibkit.trading.ref import derive_ref

KEY = Key("key-0123456789abcdef")
GENERATION = 0


def planned(key=KEY, quantity="10", *, at=START, operation=Operation.PLACE, **more):
    """The wish to buy `quantity`; `more` are fields of Planned."""
    ref = derive_ref(tenant="local", environment=Environment.PAPER, key=key)
    ticket = stock_ticket(quantity) if operation in (Operation.PLACE, Operation.MODIFY) else None
    terms = ticket_terms(ticket) if ticket is not None else {"operation": operation.value}
    fields = {
        "at": at,
        "intent_id": IntentId(ref),
        "operation": operation,
        "tenant": "local",
        "environment": Environment.PAPER,
        "username": USER,
        "key": key,
        "ref": ref,
        "account_id": ACCOUNT,
        "ticket": ticket,
        "target": None if operation is Operation.PLACE else OrderId("17"),
        "terms": terms,
        "fingerprint": fingerprint(terms),
        "expires_at": at + timedelta(seconds=30),
        "purpose": "order",
        "confirm": ("o10331",),
    }
    return Planned(**{**fields, **more})


def claim(epoch=0, *, at=START):
    return (Decided(at=at, stage=Stage.INTAKE, passed=True, version="v1"), Claimed(at=at, owner="test", epoch=epoch))


def send(serial=0, *, generation=0, value=None, at=START):
    decided = Decided(
        at=at, stage=Stage.SEND, passed=True, version="v1", generation=generation, serial=serial, value=value
    )
    return decided, Sending(at=at, deadline_s=2.0, session="1", trading_day=date(2026, 11, 20))


def bracket(key=KEY):
    """A parent's wish and, once it is there, its two children."""
    others = (stock_ticket("4"), stock_ticket("6"))
    parent = planned(key, group=GroupKind.BRACKET, others=others)
    legs = tuple(
        Leg(
            planned(Key(f"{key}-leg-{number}"), str(quantity), leg_of=parent.intent_id),
            Attached(at=START, order_id=OrderId(f"90{number}"), status=OrderStatus.PRE_SUBMITTED),
        )
        for number, quantity in ((1, Decimal(4)), (2, Decimal(6)))
    )
    return parent, legs


def other_key(number: int) -> Key:
    return Key(f"key-{number:017}")


def later(days: float) -> datetime:
    return START + timedelta(days=days)
