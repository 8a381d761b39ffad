"""Credentials of the user's own connections: given, tested, put in use, deleted; what is secret is never shown. UI-07.

With ENABLE_MULTI_USER=false the interface has no such addresses, so there is no such page (404).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ibkit.service.web.inside import Told
from ibkit.service.web.reading import Form
from ibkit.service.web.settings_pages import ShownStep, steps_of_test
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["FIELDS", "credential_pages"]

_DONE = ("stored", "activated", "deleted", "default", "added", "flex_kept", "flex_gone")
LARGEST_KEY = 64 * 1024
_FLEX = "/api/settings/flex"


@dataclass(frozen=True, slots=True)
class Field:
    """name: as the interface takes it. kind: text, secret (never shown again) or pem (a key or parameters: a file)."""

    name: str
    kind: str = "text"
    required: bool = False


FIELDS: Mapping[str, tuple[Field, ...]] = {
    "gateway": (Field("address", required=True), Field("username"), Field("accountId"), Field("ca", "pem")),
    "oauth1a": (
        Field("consumerKey", required=True),
        Field("accessToken", "secret"),
        Field("accessTokenSecret", "secret"),
        Field("accountId"),
        Field("username"),
        Field("realm"),
        Field("keyPassphrase", "secret"),
        Field("signatureKey", "pem", required=True),
        Field("encryptionKey", "pem", required=True),
        Field("dhParams", "pem", required=True),
    ),
    "oauth2": (
        Field("clientId", required=True),
        Field("clientKeyId", required=True),
        Field("credential", required=True),
        Field("allowedIp", required=True),
        Field("accountId"),
        Field("scope"),
        Field("keyPassphrase", "secret"),
        Field("privateKey", "pem", required=True),
    ),
}
_SECRETS = tuple(
    f"{method}.{each.name}" for method, fields in FIELDS.items() for each in fields if each.kind in ("secret", "pem")
)


def credential_pages(site: Site) -> None:
    _keeping(site)
    _using(site)
    _flex(site)


def _keeping(site: Site) -> None:
    @site.get("/settings/credentials")
    async def credentials(visit: Visit) -> Made:
        return await _shown(visit)

    @site.post("/settings/credentials")
    async def put(visit: Visit) -> Made:
        form = await visit.form()
        name = form.text("connection_id") or "default"
        told = await visit.send("POST", f"/api/settings/ibkr/{quote(name, safe='')}", _wish(form))
        if told.ok:
            return visit.go("/settings/credentials?done=stored")
        return await _shown(visit, failed=told, kept=form.kept(but=_SECRETS))

    @site.post("/settings/credentials/connections")
    async def add(visit: Visit) -> Made:
        form = await visit.form()
        body = {name: form.text(name) for name in ("connection_id", "method", "environment", "label")}
        told = await visit.send("POST", "/api/ibkr/connections", body)
        return visit.go("/settings/credentials?done=added") if told.ok else await _shown(visit, failed=told)


def _wish(form: Form) -> dict[str, Any]:
    method = form.text("method")
    body: dict[str, Any] = {"method": method, "environment": form.text("environment"), "label": form.text("label")}
    for each in FIELDS.get(method, ()):
        value = form.text(f"{method}.{each.name}")
        if value:
            body[each.name] = value
    return body


def _flex(site: Site) -> None:
    @site.post("/settings/credentials/flex")
    async def keep(visit: Visit) -> Made:
        form = await visit.form()
        body = {name: form.text(name) for name in ("token", "query_id", "expires_on") if form.text(name)}
        told = await visit.send("POST", _FLEX, body)
        if told.ok:
            return visit.go("/settings/credentials?done=flex_kept")
        return await _shown(visit, failed=told, of="flex", kept=form.kept(but=("token",)))

    @site.post("/settings/credentials/flex/delete")
    async def forget(visit: Visit) -> Made:
        told = await visit.send("DELETE", _FLEX)
        return visit.go("/settings/credentials?done=flex_gone") if told.ok else await _shown(visit, failed=told)


def _using(site: Site) -> None:
    @site.post("/settings/credentials/{name:str}/test")
    async def test(visit: Visit) -> Made:
        name = visit.part("name")
        told = await visit.send("POST", f"/api/settings/ibkr/{quote(name, safe='')}/test")
        if not told.ok:
            return await _shown(visit, failed=told)
        return await _shown(visit, tested=name, test=told.data)

    @site.post("/settings/credentials/{name:str}/activate")
    async def activate(visit: Visit) -> Made:
        told = await visit.send("POST", f"/api/settings/ibkr/{quote(visit.part('name'), safe='')}/activate")
        return visit.go("/settings/credentials?done=activated") if told.ok else await _shown(visit, failed=told)

    @site.post("/settings/credentials/{name:str}/default")
    async def default(visit: Visit) -> Made:
        told = await visit.send("POST", f"/api/ibkr/connections/{quote(visit.part('name'), safe='')}/default")
        return visit.go("/settings/credentials?done=default") if told.ok else await _shown(visit, failed=told)

    @site.post("/settings/credentials/{name:str}/delete")
    async def delete(visit: Visit) -> Made:
        """The connection with all that is stored of it; where only credentials are there, these."""
        name = quote(visit.part("name"), safe="")
        told = await visit.send("DELETE", f"/api/ibkr/connections/{name}")
        if told.status == 404:
            told = await visit.send("DELETE", f"/api/settings/ibkr/{name}")
        return visit.go("/settings/credentials?done=deleted") if told.ok else await _shown(visit, failed=told)


async def _shown(
    visit: Visit,
    *,
    failed: Told | None = None,
    of: str = "sign-in",
    kept: Mapping[str, str] | None = None,
    tested: str = "",
    test: Mapping[str, Any] | None = None,
) -> Made:
    """of: the form that failed, beside whose fields it is told."""
    overview = await visit.need("/api/settings/ibkr")
    connections = await visit.need("/api/ibkr/connections")
    steps: list[ShownStep] = steps_of_test(test["steps"]) if test is not None else []
    done = visit.query.get("done", "")
    flex = await visit.get(_FLEX)  # one that cannot be opened any more must not hide the form that mends it
    return await visit.page(
        "settings/credentials.html",
        200 if failed is None else failed.status,
        tab="credentials",
        connections=_joined(overview["connections"], connections),
        licence=overview["licence"],
        methods=FIELDS,
        largest=LARGEST_KEY,
        tested=tested,
        test=test,
        steps=steps,
        problem=failed.problem if failed else {},
        errors=failed.field_errors if failed and of != "flex" else {},
        flex=flex.data if flex.ok else {},
        flex_problem={} if flex.ok else flex.problem,
        flex_errors=failed.field_errors if failed and of == "flex" else {},
        kept=kept or {},
        done=done if done in _DONE else "",
    )


def _joined(kept: list[dict[str, Any]], connections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each connection once: how it stands, and what is stored of it."""
    stored = {each["connectionId"]: each for each in kept}
    rows = {each["connection_id"]: each for each in connections}
    return [
        {
            "name": name,
            "row": rows.get(name),
            "kept": stored.get(name) or {"status": "none", "inUse": None, "waiting": None},
        }
        for name in [*rows, *(each for each in stored if each not in rows)]
    ]
