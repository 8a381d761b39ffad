"""Our own interface, asked from inside: as a browser would, in the visitor's name and no further."""

from __future__ import annotations

from typing import Any

import pytest

from ibkit.service.web.inside import Inside

pytestmark = pytest.mark.anyio


async def asked(path: str, **options: Any) -> dict[str, Any]:
    """What the interface got."""
    heard: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.update(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = [(b"cookie", b"c=1"), (b"authorization", b"Bearer x"), (b"x-forwarded-for", b"8.8.8.8")]
    visitor = {"type": "http", "asgi": {}, "http_version": "1.1", "scheme": "http", "server": None, "client": None}
    state = {"address": "10.0.0.7", "framework": object()}
    await Inside(app, {**visitor, "headers": headers, "state": state}, **options).get(path, {"a": "b c", "empty": ""})
    return heard


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("/api/option-sale/mine%3Aput", "/api/option-sale/mine:put"),
        ("/portfolio/1/accounts/My%20IRA%2F1", "/portfolio/1/accounts/My IRA%2F1"),
    ],
)
async def test_names_in_a_path_are_read_as_the_door_reads_them(sent: str, read: str) -> None:
    heard = await asked(sent)
    assert (heard["path"], heard["raw_path"], heard["query_string"]) == (read, sent.encode(), b"a=b+c")


@pytest.mark.requirement("UI-01")
async def test_only_what_tells_who_visits_goes_along() -> None:
    heard = await asked("/api/me", used=False)
    assert heard["headers"] == [(b"cookie", b"c=1")]
    assert heard["state"] == {"address": "10.0.0.7", "used": False, "within_page": False}
    assert (await asked("/api/alerts"))["state"]["within_page"] is True
