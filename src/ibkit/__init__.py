"""Interactive Brokers' Web API: three sign-ins, orders that are never sent twice, and a simulator to try it all on.

    async with ibkit.connect() as ib:           # method and credentials from the settings
        print(await ib.summary())

    with ibkit.IBRestClient() as ib:            # the same, blocking
        ib.sell_option_with_stop("SPY", 629, "P")

Importing reads no environment, writes no file and loads nothing: each name is found when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibkit.bootstrap import (
        AsyncIBKRSessionAuth,
        ConnectionTest,
        IBKRSessionAuth,
        IBRestClient,
        SubmittedOrder,
        TradingClient,
        connect,
        create_async_ibkr_session_auth,
        create_ibkr_session_auth,
        test_connection,
    )
    from ibkit.client import Client
    from ibkit.errors import (
        AuthError,
        ConfigError,
        CredentialsRejected,
        Effect,
        IbkitError,
        InFlight,
        InvalidRequest,
        KeyReused,
        LimitExceeded,
        NotFound,
        NotPermitted,
        OutcomeUnknown,
        RateLimited,
        Refused,
        SessionExpired,
        SessionTaken,
        SessionUnavailable,
        StorageError,
        TradingError,
        UnexpectedAnswer,
        Unprotected,
        Unreachable,
    )
    from ibkit.model import (
        Account,
        AccountId,
        AccountSummary,
        AuthMethod,
        Availability,
        Conid,
        Contract,
        Environment,
        Fill,
        GatewayLogin,
        Key,
        OAuth1Credentials,
        OAuth2Credentials,
        Order,
        OrderId,
        OrderStatus,
        OrderTicket,
        OrderType,
        Position,
        Preview,
        Quote,
        Right,
        Secret,
        SecType,
        Side,
        TimeInForce,
        Trail,
        TrailKind,
        Username,
        combo_of,
    )
    from ibkit.settings import Settings
    from ibkit.trading import Outcome, TradeResult

_HOMES = {
    "ibkit.bootstrap": (
        "AsyncIBKRSessionAuth",
        "ConnectionTest",
        "IBKRSessionAuth",
        "IBRestClient",
        "SubmittedOrder",
        "TradingClient",
        "connect",
        "create_async_ibkr_session_auth",
        "create_ibkr_session_auth",
        "test_connection",
    ),
    "ibkit.client": ("Client",),
    "ibkit.errors": (
        "AuthError",
        "ConfigError",
        "CredentialsRejected",
        "Effect",
        "IbkitError",
        "InFlight",
        "InvalidRequest",
        "KeyReused",
        "LimitExceeded",
        "NotFound",
        "NotPermitted",
        "OutcomeUnknown",
        "RateLimited",
        "Refused",
        "SessionExpired",
        "SessionTaken",
        "SessionUnavailable",
        "StorageError",
        "TradingError",
        "UnexpectedAnswer",
        "Unprotected",
        "Unreachable",
    ),
    "ibkit.model": (
        "Account",
        "AccountId",
        "AccountSummary",
        "AuthMethod",
        "Availability",
        "Conid",
        "Contract",
        "Environment",
        "Fill",
        "GatewayLogin",
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
        "Quote",
        "Right",
        "SecType",
        "Secret",
        "Side",
        "TimeInForce",
        "Trail",
        "TrailKind",
        "Username",
        "combo_of",
    ),
    "ibkit.settings": ("Settings",),
    "ibkit.trading": ("Outcome", "TradeResult"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Account",
    "AccountId",
    "AccountSummary",
    "AsyncIBKRSessionAuth",
    "AuthError",
    "AuthMethod",
    "Availability",
    "Client",
    "ConfigError",
    "Conid",
    "ConnectionTest",
    "Contract",
    "CredentialsRejected",
    "Effect",
    "Environment",
    "Fill",
    "GatewayLogin",
    "IBKRSessionAuth",
    "IBRestClient",
    "IbkitError",
    "InFlight",
    "InvalidRequest",
    "Key",
    "KeyReused",
    "LimitExceeded",
    "NotFound",
    "NotPermitted",
    "OAuth1Credentials",
    "OAuth2Credentials",
    "Order",
    "OrderId",
    "OrderStatus",
    "OrderTicket",
    "OrderType",
    "Outcome",
    "OutcomeUnknown",
    "Position",
    "Preview",
    "Quote",
    "RateLimited",
    "Refused",
    "Right",
    "SecType",
    "Secret",
    "SessionExpired",
    "SessionTaken",
    "SessionUnavailable",
    "Settings",
    "Side",
    "StorageError",
    "SubmittedOrder",
    "TimeInForce",
    "TradeResult",
    "TradingClient",
    "TradingError",
    "Trail",
    "TrailKind",
    "UnexpectedAnswer",
    "Unprotected",
    "Unreachable",
    "Username",
    "combo_of",
    "connect",
    "create_async_ibkr_session_auth",
    "create_ibkr_session_auth",
    "test_connection",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'ibkit' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
