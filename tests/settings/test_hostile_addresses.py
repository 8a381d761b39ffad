"""No setting that holds an address sends a login to a stranger: what attackers write, against each of them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from ibkit.errors import ConfigError
from ibkit.settings import Settings, load
from notify.test_addresses import REFUSED

pytestmark = pytest.mark.requirement("SEC-04", "AUTH-03")

HERE = {"localhost", "127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "app.localhost"}
"""This machine: where a gateway stands."""
OURS = {"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.1", "192.168.0.1", "fc00::1", "fd00::1"}
"""A private network: where a gateway may stand by permission and with its certificate."""
REMOTE = {"IBKR_GATEWAY_ALLOW_REMOTE": "yes", "IBKR_GATEWAY_CA": "a.pem"}
ASKED = [url for url in REFUSED if url.strip()]


def taken(tmp_path: Path, **environ: str) -> Settings | None:
    try:
        return load(environ={"IBKR_ENV": "paper", **environ}, directory=tmp_path)
    except ConfigError:
        return None


def is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def test_there_are_enough_of_them() -> None:
    assert len(set(ASKED)) >= 80


@pytest.mark.parametrize("url", ASKED)
def test_the_cloud_is_at_none_of_them(tmp_path: Path, url: str) -> None:
    assert taken(tmp_path, IBKR_BASE_URL=url, APP_ENV="production") is None
    at_home = taken(tmp_path, IBKR_BASE_URL=url, APP_ENV="development")
    assert at_home is None or at_home.cloud_address.host in HERE


@pytest.mark.parametrize("url", ASKED)
def test_a_gateway_is_here_or_by_permission_in_a_private_network_under_one_spelling(tmp_path: Path, url: str) -> None:
    found = taken(tmp_path, IBKR_API_ENDPOINT=url)
    assert found is None or found.gateway_address.host in HERE
    found = taken(tmp_path, IBKR_API_ENDPOINT=url, **REMOTE)
    if found is not None and found.gateway_address.host not in HERE:
        host = found.gateway_address.host
        assert found.gateway_address.scheme == "https"
        if is_literal(host):
            assert host in OURS
        # A name says nothing before it is resolved; behind it a certificate of the owner's authority is asked for.
        assert host.isascii()
        assert not host.endswith(".")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "[fd00:ec2::254]", "[fe80::1]", "[fe80::1%25eth0]", "100.64.0.1", "0.0.0.0", "[::]",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "8.8.8.8", "[2606:2800:220:1::1]", "[::ffff:169.254.169.254]",
        "[::ffff:10.0.0.1]", "[64:ff9b::10.0.0.1]", "2852039166",
        "0xa9fea9fe", "0251.0376.0251.0376", "10.1", "10.0.0.1.",
        "gateway.lan.", "\u2460\u2461\u2466.0.0.1", "me@10.0.0.1", "10.0.0.1\\@localhost", "10.0.0.1%00.localhost",
    ],
)  # fmt: skip
def test_no_permission_opens_these(tmp_path: Path, host: str) -> None:
    assert taken(tmp_path, IBKR_API_ENDPOINT=f"https://{host}:5000", **REMOTE) is None


@pytest.mark.requirement("AUTH-17")
def test_the_example_of_the_requirement(tmp_path: Path) -> None:
    """https://10.8.0.1:5000 needs the permission; 8.8.8.8 is refused with it."""
    assert taken(tmp_path, IBKR_API_ENDPOINT="https://10.8.0.1:5000") is None
    assert taken(tmp_path, IBKR_API_ENDPOINT="https://10.8.0.1:5000", **REMOTE) is not None
    assert taken(tmp_path, IBKR_API_ENDPOINT="https://8.8.8.8:5000", **REMOTE) is None
    assert taken(tmp_path, IBKR_API_ENDPOINT="http://10.8.0.1:5000", **REMOTE) is None
