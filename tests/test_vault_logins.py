"""Credentials of the vault as the settings of a connection: nothing of the installation's own login is left in them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap.clients import token_cache_of
from ibkit.bootstrap.tls import transport_for
from ibkit.bootstrap.vault_logins import check_gateway, fields_of, settings_for
from ibkit.errors import ConfigError
from ibkit.model import AuthMethod, Environment, GatewayLogin, OAuth1Credentials, OAuth2Credentials, Secret
from ibkit.settings import Settings, load
from ibkit.vault import OpenCredential
from simulators import KEYS
from vaults import OLD, VALUES

FOLDER = KEYS / "simpaper1"
OWN = {
    "IBKR_CLIENT_ID": "OWNCLIENT",
    "IBKR_CLIENT_KEY_ID": "ownkey",
    "IBKR_PRIVATE_KEY": (FOLDER / "private_oauth2.pem").read_text(),
    "IBKR_CREDENTIAL": "ownuser",
    "IBKR_ALLOWED_IP": "198.51.100.1",
    "IBKR_ACCOUNT_ID": "DU7654321",
    "ENCRYPTION_KEY": OLD,
}
CLIENT = {
    "client_id": "CLIENT77",
    "client_key_id": "main",
    "private_key": "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n",
    "credential": "trader",
    "allowed_ip": "203.0.113.7",
}


def settings(folder: Path, **given: str) -> Settings:
    environ = {**OWN, "IBKIT_STATE_DIR": str(folder), "HOME": str(folder), **given}
    return load(environ=environ, directory=folder)


def opened(method: AuthMethod, fields: dict[str, str], **changed: Any) -> OpenCredential:
    return OpenCredential(
        credential_id="1",
        user_id=changed.get("user_id", "u1"),
        connection_id=changed.get("connection_id", "main"),
        method=method,
        environment=changed.get("environment", Environment.PAPER),
        version=1,
        fields={name: Secret(value) for name, value in fields.items()},
    )


def own_values(found: Settings) -> list[str]:
    """Which of the installation's own credentials can still be found in these settings."""
    said = repr([getattr(found, each.name) for each in dataclasses.fields(found) if each.name != "sources"])
    return [name for name, value in OWN.items() if value in said and name != "ENCRYPTION_KEY"]


@pytest.mark.requirement("VLT-09", "AUTH-01", "CFG-05")
def test_a_connection_of_the_vault_has_its_own_method_environment_and_account(tmp_path: Path) -> None:
    base = settings(tmp_path)
    assert len(own_values(base)) > 3
    found = settings_for(base, opened(AuthMethod.OAUTH1A, VALUES, environment=Environment.LIVE))
    assert (found.method, found.environment, found.account_id) == (AuthMethod.OAUTH1A, Environment.LIVE, None)
    login = found.credentials()
    assert isinstance(login, OAuth1Credentials)
    assert login.consumer_key == VALUES["consumer_key"]
    assert own_values(found) == []
    two = settings_for(base, opened(AuthMethod.OAUTH2, {**CLIENT, "account_id": "DU1112223"}))
    assert isinstance(two.credentials(), OAuth2Credentials)
    assert (two.method, two.account_id, two.environment) == (AuthMethod.OAUTH2, "DU1112223", Environment.PAPER)
    assert own_values(two) == []
    assert two.cloud_address == base.cloud_address


@pytest.mark.requirement("VLT-09")
def test_what_one_has_signed_in_to_is_not_found_by_another_with_the_same_names(tmp_path: Path) -> None:
    """Consumer key and access token are no secrets: a user who knows another's must not get at their session."""
    base = settings(tmp_path)

    def place(**whose: str) -> str:
        found = settings_for(base, opened(AuthMethod.OAUTH1A, VALUES, **whose))
        cache = token_cache_of(found, found.credentials())
        assert cache is not None
        return str(cache.path("grant"))

    assert place() == place()
    assert len({place(), place(user_id="u2"), place(connection_id="other")}) == 3


@pytest.mark.requirement("SEC-04", "VLT-09")
def test_users_name_only_gateways_that_the_operator_has_named(tmp_path: Path) -> None:
    base = settings(tmp_path, IBKR_GATEWAYS_FOR_USERS="https://localhost:5005, https://127.0.0.1:5006/v1/api")
    for address in ("https://localhost:5005", "https://localhost:5005/v1/api/", "https://127.0.0.1:5006"):
        found = settings_for(base, opened(AuthMethod.GATEWAY, {"address": address, "username": "anna"}))
        assert found.gateway_address.base == address.removesuffix("/v1/api/")
        assert found.credentials() == GatewayLogin(username="anna")
        transport_for(found)
    refused = [
        "https://localhost:5000",
        "http://localhost:5005",
        "https://127.0.0.1:5005",
        "https://localhost:5006",
        "https://LOCALHOST:5005.example.org",
        "https://localhost:5005@example.org",
        "https://169.254.169.254:5005",
        "https://[::ffff:127.0.0.1]:5006",
        "https://10.0.0.1:5005",
        "file:///etc/passwd",
        "gopher://localhost:5005",
        "https://localhost:5005#@127.0.0.1",
        "https://localhost:5005/../../x",
    ]
    for address in refused:
        with pytest.raises(ConfigError) as caught:
            check_gateway(base, address)
        assert caught.value.code in ("E-GW-REMOTE", "E-VALIDATION"), address
        with pytest.raises(ConfigError):
            settings_for(base, opened(AuthMethod.GATEWAY, {"address": address}))
    with pytest.raises(ConfigError, match="operator"):
        check_gateway(settings(tmp_path), "https://localhost:5000")


@pytest.mark.requirement("SEC-04", "CFG-03")
@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://8.8.8.8:5000", "public address"),
        ("https://10.8.0.1:5000", "Remote gateway refused"),
        ("http://localhost:5000", "use https"),
        ("https://api.ibkr.com", "IBKR's cloud"),
        ("localhost", "use an address"),
    ],
)
def test_the_operator_cannot_name_for_users_what_they_could_not_name_for_themselves(
    tmp_path: Path, address: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        settings(tmp_path, IBKR_GATEWAYS_FOR_USERS=address)
    assert "IBKR_GATEWAYS_FOR_USERS" in str(caught.value.details) + caught.value.message


@pytest.mark.requirement("VLT-13")
def test_the_settings_own_credentials_become_fields_of_the_vault_and_come_back_the_same(tmp_path: Path) -> None:
    base = settings(tmp_path)
    fields = fields_of(base)
    again = settings_for(base, dataclasses.replace(opened(AuthMethod.OAUTH2, {}), fields=fields))
    assert again.credentials() == base.credentials()
    assert again.account_id == base.account_id
