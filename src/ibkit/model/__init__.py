"""The words everything else is written in: frozen values, no I/O, no wire spellings."""

from __future__ import annotations

from ibkit.model.account import Account, AccountSummary, CashBalance, Position
from ibkit.model.contract import Contract, Right, SecType
from ibkit.model.credentials import Credentials, GatewayLogin, OAuth1Credentials, OAuth2Credentials
from ibkit.model.identity import (
    AccountId,
    AuthMethod,
    Conid,
    Environment,
    Key,
    OrderId,
    QuestionId,
    Ref,
    Username,
    environment_of,
)
from ibkit.model.order import (
    Accepted,
    AlreadyRegistered,
    Answer,
    Asked,
    CancelAck,
    Fill,
    Order,
    OrderStatus,
    OrderTicket,
    OrderType,
    Preview,
    Question,
    Rejected,
    Side,
    TimeInForce,
)
from ibkit.model.prices import CENT, Increments, Rounding, average_price, portion, round_price, to_cents
from ibkit.model.quote import Availability, Quote
from ibkit.model.secret import Secret

__all__ = [
    "CENT",
    "Accepted",
    "Account",
    "AccountId",
    "AccountSummary",
    "AlreadyRegistered",
    "Answer",
    "Asked",
    "AuthMethod",
    "Availability",
    "CancelAck",
    "CashBalance",
    "Conid",
    "Contract",
    "Credentials",
    "Environment",
    "Fill",
    "GatewayLogin",
    "Increments",
    "Key",
    "OAuth1Credentials",
    "OAuth2Credentials",
    "Order",
    "OrderId",
    "OrderStatus",
    "OrderTicket",
    "OrderType",
    "Position",
    "Preview",
    "Question",
    "QuestionId",
    "Quote",
    "Ref",
    "Rejected",
    "Right",
    "Rounding",
    "SecType",
    "Secret",
    "Side",
    "TimeInForce",
    "Username",
    "average_price",
    "environment_of",
    "portion",
    "round_price",
    "to_cents",
]
