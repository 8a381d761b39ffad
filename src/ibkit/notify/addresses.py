"""Which addresses we send to: a channel's address must not be a way into our own network.

    scheme    https; http only to this machine, in development
    host      a name, or an address in its one usual spelling; no user, no spaces, no encoded or shortened numbers
    resolved  every address of the name must be public: no private, shared, link-local, loopback, multicast, reserved
              one, no cloud's metadata service, also not inside an IPv6 address

What was checked is what is connected to (`Guard.resolve` feeds the connector), so that a name which answers
differently the second time gains nothing. Redirects are not followed. Source: reliability.md TM-01, TM-45.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import anyio

from ibkit.notify.failed import DeliveryFailed

__all__ = ["Guard", "Resolve", "Target", "resolve_by_system"]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to addresses as text. OSError where the name is not known."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_OUR_NAMES: Final = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "localdomain")
"""Last labels of names that mean something inside a network only."""
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
"""Where clouds tell their machines secrets; one of them is a public address."""
_HIDES_V4: Final = tuple(
    ipaddress.ip_network(text) for text in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")
)
"""IPv6 that carries an IPv4 address in its last 32 bits."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an address was found to be. here: this machine, over a connection that nobody else sees."""

    scheme: str
    host: str
    port: int
    here: bool


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


@dataclass(frozen=True, slots=True)
class Guard:
    """development: http and loopback are allowed for this machine's own names."""

    development: bool = False
    resolve_name: Resolve = resolve_by_system

    def check(self, url: str) -> Target:
        """Before any look-up. DeliveryFailed (final) tells what is wrong, and not what the address is."""
        if not url.isascii() or any(ord(each) <= 0x20 or ord(each) == 0x7F or each in '\\"<>^`{|}' for each in url):
            raise _refused("it has characters that an address must not have")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _refused("it is no address") from None
        if parts.scheme not in ("https", "http"):
            raise _refused("use an address that begins with https://")
        if parts.username is not None or parts.password is not None or "@" in parts.netloc:
            raise _refused("it has a user name before the host")
        here = self._check_host(host, bracketed="[" in parts.netloc)
        if parts.scheme == "http" and not here:
            raise _refused("use https")
        if port == 0:
            raise _refused("port 0 is none")
        return Target(parts.scheme, host.rstrip("."), port or (443 if parts.scheme == "https" else 80), here)

    def check_host(self, host: str) -> bool:
        """As `check` for a host alone; whether it is this machine."""
        return self._check_host(host.lower(), bracketed=":" in host)

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses that may be connected to. DeliveryFailed where one of them may not, or there are none."""
        here = self._check_host(host, bracketed=":" in host)
        try:
            found = tuple(dict.fromkeys(await self.resolve_name(host.rstrip("."), port)))
        except (OSError, UnicodeError):
            raise DeliveryFailed("its host is not found") from None
        if not found:
            raise DeliveryFailed("its host has no address")
        for text in found:
            self._check_address(_parsed(text.split("%")[0]), here=here)
        return found

    def _check_host(self, host: str, *, bracketed: bool) -> bool:
        if not host:
            raise _refused("it names no host")
        if bracketed:
            address = _parsed(host)
            here = self.development and address.is_loopback and address == ipaddress.ip_address("::1")
            self._check_address(address, here=here)
            return here
        name = host.rstrip(".")
        if host.count(".") - name.count(".") > 1 or not _HOST.fullmatch(name):
            raise _refused("its host is not a name or an address")
        last = name.rsplit(".", 1)[-1]
        if re.fullmatch(r"\d+|0x[0-9a-f]*", last):  # a browser and a resolver take this for IPv4, in whatever spelling
            numbers = _parsed(name)  # refuses 127.1, 0x7f000001, 0177.0.0.1, 2130706433
            here = self.development and numbers == ipaddress.ip_address("127.0.0.1")
            self._check_address(numbers, here=here)
            return here
        if name == "localhost" and self.development:
            return True
        if last in _OUR_NAMES or "." not in name:
            raise _refused("its host is a name inside a network")
        return False

    def _check_address(self, address: _Address, *, here: bool) -> None:
        if here and address.is_loopback:
            return
        for each in (address, *_within(address)):
            if each in _METADATA or not each.is_global or each.is_multicast or each.is_reserved or each.is_unspecified:
                raise _refused("its host is inside a network, not a public one")


def _parsed(text: str) -> _Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise _refused("its host is no address in the usual spelling") from None


def _within(address: _Address) -> tuple[_Address, ...]:
    """IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found: list[_Address] = [each for each in (address.ipv4_mapped, address.sixtofour) if each is not None]
    found += address.teredo or ()
    if any(address in network for network in _HIDES_V4):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(found)


def _refused(why: str) -> DeliveryFailed:
    return DeliveryFailed(f"the channel's address is refused: {why}", final=True)
