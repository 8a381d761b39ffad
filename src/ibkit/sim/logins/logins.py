"""Who may sign in, and who is signed in: users, credentials as IBKR keeps them, tokens, the two nested sessions.

An *outer* session belongs to one way in (a gateway login, an access token's live session tokens, an SSO bearer). The
*brokerage* session inside it belongs to the user name: one over all ways in.

Source: docs/facts/auth-and-sessions.md §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

__all__ = [
    "AccessToken",
    "Brokerage",
    "ClientBearer",
    "Consumer",
    "LiveSessionToken",
    "Logins",
    "Method",
    "Newest",
    "OAuth2Client",
    "RequestToken",
    "RsaPublicKey",
    "Session",
    "SimAccount",
    "SsoBearer",
    "User",
]

TOKENS: Final = 1000
"""Tokens of one kind that are kept; far more than are alive at once."""
PROOFS: Final = 100_000
"""Nonces and assertion ids that are remembered: at IBKR's 50 calls a second, those of half an hour, and a proof older
than the timestamp's tolerance is refused for its age."""
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

Method = Literal["gateway", "oauth1a", "oauth2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimAccount:
    """One account; `cash` is what it starts with, in `currency`."""

    id: str
    paper: bool
    title: str
    currency: str = "USD"
    cash: Decimal = Decimal("1000000.00")

    @property
    def type(self) -> str:
        """`DEMO` for paper. Source: docs/facts/accounts-and-portfolio.md §2.1."""
        return "DEMO" if self.paper else "INDIVIDUAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One IBKR user name.

    spare_accounts: exist in the books, but are shown only when a scenario says so (multi-account).
    second_factor:  the code that the login page wants. region: us, eu, asia.
    """

    username: str
    password: str = field(repr=False)
    user_id: int
    accounts: tuple[SimAccount, ...]
    is_paper: bool
    spare_accounts: tuple[SimAccount, ...] = ()
    second_factor: str = field(default="123456", repr=False)
    region: str = "us"


@dataclass(frozen=True, slots=True)
class RsaPublicKey:
    n: int
    e: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """An OAuth 1.0a consumer as registered. owner: its first-party user; None for a third party's application.

    callback: where a third party's users land after the consent page.
    """

    key: str
    signature_key: RsaPublicKey
    encryption_key: RsaPublicKey
    dh_prime: int
    dh_generator: int = 2
    realm: str = "limited_poa"
    owner: str | None = None
    callback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """secret: the plain access token secret; encrypted_secret: base64, as the portal shows it."""

    token: str
    consumer_key: str
    username: str
    secret: bytes = field(repr=False)
    encrypted_secret: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class RequestToken:
    """verifier: None until a user has agreed; a used one is gone with its token."""

    token: str
    consumer_key: str
    expires_at: datetime
    username: str | None = None
    verifier: str | None = None
    denied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Client:
    """keys: public key of each `kid`. usernames: whom the client may act for."""

    client_id: str
    keys: Mapping[str, RsaPublicKey]
    usernames: frozenset[str]
    scopes: frozenset[str]


@dataclass(slots=True, kw_only=True, eq=False)
class Brokerage:
    """The session that can trade. It begins empty: priming, suppressions and subscriptions are gone with the last one.

    established_at: from this world time on the session is authenticated and established.
    switched:       another account was selected than the one that it began with.
    """

    id: str
    opened_at: datetime
    established_at: datetime
    selected_account: str | None = None
    switched: bool = False
    accounts_primed: bool = False
    orders_primed: bool = False
    trades_primed: bool = False
    pnl_primed: bool = False
    trades_days: int | None = None
    searched_symbols: set[str] = field(default_factory=set)
    suppressed: set[str] = field(default_factory=set)
    market_lines: dict[int | str, Any] = field(default_factory=dict)
    sor_silenced: bool = False
    """A filtered read of the orders keeps `sor` from telling anything."""


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """One outer session. Handlers keep what they must remember for a login here or in `brokerage`.

    id: the 32 hex digits that tickle shows. last_call_at: the idle clock counts from here.
    had_brokerage: one was open once (a lost one answers differently from one that never was).
    competing: this user name's brokerage session was taken by somebody else.
    logged_out: ended by /logout, which answers otherwise than a session that grew old.
    """

    id: str
    user: User
    method: Method
    opened_at: datetime
    expires_at: datetime
    last_call_at: datetime
    brokerage: Brokerage | None = None
    had_brokerage: bool = False
    competing: bool = False
    connected: bool = True
    logged_out: bool = False
    portfolio_primed: bool = False
    positions_seen: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveSessionToken:
    token: bytes = field(repr=False)
    access_token: str
    expires_at: datetime
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClientBearer:
    """What the OAuth 2 token call gives: opens /gw, not the trading API."""

    token: str = field(repr=False)
    client_id: str
    scopes: frozenset[str]
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SsoBearer:
    """What sso-sessions gives: opens the trading API to callers from `ips`."""

    token: str = field(repr=False)
    session: Session
    ips: frozenset[str]


class Newest(dict[_Key, _Value]):
    """The `most` entries put last: a simulator that runs for weeks does not grow."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: _Key, value: _Value) -> None:
        super().__setitem__(key, value)
        if len(self) > self.most:
            del self[next(iter(self))]


class Logins:
    """The registry of credentials, tokens and sessions. Rules about sessions stand in `sessions.py`."""

    def __init__(
        self,
        users: Iterable[User],
        *,
        consumers: Iterable[Consumer] = (),
        access_tokens: Iterable[AccessToken] = (),
        oauth2_clients: Iterable[OAuth2Client] = (),
    ) -> None:
        self.users: dict[str, User] = {user.username: user for user in users}
        self.consumers: dict[str, Consumer] = {consumer.key: consumer for consumer in consumers}
        self.access_tokens: dict[str, AccessToken] = {token.token: token for token in access_tokens}
        self.oauth2_clients: dict[str, OAuth2Client] = {client.client_id: client for client in oauth2_clients}
        self.request_tokens: dict[str, RequestToken] = Newest(TOKENS)
        self.live_session_tokens: dict[str, list[LiveSessionToken]] = {}
        """By access token, newest last."""
        self.client_bearers: dict[str, ClientBearer] = Newest(TOKENS)
        self.sso_bearers: dict[str, SsoBearer] = Newest(TOKENS)
        self.used_nonces: dict[tuple[str, ...], None] = Newest(PROOFS)
        self.used_jtis: dict[str, None] = Newest(PROOFS)
        self.gateway: Session | None = None
        """The one login of the gateway program, shared by all its callers."""
        self.gateway_was_logged_in = False
        self.sessions: list[Session] = []
        """Outer sessions that are alive."""
        self.elsewhere: set[str] = set()
        """User names whose brokerage session is held by a platform outside this world (TWS, a phone)."""

    @property
    def first_user(self) -> User:
        return next(iter(self.users.values()))

    def set_accounts(self, username: str, accounts: tuple[SimAccount, ...]) -> None:
        """Give a user other accounts; sessions that are open see them at once."""
        user = self.users[username] = replace(self.users[username], accounts=accounts)
        for session in self.sessions:
            if session.user.username == username:
                session.user = user
                brokerage = session.brokerage
                if brokerage is not None and brokerage.selected_account not in {account.id for account in accounts}:
                    brokerage.selected_account = accounts[0].id if accounts else None
