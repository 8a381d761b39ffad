"""Credentials of the vault and of settings, one made of the other: what a connection of a user signs in with.

A connection has the settings of the installation, but for whose login it is: nothing of the settings' own credentials
is left in them, so that no code path can fall back to those (VLT-09).
"""

from __future__ import annotations

import dataclasses
from typing import assert_never

from ibkit.errors import ConfigError, discreet
from ibkit.model import GatewayLogin, OAuth1Credentials, OAuth2Credentials, Secret
from ibkit.settings import MethodChoice, Settings, load_defaults
from ibkit.settings.addresses import is_loopback, parse_address
from ibkit.vault import OpenCredential

__all__ = ["check_gateway", "fields_of", "settings_for"]


def settings_for(settings: Settings, credential: OpenCredential) -> Settings:
    """The settings of one user's connection. ConfigError (E-GW-REMOTE, E-CONFIG-PARTIAL)."""
    bare = load_defaults({})
    login = credential.login()
    general = dataclasses.replace(
        settings.general,
        method=credential.method.value,
        environment=credential.environment,
        is_live=None,
        account_id=credential.account_id,
    )
    oauth1 = dataclasses.replace(bare.oauth1, rotation_hours=settings.oauth1.rotation_hours)
    oauth2 = dataclasses.replace(
        bare.oauth2,
        base_url=settings.oauth2.base_url,
        base_ca=settings.oauth2.base_ca,
        settle_seconds=settings.oauth2.settle_seconds,
        frontend_url=settings.oauth2.frontend_url,
    )
    gateway = dataclasses.replace(bare.gateway, allow_remote=settings.gateway.allow_remote)
    match login:
        case OAuth1Credentials():
            # The names alone, for whoever shows them; keys and tokens are in `given`.
            oauth1 = dataclasses.replace(oauth1, consumer_key=login.consumer_key, realm=login.realm)
        case OAuth2Credentials():
            oauth2 = dataclasses.replace(
                oauth2, client_id=login.client_id, credential=login.credential, allowed_ip=login.ip
            )
        case GatewayLogin():
            address = credential.address or ""
            check_gateway(settings, address)
            ca = credential.fields.get("ca")
            own = None if is_loopback(parse_address(address).host) else settings.gateway.ca
            gateway = dataclasses.replace(gateway, endpoint=address, ca=own if ca is None else ca.reveal())
        case _ as unreachable:
            assert_never(unreachable)
    return dataclasses.replace(
        settings,
        general=general,
        oauth1=oauth1,
        oauth2=oauth2,
        gateway=gateway,
        choice=MethodChoice(credential.method, f"the connection {credential.connection_id} of the vault"),
        method_problems=(),
        given=login,
        owner=f"{credential.user_id}\0{credential.connection_id}",
    )


def check_gateway(settings: Settings, address: str) -> None:
    """ConfigError (E-GW-REMOTE) unless an operator has named this gateway for users (TM-01). Nothing is resolved."""
    try:
        given = parse_address(address)
    except ValueError as error:
        raise ConfigError(
            f"Invalid request: address: {error}", code="E-VALIDATION", remedy="Correct the address."
        ) from None
    known = {parse_address(each).base for each in settings.gateway.for_users or ()}
    if given.base not in known:
        raise ConfigError(
            "Gateway refused: its address is not one that the operator of this service has named",
            code="E-GW-REMOTE",
            remedy="Use one of the addresses in IBKR_GATEWAYS_FOR_USERS, or ask an administrator to add it there.",
        )


@discreet
def fields_of(settings: Settings) -> dict[str, Secret[str]]:
    """The settings' own credentials as fields of the vault; key files are read. E-NOT-CONFIGURED, E-KEY-…."""
    login = settings.credentials()
    fields: dict[str, Secret[str] | None]
    match login:
        case GatewayLogin():
            fields = {"address": Secret(settings.gateway_address.base), "username": _secret(login.username)}
        case OAuth1Credentials():
            fields = {
                "consumer_key": Secret(login.consumer_key),
                "access_token": _secret(login.access_token),
                "access_token_secret": login.access_token_secret,
                "signature_key": login.signature_key,
                "encryption_key": login.encryption_key,
                "key_passphrase": login.key_passphrase,
                "dh_params": Secret(login.dh_params),
                "realm": Secret(login.realm),
                "username": _secret(login.username),
            }
        case OAuth2Credentials():
            fields = {
                "client_id": Secret(login.client_id),
                "client_key_id": Secret(login.client_key_id),
                "private_key": login.private_key,
                "key_passphrase": login.key_passphrase,
                "credential": Secret(login.credential),
                "allowed_ip": _secret(login.ip),
                "scope": Secret(login.scope),
            }
        case _ as unreachable:
            assert_never(unreachable)
    fields["account_id"] = _secret(settings.account_id)
    return {name: value for name, value in fields.items() if value}


def _secret(value: str | None) -> Secret[str] | None:
    return Secret(value) if value else None
