"""Whose certificates are believed, by where the calls go (AUTH-17, D-35)."""

from __future__ import annotations

import re
from pathlib import Path

from ibkit.client.transport import Transport
from ibkit.client.transports import PinFile, open_transport
from ibkit.errors import ConfigError
from ibkit.model import AuthMethod, Credentials
from ibkit.settings import Address, Settings
from ibkit.settings.addresses import is_loopback, parse_address

__all__ = ["authority", "default_address", "explicit_transport", "pins_of", "transport_for"]

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}", re.ASCII)
_CLOUD = "https://api.ibkr.com"
_GATEWAY = "https://localhost:5000"


def transport_for(settings: Settings) -> Transport:
    """The system's authorities for IBKR; a named one for a simulator; for the gateway its own, or a pinned certificate.

    Raises ConfigError for a certificate file that is not there, E-GW-TLS for a gateway address without TLS.
    """
    pool = settings.runtime.pool_size
    if settings.method is not AuthMethod.GATEWAY:
        ca = settings.oauth2.base_ca
        return open_transport(
            settings.cloud_address.base, ca=authority("IBKR_BASE_CA", ca) if ca else None, pool_size=pool
        )
    address, given = settings.gateway_address, settings.gateway.ca
    if given is not None and _FINGERPRINT.fullmatch(given):
        return open_transport(address.base, fingerprint=given, pool_size=pool)
    if given is not None:
        return open_transport(address.base, ca=authority("IBKR_GATEWAY_CA", Path(given).expanduser()), pool_size=pool)
    return open_transport(address.base, pins=pins_of(settings), pool_size=pool)


def pins_of(settings: Settings) -> PinFile:
    """The certificates of gateways on this machine, as they were when first seen."""
    return PinFile(settings.state_dir / "gateway-pins")


def default_address(credentials: Credentials, base_url: str | None) -> Address:
    """Where credentials given by hand go, unless the caller says."""
    standard = _GATEWAY if credentials.method is AuthMethod.GATEWAY else _CLOUD
    try:
        return parse_address(base_url or standard)
    except ValueError as error:
        raise ConfigError(f"Setting invalid: base_url: {error}") from None


def explicit_transport(address: Address, ca: Path | None) -> Transport:
    """Without an authority, a gateway on this machine is pinned in the default state directory."""
    if ca is not None:
        return open_transport(address.base, ca=authority("ca", ca))
    if is_loopback(address.host):
        return open_transport(address.base, pins=PinFile(Path.home() / ".local/state/ibkit/gateway-pins"))
    return open_transport(address.base)


def authority(name: str, file: Path) -> bytes:
    """The certificate that a setting names. ConfigError."""
    try:
        pem = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"Setting invalid: {name}: {file}: {error.strerror or 'cannot be read'}",
            remedy=f"Point {name} at the certificate file, or remove it.",
        ) from error
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise ConfigError(f"Setting invalid: {name}: {file} holds no PEM certificate", remedy=f"Correct {name}.")
    return pem
