"""`ibkit.test_connection`: is the gateway up, logged in, and as the user we expect? (AUTH-18)"""

from __future__ import annotations

from dataclasses import dataclass

from ibkit.bootstrap.clients import client_of, read_settings
from ibkit.bootstrap.edge import run
from ibkit.errors import IbkitError
from ibkit.model import AuthMethod
from ibkit.settings import Settings
from ibkit.wire.endpoint import Needs

__all__ = ["ConnectionTest", "probe", "test_connection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTest:
    """error, remedy and code are empty with success. username: who is logged in, where the broker said."""

    success: bool
    error: str = ""
    remedy: str = ""
    code: str = ""
    username: str = ""


def test_connection(username: str, password: str = "") -> ConnectionTest:  # noqa: PT028  # a verb, not a test
    """Whether the gateway runs and is logged in as `username`.

    password: accepted because others' programs pass one; it is not looked at. The gateway can only be logged in by a
    person, in a browser.
    """
    del password
    try:
        flags = {"IBKR_AUTH_METHOD": AuthMethod.GATEWAY.value}
        settings = read_settings(flags=flags)
    except IbkitError as error:
        return _failed(error)
    return run(lambda: probe(settings, username))


test_connection.__test__ = False  # type: ignore[attr-defined]  # a verb for users, not a test for pytest


async def probe(settings: Settings, username: str | None) -> ConnectionTest:
    """Reachability, login, and the name on the login; nothing is opened that was not open."""
    ib = client_of(settings, upto=None, keep_alive=False)
    try:
        async with ib:
            await ib.connect(upto=Needs.OUTER_SESSION)
            logged_in = str((await ib.validate()).USER_NAME or "")
    except IbkitError as error:
        return _failed(error)
    if username and logged_in and logged_in.casefold() != username.casefold():
        return ConnectionTest(
            success=False,
            error=f"Gateway is logged in as {logged_in}",
            remedy=f"Log out at {settings.gateway_address.base}/sso/Logout and log in with the expected user name.",
            code="E-SES-USER",
            username=logged_in,
        )
    return ConnectionTest(success=True, username=logged_in)


def _failed(error: IbkitError) -> ConnectionTest:
    message = error.message
    if error.code in ("E-GW-NOAUTH", "E-SES-EXPIRED"):
        message = f"Authentication failed: {error.message}"
    elif error.code == "E-GW-DOWN" or error.details.get("cause") == "refused":
        message = f"Connection refused: {error.message}"
    return ConnectionTest(success=False, error=message, remedy=error.remedy, code=error.code)
