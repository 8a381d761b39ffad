"""What each sign-in needs. Keys are PEM text, already read from their files; nothing here touches a disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ibkit.model.identity import AuthMethod, Username
from ibkit.model.secret import Secret

__all__ = ["Credentials", "GatewayLogin", "OAuth1Credentials", "OAuth2Credentials"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLogin:
    """The Client Portal Gateway holds the login itself; `username` is only for checks."""

    username: Username | None = None
    method: AuthMethod = AuthMethod.GATEWAY


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth1Credentials:
    """access_token and access_token_secret are None before a third party was authorised.

    access_token_secret: base64 as the portal shows it, still encrypted to the public encryption key.
    dh_params:           PEM of `dhparam.pem`, public.
    key_passphrase:      opens both private keys where they are encrypted.
    """

    consumer_key: str
    access_token: str | None
    access_token_secret: Secret[str] | None
    signature_key: Secret[str]
    encryption_key: Secret[str]
    dh_params: str
    key_passphrase: Secret[str] | None = None
    realm: str = "limited_poa"
    username: Username | None = None
    method: AuthMethod = AuthMethod.OAUTH1A


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Credentials:
    """private_key: RSA PEM. credential: the IBKR user name. ip: our public IPv4 as IBKR sees it."""

    client_id: str
    client_key_id: str
    private_key: Secret[str]
    credential: Username
    ip: str
    scope: str = "sso-sessions.write"
    key_passphrase: Secret[str] | None = None
    method: AuthMethod = AuthMethod.OAUTH2


Credentials: TypeAlias = GatewayLogin | OAuth1Credentials | OAuth2Credentials
