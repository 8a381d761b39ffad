"""What answers at the broker's address, whether it is what it should be, and what our clock is worth there.

Without a sign-in one call is made, which changes nothing at IBKR. Requirement SET-05; ERR-04 for what is named first.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ibkit.clock import SystemClock
from ibkit.errors import IbkitError, Unreachable
from ibkit.model import AuthMethod
from ibkit.upkeep.checks import Check, Mark
from ibkit.upkeep.gateway_copy import listen_port

if TYPE_CHECKING:
    from ibkit.settings import Settings
    from ibkit.wire.http import Response

__all__ = ["check_gateway_folder", "check_network", "check_sign_in"]

_WITHIN_S = 5.0
_OTHERS = (4001, 4002, 7496, 7497)
"""Ports of the API of IB Gateway and TWS. Source: docs/facts/auth-and-sessions.md."""
_LOOK_S = 0.2
_CLOCK_WARN_S, _CLOCK_FAIL_S = 5.0, 300.0
_PROBE = "SPY"


async def check_network(settings: Settings) -> AsyncIterator[Check]:
    """Reachability, trust, what answers, clock."""
    name = "gateway" if settings.method is AuthMethod.GATEWAY else "IBKR"
    address = settings.address
    where = f"{address.host}:{address.port}"
    try:
        answer = await _asked(settings)
    except IbkitError as error:
        yield await _unreachable(settings, name, where, error)
        return
    text = answer.body.lstrip()[:200]
    if text.startswith(b"<"):
        if b"Access Denied" in answer.body[:4096]:
            denied = IbkitError(code="E-GW-IP")
            yield Check(name, Mark.FAIL, f"{where}: {denied.message}", denied.code, denied.remedy)
        elif settings.method is AuthMethod.GATEWAY:
            wrong = IbkitError(code="E-GW-PORT-TAKEN", details={"port": address.port})
            yield Check(name, Mark.FAIL, f"{where} answers with a page, not with the API", wrong.code, wrong.remedy)
        else:
            wrong = IbkitError(code="E-API-CONNECT")
            remedy = "Check IBKR_BASE_URL: a proxy or another program answers there."
            yield Check(name, Mark.FAIL, f"{where} answers with a page, not with the API", wrong.code, remedy)
        return
    if answer.status == 503:
        said = IbkitError(code="E-MAINT")
        yield Check(name, Mark.FAIL, f"{where}: {said.message}", "E-MAINT", "docs/runbooks/ibkr-maintenance.md")
    elif answer.status == 429:
        said = IbkitError(code="E-RATE")
        yield Check(name, Mark.FAIL, f"{where}: too many calls", "E-RATE", "docs/runbooks/rate-limit.md")
    else:
        yield Check(name, Mark.OK, f"{where} answers, and its certificate is trusted")
    yield _clock(settings, answer)
    if settings.method is AuthMethod.GATEWAY and answer.status == 401:
        out = IbkitError(code="E-GW-NOAUTH", details={"port": address.port})
        yield Check("login", Mark.FAIL, out.message, out.code, out.remedy)


async def check_sign_in(settings: Settings, *, compete: bool) -> AsyncIterator[Check]:
    """Sign in, accounts, market data; only where somebody asked for it."""
    from ibkit.bootstrap import client_of

    try:
        async with client_of(settings, compete=compete or None, upto=None, keep_alive=False) as ib:
            await ib.connect()
            yield Check("sign-in", Mark.OK, ib.state.name.lower().replace("_", " "))
            accounts = [account.account_id for account in await ib.accounts()]
            account = await ib.selected_account(settings.account_id)
            yield Check("accounts", Mark.OK, f"{', '.join(accounts)}; used: {account}")
            quote = await ib.quote((await ib.underlying(_PROBE)).conid)
            kind = quote.availability.name.lower().replace("_", " ")
            real = kind == "real time"
            remedy = None if real else "Orders need real-time quotes, or --allow-delayed."
            yield Check(
                "market data", Mark.OK if real else Mark.WARN, f"{_PROBE} at {quote.best} ({kind})", None, remedy
            )
    except IbkitError as error:
        yield Check("sign-in", Mark.FAIL, error.message, error.code, error.remedy)


def check_gateway_folder(settings: Settings) -> Iterator[Check]:
    """conf.yaml and Java of a gateway on this machine, where its folder is."""
    folder = settings.gateway.directory
    if settings.choice is None or settings.choice.method is not AuthMethod.GATEWAY or not folder.is_dir():
        return
    if shutil.which("java") is None:
        missing = IbkitError(code="E-GW-JAVA")
        yield Check("java", Mark.FAIL, "no java on the PATH", missing.code, missing.remedy)
    conf = folder / "root" / "conf.yaml"
    if not conf.is_file():
        yield Check(
            "conf.yaml", Mark.WARN, f"{conf} is not there", None, "Set IBKR_GATEWAY_DIR to the gateway's folder."
        )
        return
    yield from _conf(settings, conf)


def _conf(settings: Settings, conf: Path) -> Iterator[Check]:
    text = conf.read_text(encoding="utf-8", errors="replace")
    if re.search(r"^\s*proxyRemotePort\s*:", text, re.MULTILINE):
        bad = IbkitError(code="E-GW-CONF", details={"key": "proxyRemotePort"})
        yield Check("conf.yaml", Mark.FAIL, bad.message, bad.code, "Remove proxyRemotePort from root/conf.yaml.")
    listens, wanted = listen_port(text), settings.gateway_address.port
    if listens != wanted:
        said = f"the gateway listens on {listens}, the settings say {wanted}"
        remedy = f"Set IBKR_CLIENT_PORTAL_PORT={listens}, or listenPort in {conf}."
        yield Check("conf.yaml", Mark.FAIL, said, "E-GW-PORT-MISMATCH", remedy)
    else:
        yield Check("conf.yaml", Mark.OK, f"{conf}: port {listens}")


async def _asked(settings: Settings) -> Response:
    from ibkit.bootstrap.clients import transport_of
    from ibkit.client.core import HEADERS
    from ibkit.wire.http import Request

    transport = transport_of(settings)
    try:
        request = Request("GET", f"{settings.address.api}/sso/validate", HEADERS)
        return await transport.send(request, timeout_s=_WITHIN_S)
    finally:
        await transport.aclose()


async def _unreachable(settings: Settings, name: str, where: str, error: IbkitError) -> Check:
    cause = error.details.get("cause")
    if (
        settings.method is AuthMethod.GATEWAY
        and isinstance(error, Unreachable)
        and cause in ("refused", "tls", "other")
    ):
        taken = cause == "tls"
        if taken:
            wrong = IbkitError(code="E-GW-PORT-TAKEN", details={"port": settings.address.port})
            return Check(name, Mark.FAIL, f"{where}: something without TLS answers there", wrong.code, wrong.remedy)
        others = [port for port in _OTHERS if await _open(port)]
        if others:
            wrong = IbkitError(code="E-GW-WRONG")
            said = f"nothing at {where}, but port {others[0]} is open: {wrong.message}"
            return Check(name, Mark.FAIL, said, wrong.code, wrong.remedy)
        down = IbkitError(code="E-GW-DOWN", details={"port": settings.address.port})
        return Check(name, Mark.FAIL, f"{down.message} ({where})", down.code, down.remedy)
    return Check(
        name, Mark.FAIL, f"{where}: {error.message}", error.code, f"{error.remedy} See `ibkit firewall check`."
    )


async def _open(port: int) -> bool:
    with anyio.move_on_after(_LOOK_S):
        try:
            await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
        except OSError:
            return False
        return True
    return False


def _clock(settings: Settings, answer: Response) -> Check:
    from ibkit.bootstrap import clock_of
    from ibkit.wire.login_errors import clock_skew_s

    # A simulator dates its answers by the machine's clock, and its market has a time of its own.
    skews = [clock_skew_s(answer, clock.now()) for clock in (clock_of(settings), SystemClock())]
    skew = min((each for each in skews if each is not None), key=abs, default=None)
    if skew is None:
        return Check("clock", Mark.SKIP, "the answer carries no date to compare with")
    way = "behind" if skew > 0 else "ahead"
    if abs(skew) > _CLOCK_FAIL_S:
        wrong = IbkitError(code="E-OA1-CLOCK", details={"n": round(abs(skew))})
        return Check(
            "clock", Mark.FAIL, f"{wrong.message} ({way})", wrong.code, f"{wrong.remedy} docs/runbooks/clock-skew.md"
        )
    if abs(skew) > _CLOCK_WARN_S:
        return Check(
            "clock", Mark.WARN, f"{abs(skew):.0f} s {way} of IBKR's", None, "Synchronise the system clock (NTP)."
        )
    return Check("clock", Mark.OK, f"within {_CLOCK_WARN_S:.0f} s of IBKR's")
