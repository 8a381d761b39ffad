"""Addresses of the broker: with or without /v1/api, of whom we may send what to, and the database's."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

__all__ = ["Address", "is_ibkr", "is_loopback", "is_public", "parse_address", "postgres_url"]

_API = "/v1/api"


@dataclass(frozen=True, slots=True)
class Address:
    """base: scheme, host and port, and any path before /v1/api; no slash at the end (D-14)."""

    base: str
    scheme: str
    host: str
    port: int

    @property
    def api(self) -> str:
        return self.base + _API


def parse_address(value: str) -> Address:
    """An API address, given with or without /v1/api and a slash at the end. ValueError says what is wrong."""
    try:
        parts = urlsplit(value.strip())
        port = parts.port
    except ValueError:
        # Its text would quote what stands where the port should be: a piece of a password, perhaps.
        raise ValueError("use an address like https://localhost:5000, with a port from 1 to 65535") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("use an address like https://localhost:5000")
    if parts.username or parts.password:
        raise ValueError("an address carries no user name or password")
    if parts.query or parts.fragment:
        raise ValueError("an address ends with its path: no ? and no #")
    if port == 0:
        raise ValueError("use a port from 1 to 65535")
    path = parts.path.rstrip("/")
    if path == "/v1" or path.endswith(_API):
        path = path.removesuffix(_API) if path.endswith(_API) else ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(
        base=f"{parts.scheme}://{host}" + (f":{port}" if port else "") + path,
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "https" else 80),
    )


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_ibkr(host: str) -> bool:
    """A host of IBKR's own domains; `api.ibkr.com.example.org` is not one."""
    name = host.lower().rstrip(".")
    return any(name == domain or name.endswith("." + domain) for domain in ("ibkr.com", "interactivebrokers.com"))


def is_public(host: str) -> bool:
    """An address literal of the open internet. A name says nothing before it is resolved."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def postgres_url(*, host: str, port: int, name: str, user: str, password: str) -> str:
    where = f"[{host}]" if ":" in host else host
    return (
        f"postgresql+psycopg://{quote(user, safe='')}:{quote(password, safe='')}@{where}:{port}/{quote(name, safe='')}"
    )
