"""Who and where: ids as types of their own, environment, sign-in method."""

from __future__ import annotations

import enum
from typing import NewType

__all__ = [
    "AccountId",
    "AuthMethod",
    "Conid",
    "Environment",
    "Key",
    "OrderId",
    "QuestionId",
    "Ref",
    "Username",
    "environment_of",
]

AccountId = NewType("AccountId", str)
"""`U1234567`; paper ids start with DU or DF."""
Conid = NewType("Conid", int)
"""IBKR's permanent number of a contract."""
OrderId = NewType("OrderId", str)
"""The broker's number of an order: digits, 64 bits and more, kept as text."""
QuestionId = NewType("QuestionId", str)
"""The reply id (a UUID) of one open question; not an order id."""
Ref = NewType("Ref", str)
"""Our mark on an order, sent as `cOID`, returned as `order_ref`; at most 64 of `[A-Za-z0-9_-]`."""
Key = NewType("Key", str)
"""The caller's idempotency key: 16-128 of `[A-Za-z0-9._:-]`."""
Username = NewType("Username", str)


class Environment(enum.Enum):
    PAPER = "paper"
    LIVE = "live"


class AuthMethod(enum.Enum):
    GATEWAY = "gateway"
    OAUTH1A = "oauth1a"
    OAUTH2 = "oauth2"


def environment_of(account_id: AccountId) -> Environment:
    """Paper for `DU…`/`DF…`, live for the rest.

    Source: docs/facts/accounts-and-portfolio.md §0 (live `U…`, paper `DU…`/`DF…`).
    """
    return Environment.PAPER if account_id.startswith(("DU", "DF")) else Environment.LIVE
