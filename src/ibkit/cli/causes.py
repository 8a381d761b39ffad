"""Why a connection failed: what was really looked at, and what was found (OPT-09). The first "no" is the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibkit.errors import IbkitError, Unreachable

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["causes", "reached"]

_REACH_S = 3.0
_OF_THE_KEYS = frozenset({"E-KEY-MISSING", "E-KEY-PERMS", "E-KEY-FORMAT", "E-SECRET-DECRYPT", "E-OA1-DH"})
"""What is found out here, before anything is sent: the file can be opened, and what is in it cannot be used."""


async def causes(settings: Settings, error: IbkitError) -> list[str]:
    """One line for each check, in the order in which one needs the other; ends at the first that failed."""
    lines = []
    if settings.choice is None:
        return [f"credentials present: no ({settings.method_problems[0].message})"]
    lines.append(f"credentials present: yes ({settings.choice.method.value})")
    try:
        settings.credentials()
    except IbkitError as unreadable:
        return [*lines, f"keys readable: no ({unreadable.message})"]
    if error.code in _OF_THE_KEYS:
        return [*lines, f"keys readable: no ({error.message})"]
    lines.append("keys readable: yes")
    address = settings.address
    why_not = await reached(address.host, address.port)
    if why_not is not None:
        return [*lines, f"network reachable: no ({address.host}:{address.port}: {why_not})"]
    lines.append(f"network reachable: yes ({address.host}:{address.port} accepts connections)")
    if isinstance(error, Unreachable):
        return [*lines, f"broker endpoint answering: no ({error.message})"]
    return [*lines, f"broker endpoint answering: yes, but ({error.code}) {error.message}"]


async def reached(host: str, port: int) -> str | None:
    """Why no connection could be made, None where one could."""
    import anyio

    try:
        with anyio.fail_after(_REACH_S):
            stream = await anyio.connect_tcp(host, port)
            await stream.aclose()
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return _words(error)
    return None


def _words(error: OSError) -> str:
    """anyio tries each address of a name, and gathers why none of them worked."""
    attempts = (
        error.__cause__.exceptions if isinstance(error.__cause__, BaseExceptionGroup) else (error.__cause__ or error,)
    )
    if any(isinstance(each, ConnectionRefusedError) for each in attempts):
        return "connection refused"
    last = attempts[-1]
    return last.strerror or str(last) if isinstance(last, OSError) else str(last)
