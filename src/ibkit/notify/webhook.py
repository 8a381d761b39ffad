"""One message as signed JSON to an address of the user's: one POST, no redirect, to a host that was looked at."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from ibkit.clock import Clock
from ibkit.errors import frameless
from ibkit.model import Secret
from ibkit.notify.addresses import Guard
from ibkit.notify.failed import DeliveryFailed
from ibkit.notify.signature import headers_of

if TYPE_CHECKING:
    import aiohttp

__all__ = ["TIMEOUT_S", "Webhook"]

TIMEOUT_S: Final = 10.0
_FINAL: Final = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""The receiver will say the same again."""


class Webhook:
    """guard: which hosts may be reached. Each delivery is a connection of its own: alerts are rare."""

    def __init__(self, guard: Guard, clock: Clock) -> None:
        self._guard = guard
        self._clock = clock

    async def deliver(self, url: Secret[str], secret: Secret[str] | None, document: Mapping[str, Any]) -> str:
        """What the receiver said, for the record. DeliveryFailed."""
        target = self._guard.check(url.reveal())
        await self._guard.resolve(target.host, target.port)
        body = msgspec.json.encode(dict(document))
        headers = {"Content-Type": "application/json", "User-Agent": "ibkit"}
        if secret is not None:
            headers |= headers_of(str(document["id"]), body, secret, self._clock.now())
        status = await self._post(url, headers, body)
        if 200 <= status < 300:
            return f"HTTP {status}"
        if 300 <= status < 400:
            raise DeliveryFailed(f"the receiver redirects (HTTP {status}), which is not followed", final=True)
        raise DeliveryFailed(f"the receiver answered HTTP {status}", final=status in _FINAL)

    async def _post(self, url: Secret[str], headers: Mapping[str, str], body: bytes) -> int:
        import aiohttp

        failed: DeliveryFailed
        try:
            with anyio.fail_after(TIMEOUT_S):
                connector = aiohttp.TCPConnector(resolver=_checking(self._guard), force_close=True, limit=1)
                async with (
                    aiohttp.ClientSession(
                        connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
                    ) as session,
                    session.post(url.reveal(), data=body, headers=dict(headers), allow_redirects=False) as answer,
                ):
                    return answer.status
        except DeliveryFailed:
            raise
        except TimeoutError:
            failed = DeliveryFailed(f"the receiver did not answer within {TIMEOUT_S:.0f} s")
        except aiohttp.ClientSSLError as error:
            frameless(error)
            failed = DeliveryFailed("the receiver's certificate is not valid")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = _refusal_in(error)
            frameless(error)  # its frames hold the address
            failed = refused or DeliveryFailed(f"the receiver was not reached ({type(error).__name__})")
        raise failed


def _refusal_in(error: BaseException) -> DeliveryFailed | None:
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, DeliveryFailed):
            return each
        each = each.__cause__ or each.__context__
    return None


def _checking(guard: Guard) -> aiohttp.abc.AbstractResolver:
    """aiohttp's look-up of names, through the guard: the address that was checked is the one that is connected to."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Checking(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            found = await guard.resolve(host, port)
            return [
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for address in found
            ]

        async def close(self) -> None:
            """Nothing is held."""

    return Checking()
