"""Addresses of the broker: with or without /v1/api, of whom we may send what to, and the database's."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

__all__ = ["Address", "is_ibkr", "is_loopback", "is_private", "parse_address", "postgres_url"]

_API = "/v1/api"
_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that a resolver takes for an IPv4 address, in whatever spelling."""
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
"""Networks of one's own: RFC 1918 and RFC 4193. Not link-local ones, where clouds tell their machines secrets."""
_METADATA = ipaddress.ip_address("fd00:ec2::254")


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
    """An API address, given with or without /v1/api and a slash at the end. ValueError says what is wrong.

    A host has one spelling: what a resolver would read otherwise than a person (numbers in hex, octal or short, other
    alphabets, a dot at the end, a zone) is refused. reliability rules TM-01, §6.6.
    """
    text = value.strip()
    if not text.isascii() or any(each <= " " or each in '\\"<>^`{|}\x7f' for each in text):
        raise ValueError("an address has only letters, digits and the marks of an address")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # Its text would quote what stands where the port should be: a piece of a password, perhaps.
        raise ValueError("use an address like https://localhost:5000, with a port from 1 to 65535") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("use an address like https://localhost:5000")
    if "@" in parts.netloc:
        raise ValueError("an address carries no user name or password")
    if parts.query or parts.fragment:
        raise ValueError("an address ends with its path: no ? and no #")
    if port == 0:
        raise ValueError("use a port from 1 to 65535")
    if not _has_one_spelling(parts.hostname, bracketed="[" in parts.netloc):
        raise ValueError("its host is no name and no address in the usual spelling")
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


def is_private(host: str) -> bool:
    """An address of a network of one's own, or a name, which says nothing before it is resolved."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return True
    return found != _METADATA and any(found in network for network in _PRIVATE)


def _has_one_spelling(host: str, *, bracketed: bool) -> bool:
    if bracketed or _NUMERIC.fullmatch(host.rsplit(".", 1)[-1]):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return "%" not in host
    return _NAME.fullmatch(host) is not None


def postgres_url(*, host: str, port: int, name: str, user: str, password: str) -> str:
    where = f"[{host}]" if ":" in host else host
    return (
        f"postgresql+psycopg://{quote(user, safe='')}:{quote(password, safe='')}@{where}:{port}/{quote(name, safe='')}"
    )
