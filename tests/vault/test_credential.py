"""What is kept of a sign-in: its form, its masks, and what no field is for."""

from __future__ import annotations

import dataclasses
import re

import pytest

from canaries import laid_bare
from ibkit.errors import ConfigError, InvalidRequest
from ibkit.model import AuthMethod, Environment, GatewayLogin, OAuth1Credentials, OAuth2Credentials, Secret
from ibkit.store.vault_tables import CREDENTIALS, KEYS, SEALED
from ibkit.vault import FIELDS, Draft, OpenCredential
from ibkit.vault.credential import Kind, shown
from ibkit.vault.fixed_iv import is_fixed_iv, iv_from_hex
from vaults import PEM, VALUES, draft

OAUTH2 = {
    "client_id": "CLIENT77",
    "client_key_id": "main",
    "private_key": PEM.format("own"),
    "credential": "tradername",
    "allowed_ip": "203.0.113.7",
}
FORBIDDEN = re.compile(r"password|passwd|2fa|otp|factor|\bpin\b|pin_", re.IGNORECASE)


def made(method: AuthMethod, fields: dict[str, str], **changed: str) -> Draft:
    given = {"user_id": "u1", "connection_id": "main", "environment": Environment.PAPER, **changed}
    return Draft(method=method, fields={name: Secret(value) for name, value in fields.items()}, **given)


def opened(method: AuthMethod, fields: dict[str, str]) -> OpenCredential:
    return OpenCredential(
        credential_id="1",
        user_id="u1",
        connection_id="main",
        method=method,
        environment=Environment.PAPER,
        version=1,
        fields={name: Secret(value) for name, value in fields.items()},
    )


def refused(code: str, method: AuthMethod, fields: dict[str, str], **changed: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        made(method, fields, **changed)
    assert caught.value.code == code
    return caught.value


@pytest.mark.requirement("VLT-11")
def test_no_column_and_no_field_is_for_a_password_of_ibkr_or_a_code() -> None:
    columns = {column.name for table in (CREDENTIALS, SEALED, KEYS) for column in table.columns}
    fields = {name for method in FIELDS.values() for name in method}
    assert {name for name in columns | fields if FORBIDDEN.search(name)} == set()
    assert len(columns | fields) > 30
    # What opens a key file is no password of IBKR; beside it there is nothing of the kind.
    assert {name for name in columns | fields if "pass" in name} == {"key_passphrase"}
    gateway = {name for name, field in FIELDS[AuthMethod.GATEWAY].items() if field.kind is not Kind.PLAIN}
    assert gateway == {"username"}
    assert [field.name for field in dataclasses.fields(GatewayLogin)] == ["username", "method"]


@pytest.mark.requirement("VLT-11")
@pytest.mark.parametrize("method", list(AuthMethod))
@pytest.mark.parametrize(
    "name", ["password", "Password", "ibkr_passwd", "totp_secret", "two-factor code", "2FA", "pin"]
)
def test_a_password_is_refused_by_every_method(method: AuthMethod, name: str) -> None:
    error = refused("E-VALIDATION", method, {name: "hunter2canary"})
    assert error.http_status == 422
    assert "never stored" in error.message
    assert "hunter2canary" not in laid_bare(error)


@pytest.mark.requirement("VLT-07")
@pytest.mark.parametrize(("method", "fields"), [(AuthMethod.OAUTH2, OAUTH2), (AuthMethod.OAUTH1A, VALUES)])
def test_missing_fields_are_named_all_at_once(method: AuthMethod, fields: dict[str, str]) -> None:
    error = refused("E-VALIDATION", method, {"account_id": "DU1234567"})
    required = [name for name, field in FIELDS[method].items() if field.required]
    assert error.details["missing"] == required
    assert all(name in error.message for name in required)
    empty = refused("E-VALIDATION", method, {**fields, required[0]: ""})
    assert empty.details["missing"] == [required[0]]
    made(method, fields)


@pytest.mark.requirement("VLT-07")
@pytest.mark.parametrize("value", ["no key canary", "-----BEGIN PUBLIC KEY-----\ncanary", "ssh-rsa AAAAcanary"])
def test_a_private_key_that_is_no_pem_is_refused_and_not_quoted(value: str) -> None:
    error = refused("E-KEY-FORMAT", AuthMethod.OAUTH2, {**OAUTH2, "private_key": value})
    assert "private_key" in error.message
    assert "canary" not in laid_bare(error)


@pytest.mark.parametrize("start", ["PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
def test_every_form_of_a_private_key_is_taken(start: str) -> None:
    made(AuthMethod.OAUTH2, {**OAUTH2, "private_key": f"-----BEGIN {start}-----\nMII\n-----END {start}-----"})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"connection_id": ""}, "connection_id"),
        ({"connection_id": "a/b"}, "connection_id"),
        ({"connection_id": "../x"}, "connection_id"),
        ({"connection_id": "x" * 65}, "connection_id"),
        ({"user_id": "u 1"}, "user_id"),
        ({"label": "x" * 201}, "label"),
    ],
)
def test_a_name_that_is_none_is_refused(changed: dict[str, str], named: str) -> None:
    assert refused("E-VALIDATION", AuthMethod.OAUTH2, OAUTH2, **changed).details == {"field": named}


@pytest.mark.parametrize("value", ["x" * (64 * 1024 + 1), "a\0b"])
def test_a_field_without_measure_is_refused(value: str) -> None:
    assert refused("E-VALIDATION", AuthMethod.OAUTH2, {**OAUTH2, "scope": value}).details == {"field": "scope"}


@pytest.mark.requirement("VLT-07")
@pytest.mark.parametrize(
    ("name", "value"),
    [("ca", "/etc/ssl/private/other.pem"), ("ca", "ab" * 31), ("account_id", "../DU1"), ("account_id", "DU 1")],
)
def test_of_a_gateway_only_a_fingerprint_is_taken_and_no_path_of_a_file(name: str, value: str) -> None:
    given = {"address": "https://localhost:5000"}
    assert refused("E-VALIDATION", AuthMethod.GATEWAY, {**given, name: value}).details == {"field": name}
    made(AuthMethod.GATEWAY, {**given, "ca": "AB:" * 31 + "CD", "account_id": "DU1234567"})


def test_an_unknown_field_is_refused_with_those_there_are() -> None:
    error = refused("E-VALIDATION", AuthMethod.OAUTH2, {**OAUTH2, "clientId": "x"})
    assert "client_id, client_key_id" in error.message


@pytest.mark.requirement("VLT-07", "VLT-15")
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("client_id", "CLIENT77", "CLIE****"),
        ("client_id", "C7", "****"),
        ("private_key", PEM, "****"),
        ("key_passphrase", "short", "****"),
        ("key_passphrase", "a long passphrase", "a lo****"),
        ("allowed_ip", "203.0.113.7", "203.0.113.7"),
        ("left_from_an_older_release", "something", "****"),
    ],
)
def test_a_field_is_shown_by_its_kind(name: str, value: str, expected: str) -> None:
    assert shown(AuthMethod.OAUTH2, name, Secret(value)) == expected


@pytest.mark.requirement("VLT-15")
def test_a_draft_and_open_credentials_show_no_secret() -> None:
    said = repr((draft(), opened(AuthMethod.OAUTH1A, VALUES)))
    assert [name for name, value in VALUES.items() if value in said or "canary" in said] == []


def test_open_credentials_are_what_the_client_signs_in_with() -> None:
    one = opened(AuthMethod.OAUTH1A, {**VALUES, "account_id": "DU1234567"})
    login = one.login()
    assert isinstance(login, OAuth1Credentials)
    assert login.access_token_secret == Secret(VALUES["access_token_secret"])
    assert (login.realm, login.username, one.account_id) == ("limited_poa", None, "DU1234567")
    two = opened(AuthMethod.OAUTH2, OAUTH2).login()
    assert isinstance(two, OAuth2Credentials)
    assert (two.client_id, two.credential, two.ip, two.scope) == (
        "CLIENT77",
        "tradername",
        "203.0.113.7",
        "sso-sessions.write",
    )
    gateway = opened(AuthMethod.GATEWAY, {"address": "https://localhost:5000", "username": "me"})
    assert (gateway.login(), gateway.address) == (GatewayLogin(username="me"), "https://localhost:5000")
    with pytest.raises(ConfigError, match="private_key") as caught:
        opened(AuthMethod.OAUTH2, {"client_id": "x", "client_key_id": "x"}).login()
    assert caught.value.code == "E-CONFIG-PARTIAL"


@pytest.mark.requirement("VLT-03")
def test_the_old_format_is_known_by_its_form_and_its_iv_is_checked() -> None:
    assert is_fixed_iv("00ff:" + "0a" * 16)
    assert is_fixed_iv(":" + "0a" * 16)
    for text in ("", "0:" + "0a" * 16, "zz:" + "0a" * 16, "00:" + "0a" * 15, "v1.a.b.c.d", "00ff:" + "0a" * 16 + "\n"):
        assert not is_fixed_iv(text)
    assert iv_from_hex(Secret("0a" * 12)).reveal() == b"\n" * 12
    for text in ("", "0a" * 11, "zz" * 12):
        with pytest.raises(ConfigError) as caught:
            iv_from_hex(Secret(text))
        assert caught.value.code == "E-ENC-KEY"
