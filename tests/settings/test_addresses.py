"""Addresses: normalised, of IBKR or of this machine, and never of anybody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkit.errors import ConfigError
from ibkit.settings import load
from ibkit.settings.addresses import is_ibkr, is_loopback, parse_address


@pytest.mark.requirement("CFG-10")
@pytest.mark.parametrize(
    "given", ["https://h:5000", "https://h:5000/", "https://h:5000/v1/api", "https://h:5000/v1/api/"]
)
def test_each_way_of_writing_an_address_gives_the_same_api(given: str) -> None:
    assert parse_address(given).api == "https://h:5000/v1/api"


@pytest.mark.requirement("CFG-10")
def test_no_path_segment_is_lost_or_doubled() -> None:
    assert parse_address("https://h/proxy/").api == "https://h/proxy/v1/api"
    assert parse_address("https://h/proxy/v1/api").api == "https://h/proxy/v1/api"
    assert parse_address("https://[::1]:5000/v1/api").api == "https://[::1]:5000/v1/api"


@pytest.mark.requirement("CFG-03")
@pytest.mark.parametrize(
    "given",
    [
        "localhost:5000",
        "https://",
        "ftp://h",
        "https://me:pw@h",
        "https://h/?a=b",
        "https://h/#x",
        "https://h:0",
        "https://h:x",
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError):
        parse_address(given)


def test_whose_host_it_is() -> None:
    assert is_ibkr("api.ibkr.com")
    assert is_ibkr("gdcdyn.interactivebrokers.com")
    assert not is_ibkr("api.ibkr.com.example.org")
    assert not is_ibkr("notibkr.com")
    assert is_loopback("localhost")
    assert is_loopback("127.0.0.9")
    assert is_loopback("::1")
    assert not is_loopback("localhost.example.org")


PUBLIC = {"IBKR_API_ENDPOINT": "https://8.8.8.8:5000"}


def code_of(tmp_path: Path, **environ: str) -> str | None:
    try:
        load(environ={"IBKR_ENV": "paper", **environ}, directory=tmp_path)
    except ConfigError as error:
        return error.code
    return None


@pytest.mark.requirement("AUTH-03")
@pytest.mark.parametrize(
    ("url", "app_env", "code"),
    [
        ("https://api.ibkr.com", "production", None),
        ("https://qa.interactivebrokers.com/v1/api", "production", None),
        ("https://example.org", "production", "E-CONFIG"),
        ("https://example.org", "development", "E-CONFIG"),
        ("https://localhost:5001", "development", None),
        ("https://localhost:5001", "production", "E-CONFIG"),
        ("http://api.ibkr.com", "development", "E-CONFIG"),
        ("https://api.ibkr.com.example.org", "development", "E-CONFIG"),
    ],
)
def test_the_cloud_is_ibkrs_or_a_simulator_here(tmp_path: Path, url: str, app_env: str, code: str | None) -> None:
    assert code_of(tmp_path, IBKR_BASE_URL=url, APP_ENV=app_env) == code


@pytest.mark.requirement("AUTH-03", "AUTH-17")
def test_an_own_authority_is_only_for_a_simulator_here(tmp_path: Path) -> None:
    assert code_of(tmp_path, IBKR_BASE_URL="https://localhost:5001", IBKR_BASE_CA="ca.pem") is None
    assert code_of(tmp_path, IBKR_BASE_CA="ca.pem") == "E-CONFIG"
    local = {"IBKR_BASE_URL": "https://localhost:5001", "IBKR_BASE_CA": "ca.pem"}
    assert code_of(tmp_path, **local, APP_ENV="production") == "E-CONFIG"


@pytest.mark.requirement("CFG-03")
def test_the_gateways_port_is_said_once(tmp_path: Path) -> None:
    both = {"IBKR_API_ENDPOINT": "https://localhost:5002", "IBKR_CLIENT_PORTAL_PORT": "5001"}
    assert code_of(tmp_path, **both) == "E-CONFIG-CONFLICT"
    assert code_of(tmp_path, **{**both, "IBKR_CLIENT_PORTAL_PORT": "5002"}) is None
    settings = load(environ={"IBKR_CLIENT_PORTAL_PORT": "5003"}, directory=tmp_path)
    assert settings.gateway_address.api == "https://localhost:5003/v1/api"


@pytest.mark.requirement("AUTH-17")
@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({}, "E-GW-REMOTE"),
        ({"IBKR_GATEWAY_ALLOW_REMOTE": "yes"}, "E-GW-REMOTE"),
        ({"IBKR_GATEWAY_ALLOW_REMOTE": "yes", "IBKR_GATEWAY_CA": "a.pem"}, None),
        ({"IBKR_GATEWAY_ALLOW_REMOTE": "yes", "IBKR_GATEWAY_CA": "a.pem", **PUBLIC}, "E-GW-REMOTE"),
        ({"IBKR_API_ENDPOINT": "https://api.ibkr.com"}, "E-CONFIG"),
    ],
)  # fmt: skip
def test_a_gateway_elsewhere_needs_permission_and_a_certificate(
    tmp_path: Path, environ: dict[str, str], code: str | None
) -> None:
    assert code_of(tmp_path, **{"IBKR_API_ENDPOINT": "https://10.0.0.5:5000", **environ}) == code


def test_the_clock_of_a_simulator_is_local_and_never_in_production(tmp_path: Path) -> None:
    assert code_of(tmp_path, APP_CLOCK="http://127.0.0.1:9000", APP_ENV="test") is None
    assert code_of(tmp_path, APP_CLOCK="http://10.0.0.5:9000") == "E-CONFIG"
    assert code_of(tmp_path, APP_CLOCK="http://127.0.0.1:9000", APP_ENV="production") == "E-CONFIG"


def test_our_own_server_never_takes_the_gateways_port(tmp_path: Path) -> None:
    assert code_of(tmp_path, PORT="5000") == "E-CONFIG"
    assert code_of(tmp_path, PORT="5007", IBKR_CLIENT_PORTAL_PORT="5007") == "E-CONFIG-CONFLICT"
