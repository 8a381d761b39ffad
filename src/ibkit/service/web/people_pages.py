"""Users, keys of programs, and one's own sign-in. What is told once (a link, a key, codes) is shown once. VLT-10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import segno

from ibkit.service.web.inside import Told
from ibkit.service.web.site import Made, Site, Visit
from ibkit.users.passwords import SHORTEST

__all__ = ["people_pages", "qr_path"]

ROLES = ("viewer", "trader", "admin", "owner")
SCOPES = ("read", "orders:paper", "orders:live", "credentials", "admin")
_LIVES = (7, 30, 90, 180, 366)
_DONE = ("role", "disable", "enable", "sign-out", "second-step", "remove", "revoke", "password", "session-over")
_LONGEST_SECRET = 512


def people_pages(site: Site) -> None:
    _users(site)
    _one_user(site)
    _keys(site)
    _me(site)
    _second_step(site)


def _done(visit: Visit) -> str:
    found = visit.query.get("done", "")
    return found if found in _DONE else ""


# -- users ------------------------------------------------------------------------------------------------------------


def _users(site: Site) -> None:
    @site.get("/settings/users")
    async def users(visit: Visit) -> Made:
        return await _all_users(visit)

    @site.post("/settings/users")
    async def invite(visit: Visit) -> Made:
        form = await visit.form()
        told = await visit.send("POST", "/api/users", {"name": form.text("name"), "role": form.text("role")})
        if told.ok:
            return await _all_users(visit, told=told.data)
        return await _all_users(visit, failed=told, kept=form.kept())


async def _all_users(
    visit: Visit,
    *,
    told: Mapping[str, Any] | None = None,
    failed: Told | None = None,
    kept: Mapping[str, str] | None = None,
) -> Made:
    return await visit.page(
        "settings/users.html",
        200 if failed is None else failed.status,
        tab="users",
        users=await visit.need("/api/users"),
        invitation=_with_address(visit, told),
        problem=failed.problem if failed else {},
        errors=failed.field_errors if failed else {},
        kept=kept or {},
        roles=ROLES,
        done=_done(visit),
    )


def _with_address(visit: Visit, told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The one-time link as an address of this service; its secret stands behind the #, which no browser sends."""
    if told is None:
        return None
    url = visit.request.base_url
    return {**told, "address": f"{url.scheme}://{url.netloc}/welcome#{told['link']}" if told["link"] else ""}


def _one_user(site: Site) -> None:
    @site.get("/settings/users/{user_id:str}")
    async def user(visit: Visit) -> Made:
        return await _user(visit)

    @site.post("/settings/users/{user_id:str}/role")
    async def role(visit: Visit) -> Made:
        form = await visit.form()
        return await _changed(visit, "PATCH", "", {"role": form.text("role")}, done="role")

    @site.post("/settings/users/{user_id:str}/lock")
    async def lock(visit: Visit) -> Made:
        enabled = (await visit.form()).text("enabled") == "true"
        return await _changed(visit, "PATCH", "", {"enabled": enabled}, done="enable" if enabled else "disable")

    @site.post("/settings/users/{user_id:str}/sign-out")
    async def sign_out(visit: Visit) -> Made:
        return await _changed(visit, "POST", "/sign-out", done="sign-out")

    @site.post("/settings/users/{user_id:str}/second-step")
    async def second_step(visit: Visit) -> Made:
        return await _changed(visit, "DELETE", "/second-step", done="second-step")

    @site.post("/settings/users/{user_id:str}/link")
    async def link(visit: Visit) -> Made:
        told = await visit.send("POST", f"/api/users/{visit.part('user_id')}/link")
        return await _user(visit, told=told.data) if told.ok else await _user(visit, failed=told)

    @site.post("/settings/users/{user_id:str}/remove")
    async def remove(visit: Visit) -> Made:
        query = {"force": "true"} if (await visit.form()).ticked("force") else None
        told = await visit.send("DELETE", f"/api/users/{visit.part('user_id')}", query=query)
        return visit.go("/settings/users?done=remove") if told.ok else await _user(visit, failed=told)


async def _changed(visit: Visit, method: str, address: str, body: Any = None, *, done: str) -> Made:
    user_id = visit.part("user_id")
    told = await visit.send(method, f"/api/users/{user_id}{address}", body)
    return visit.go(f"/settings/users/{user_id}?done={done}") if told.ok else await _user(visit, failed=told)


async def _user(visit: Visit, *, told: Mapping[str, Any] | None = None, failed: Told | None = None) -> Made:
    user = await visit.need(f"/api/users/{visit.part('user_id')}")
    keys = await visit.get("/api/keys", {"user_id": user["user_id"]})
    return await visit.page(
        "settings/user.html",
        200 if failed is None else failed.status,
        tab="users",
        user=user,
        keys=keys.data if keys.ok else [],
        invitation=_with_address(visit, told),
        problem=failed.problem if failed else {},
        errors=failed.field_errors if failed else {},
        roles=ROLES,
        done=_done(visit),
    )


# -- keys -------------------------------------------------------------------------------------------------------------


def _keys(site: Site) -> None:
    @site.get("/settings/keys")
    async def keys(visit: Visit) -> Made:
        return await _all_keys(visit)

    @site.post("/settings/keys")
    async def add(visit: Visit) -> Made:
        form = await visit.form()
        body: dict[str, Any] = {"label": form.text("label"), "scopes": form.all("scopes"), "days": form.whole("days")}
        if accounts := form.text("accounts").replace(",", " ").split():
            body["accounts"] = accounts
        told = await visit.send("POST", "/api/keys", body)
        if told.ok:
            return await _all_keys(visit, made=told.data)
        kept = {**form.kept(), "scopes": form.all("scopes")}
        return await _all_keys(visit, failed=told, kept=kept)

    @site.post("/settings/keys/{key_id:str}/revoke")
    async def revoke(visit: Visit) -> Made:
        told = await visit.send("DELETE", f"/api/keys/{visit.part('key_id')}")
        return visit.go("/settings/keys?done=revoke") if told.ok else await _all_keys(visit, failed=told)


async def _all_keys(
    visit: Visit,
    *,
    made: Mapping[str, Any] | None = None,
    failed: Told | None = None,
    kept: Mapping[str, Any] | None = None,
) -> Made:
    me = await visit.who()
    return await visit.page(
        "settings/keys.html",
        200 if failed is None else failed.status,
        tab="keys",
        keys=await visit.need("/api/keys"),
        made=made,
        problem=failed.problem if failed else {},
        errors=failed.field_errors if failed else {},
        kept=kept or {"days": "90", "scopes": ["read"]},
        scopes=[each for each in SCOPES if me.may(each)],
        lives=_LIVES,
        done=_done(visit),
    )


# -- oneself ----------------------------------------------------------------------------------------------------------


def _me(site: Site) -> None:
    @site.get("/settings/me")
    async def me(visit: Visit) -> Made:
        return await _oneself(visit)

    @site.post("/settings/me/password")
    async def password(visit: Visit) -> Made:
        form = await visit.form()
        new = form.raw("new_password")
        if new != form.raw("again"):
            return await _oneself(visit, errors={"again": "differ"})
        told = await visit.send(
            "POST", "/api/me/password", {"old_password": form.raw("old_password"), "new_password": new}
        )
        if told.ok:
            return site.go("/sign-in", cookies=told.cookies)
        return await _oneself(visit, failed=told)

    @site.post("/settings/me/sign-out-everywhere")
    async def everywhere(visit: Visit) -> Made:
        told = await visit.send("POST", "/api/sign-out/everywhere")
        if told.ok:
            return site.go("/sign-in", cookies=told.cookies)
        return await _oneself(visit, failed=told)

    @site.post("/settings/me/sessions/{session_id:str}/end")
    async def end(visit: Visit) -> Made:
        told = await visit.send("DELETE", f"/api/me/sessions/{quote(visit.part('session_id'), safe='')}")
        return visit.go("/settings/me?done=session-over") if told.ok else await _oneself(visit, failed=told)


async def _oneself(
    visit: Visit,
    *,
    failed: Told | None = None,
    errors: Mapping[str, str] | None = None,
    address: str = "",
    codes: list[str] | None = None,
) -> Made:
    status = failed.status if failed else 422 if errors else 200
    return await visit.page(
        "settings/me.html",
        status,
        tab="me",
        problem=failed.problem if failed else {},
        errors={**(failed.field_errors if failed else {}), **(errors or {})},
        qr=qr_path(address) if address else None,
        otp_address=address,
        codes=codes or [],
        second_step=bool(codes) or bool((await visit.who()).more["second_step"]),
        shortest=SHORTEST,
        sessions=await visit.need("/api/me/sessions"),
        done=_done(visit),
    )


def _second_step(site: Site) -> None:
    @site.post("/settings/me/second-step")
    async def begin(visit: Visit) -> Made:
        told = await visit.send("POST", "/api/me/second-step")
        if not told.ok:
            return await _oneself(visit, failed=told)
        return await _oneself(visit, address=told.data["address"])

    @site.post("/settings/me/second-step/confirm")
    async def confirm(visit: Visit) -> Made:
        form = await visit.form()
        told = await visit.send("POST", "/api/me/second-step/confirm", {"code": form.text("code")})
        if told.ok:
            return await _oneself(visit, codes=told.data["recovery_codes"])
        address = form.text("address")
        ours = address.startswith("otpauth://totp/") and len(address) <= _LONGEST_SECRET
        return await _oneself(visit, failed=told, address=address if ours else "")

    @site.post("/settings/me/second-step/remove")
    async def remove(visit: Visit) -> Made:
        told = await visit.send("DELETE", "/api/me/second-step")
        return visit.go("/settings/me?done=second-step") if told.ok else await _oneself(visit, failed=told)


def qr_path(address: str) -> tuple[int, str]:
    """A QR code as the side of its square, with its quiet zone, and the path of its dark modules."""
    rows = list(segno.make(address, error="m").matrix_iter(scale=1, border=4))
    dark = [f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, module in enumerate(row) if module]
    return len(rows), "".join(dark)
