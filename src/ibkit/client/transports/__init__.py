"""Two ways to carry a request, and the choice between them by whom we have to trust.

    api.ibkr.com and kin   the system's authorities, always; nothing can switch that off
    loopback, own CA       that authority alone (the simulator)
    loopback gateway       its certificate, pinned on first use (AUTH-17): aiohttp compares it on every connection
    any other host         an authority or a fingerprint has to be given

Source: docs/facts/auth-and-sessions.md §3.1; requirements AUTH-17, D-35.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from ibkit.client.transport import Transport
from ibkit.client.transports.pins import PinFile, fingerprint_of
from ibkit.errors import ConfigError
from ibkit.wire.codec import BODY_LIMIT

__all__ = ["PinFile", "fingerprint_of", "is_ibkr_host", "is_loopback", "open_transport"]

_IBKR = ("ibkr.com", "interactivebrokers.com")


def is_ibkr_host(host: str) -> bool:
    """`api.ibkr.com`, `1.api.ibkr.com`, `qa.interactivebrokers.com` …"""
    name = host.lower().rstrip(".")
    return any(name == root or name.endswith(f".{root}") for root in _IBKR)


def is_loopback(host: str) -> bool:
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def open_transport(
    base_url: str,
    *,
    ca: bytes | None = None,
    fingerprint: str | None = None,
    pins: PinFile | None = None,
    pool_size: int = 10,
    body_limit: int = BODY_LIMIT,
    kind: str = "auto",
) -> Transport:
    """A transport for one address; nothing is opened before the first request.

    ca:          PEM of the only authority to trust.
    fingerprint: SHA-256 of the server's certificate, hex, with or without colons.
    pins:        remembers a loopback gateway's certificate at its first use.
    body_limit:  bytes of an answer; a longer one is cut off.
    kind:        "auto", "pyreqwest" or "aiohttp"; a pinned certificate needs aiohttp.

    Raises ConfigError: E-CONFIG, or E-GW-REMOTE for a host that nothing was given to trust by.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme != "https" or not host:
        raise ConfigError(f"not an https address: {parts.scheme}://{parts.netloc}", code="E-GW-TLS")
    if is_ibkr_host(host) and (ca or fingerprint or pins):
        raise ConfigError(f"{host} is verified by the system's authorities; no other may be set", code="E-CONFIG")
    if not is_ibkr_host(host) and not (ca or fingerprint or (pins and is_loopback(host))):
        raise ConfigError(f"no certificate authority or fingerprint for {host}", code="E-GW-REMOTE")
    if (ca is None and not is_ibkr_host(host)) or kind == "aiohttp":
        from ibkit.client.transports.aiohttp import AiohttpTransport

        return AiohttpTransport(
            base_url, ca=ca, fingerprint=fingerprint, pins=pins, pool_size=pool_size, body_limit=body_limit
        )
    from ibkit.client.transports.pyreqwest import PyreqwestTransport

    return PyreqwestTransport(ca=ca, pool_size=pool_size, body_limit=body_limit, direct=is_loopback(host))
