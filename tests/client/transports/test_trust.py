"""Whom a transport trusts: the system for IBKR, a given authority, or a certificate pinned at first use."""

from __future__ import annotations

import anyio
import pytest
import trustme

from ibkit.client.transports import PinFile, open_transport
from ibkit.client.transports.aiohttp import AiohttpTransport
from ibkit.client.transports.pyreqwest import PyreqwestTransport
from ibkit.errors import ConfigError, Unreachable
from ibkit.wire.http import Request


@pytest.mark.requirement("AUTH-17")
def test_a_gateway_certificate_is_pinned_at_first_use_and_a_change_is_refused(serving, tmp_path) -> None:
    pins = PinFile(tmp_path / "state" / "pins")

    async def first() -> int:
        async with serving(trustme.CA()) as server:
            transport = open_transport(server.url, pins=pins)
            assert (await transport.send(Request("GET", server.url + "/fine"), timeout_s=5)).status == 200
            await transport.aclose()
            return server.port

    async def later(port: int) -> None:
        async with serving(trustme.CA()) as server:
            # The same place with another certificate: what a swap looks like to us.
            known = pins.get(f"localhost:{port}")
            assert known is not None
            pins.put(f"localhost:{server.port}", known)
            transport = open_transport(server.url, pins=pins)
            with pytest.raises(Unreachable) as caught:
                await transport.send(Request("POST", server.url + "/orders", {}, b"{}"), timeout_s=5)
            await transport.aclose()
            assert caught.value.details["cause"] == "tls"
            assert not server.copies

    anyio.run(later, anyio.run(first))
    assert pins.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.requirement("AUTH-17")
@pytest.mark.parametrize("host", ["api.ibkr.com", "1.api.ibkr.com", "qa.interactivebrokers.com", "API.IBKR.COM."])
@pytest.mark.parametrize("setting", [{"ca": b"x"}, {"fingerprint": "00" * 32}, {"pins": None, "ca": b""}])
def test_nothing_switches_verification_off_for_ibkr_hosts(host, setting) -> None:
    if any(setting.values()):
        with pytest.raises(ConfigError):
            open_transport(f"https://{host}", **setting)
    transport = open_transport(f"https://{host}")
    assert isinstance(transport, PyreqwestTransport)
    assert transport._ca is None


@pytest.mark.requirement("AUTH-17")
@pytest.mark.parametrize("url", ["https://192.168.1.5:5000", "https://gateway.example", "https://localhost:5000"])
def test_a_host_without_anything_to_trust_it_by_is_refused(url) -> None:
    with pytest.raises(ConfigError) as caught:
        open_transport(url)
    assert caught.value.code == "E-GW-REMOTE"


def test_plain_http_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        open_transport("http://localhost:5000", ca=b"x")
    assert caught.value.code == "E-GW-TLS"


def test_a_pin_needs_the_transport_that_can_check_it() -> None:
    assert isinstance(open_transport("https://localhost:5000", fingerprint="ab" * 32), AiohttpTransport)
    with pytest.raises(ConfigError):
        open_transport("https://localhost:5000", fingerprint="ab:cd")
