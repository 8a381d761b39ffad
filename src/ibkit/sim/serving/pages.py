"""The pages a browser sees: the gateway's login with its second factor, and the consent page of a third party.

    GET /            302 → /sso/Login?forwardTo=22&RL=1&ip2loc=US
    POST /sso/Login  user, password, live (as it stands at first) or paper → the page for the code
    POST /sso/Dispatcher  the code → "Client login succeeds"
    GET, POST /authorize?oauth_token=…   user, password, Allow or Deny → the callback, or the verifier shown

IBKR speaks SRP here and its consent form is not documented; plain forms stand in.
Source: docs/facts/auth-and-sessions.md §1.6, §3.2.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from urllib.parse import parse_qs, urlencode, urlsplit

from ibkit.sim.logins import sessions
from ibkit.sim.logins.logins import RequestToken, User
from ibkit.sim.serving import html
from ibkit.sim.serving.html import LIVE, PAPER
from ibkit.sim.world import World

__all__ = ["LOGIN_PATH", "Page", "Pages"]

LOGIN_PATH = "/sso/Login?forwardTo=22&RL=1&ip2loc=US"
SUCCESS = "Client login succeeds"


@dataclass(frozen=True, slots=True)
class Page:
    """headers may name one thing twice, as Set-Cookie does."""

    body: str
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = field(default=())


def _redirect(location: str) -> Page:
    return Page("", 302, "", (("Location", location),))


class Pages:
    """Logins and consents under way."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}
        """Ticket of a right password → user name; the code is still to come."""

    def serve(
        self,
        world: World,
        face: str,
        method: str,
        path: str,
        query: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Page | None:
        """The page at a path, or None if none is there."""
        asked = _fields(query)
        form = _fields(body.decode("utf-8", "replace")) if method == "POST" else {}
        if face == "cloud":
            return self._authorize(world, method, {**asked, **form}) if path == "/authorize" else None
        match method, path:
            case (("GET" | "HEAD"), "/"):
                return _redirect(LOGIN_PATH)
            case "GET", "/sso/Login":
                return _login_page(world)
            case "POST", "/sso/Login":
                return self._password(world, form)
            case "POST", "/sso/Dispatcher":
                return self._second_factor(world, form)
            case "GET", "/sso/Dispatcher":
                # Opened by hand it says how the login stands. §3.2 [forum]
                return Page(SUCCESS) if world.logins.gateway else _redirect(LOGIN_PATH)
            case (("GET" | "POST"), "/sso/Logout"):
                sessions.gateway_logout(world)
                return _redirect(LOGIN_PATH)
            case "GET", "/clear":
                sessions.gateway_logout(world)
                return Page("cleared", content_type="text/plain")
            case "GET", "/sso/ping":
                return Page('{"result":"true"}', content_type="application/json")
            case "GET", "/favicon.ico":
                # A gateway would send the browser to IBKR's own host for it (§3.11): not from a simulator.
                return Page("", 404, content_type="")
            case _:
                return None

    # --- the gateway's login --------------------------------------------------------------------------------------

    def _password(self, world: World, form: Mapping[str, str]) -> Page:
        username, login_type = form.get("username", ""), form.get("loginType", LIVE)
        user = _checked(world, username, form.get("password", ""))
        if user is None:
            return _login_page(world, "Invalid username password combination", username, login_type)
        if login_type != (PAPER if user.is_paper else LIVE):
            told = "a paper user name: switch Paper trading on" if user.is_paper else "live: switch Paper trading off"
            return _login_page(world, f"{username} is {told}", username, login_type)
        ticket = f"{world.rng('login tickets').getrandbits(128):032x}"
        self._waiting[ticket] = user.username
        return _code_page(user, ticket, login_type)

    def _second_factor(self, world: World, form: Mapping[str, str]) -> Page:
        ticket = form.get("ticket", "")
        username = self._waiting.get(ticket)
        if username is None:
            return _redirect(LOGIN_PATH)
        user = world.logins.users[username]
        if not hmac.compare_digest(form.get("code", "").strip().encode(), user.second_factor.encode()):
            return _code_page(user, ticket, form.get("loginType", ""), "The security code is wrong")
        del self._waiting[ticket]
        session = sessions.gateway_login(world, username)
        return Page(SUCCESS, headers=_login_cookies(world, session.id, user))

    # --- a third party's consent ------------------------------------------------------------------------------------

    def _authorize(self, world: World, method: str, given: Mapping[str, str]) -> Page:
        token = world.logins.request_tokens.get(given.get("oauth_token", ""))
        if token is None or token.expires_at <= world.now or token.verifier is not None or token.denied:
            return Page(html.page("Authorization", "<p>This request is unknown, used or too old.</p>"), 400)
        consumer = world.logins.consumers[token.consumer_key]
        redirect = given.get("redirect_uri") or consumer.callback or "oob"
        if redirect not in ("oob", consumer.callback):
            return Page(html.page("Authorization", "<p>The redirect_uri is not the registered one.</p>"), 400)
        if method != "POST":
            return _consent_page(token, redirect)
        if given.get("decision") == "deny":
            token.denied = True
            return _landing(redirect, {"oauth_token": token.token}, "You denied access.")
        user = _checked(world, given.get("username", ""), given.get("password", ""))
        if user is None:
            return _consent_page(token, redirect, "Invalid username password combination", given.get("username", ""))
        token.username = user.username
        token.verifier = f"{world.rng('verifiers').getrandbits(80):020x}"
        query = {"oauth_token": token.token, "oauth_verifier": token.verifier}
        return _landing(redirect, query, f"Verifier: {token.verifier}")


def _fields(text: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}


def _checked(world: World, username: str, password: str) -> User | None:
    user = world.logins.users.get(username)
    if user is None or not hmac.compare_digest(password.encode(), user.password.encode()):
        return None
    return user


def _login_page(world: World, banner: str = "", username: str = "", login_type: str = LIVE) -> Page:
    session_id = f"{world.rng('cookies').getrandbits(128):032X}"
    cookies = (
        ("Set-Cookie", f"JSESSIONID={session_id}; Path=/sso; HttpOnly; Secure; SameSite=None"),
        ("Set-Cookie", "URL_PARAM=forwardTo=22&RL=1&ip2loc=US; Path=/; Secure"),
    )
    users = world.logins.users.values()
    paper = " and ".join(user.username for user in users if user.is_paper)
    live = " and ".join(user.username for user in users if not user.is_paper)
    hint = f"On for {paper}, off for {live}. The passwords stand in simulator.json."
    text = html.login_form(username=username, login_type=login_type, hint=hint, banner=banner)
    return Page(text, headers=cookies)


def _code_page(user: User, ticket: str, login_type: str, banner: str = "") -> Page:
    fields = {"ticket": ticket, "loginType": login_type, "forwardTo": "22"}
    return Page(html.code_form(username=user.username, code=user.second_factor, fields=fields, banner=banner))


def _login_cookies(world: World, session_id: str, user: User) -> tuple[tuple[str, str], ...]:
    """Names of the gateway's own list (§3.2); values are opaque."""
    token = f"{world.rng('cookies').getrandbits(160):040x}"
    values = {
        "XYZAB": token,
        "XYZAB_AM.LOGIN": token,
        "USERID": str(user.user_id),
        "api": session_id,
        "web": token[:16],
    }
    return tuple(("Set-Cookie", f"{name}={value}; Path=/; Secure; HttpOnly") for name, value in values.items())


def _consent_page(token: RequestToken, redirect: str, banner: str = "", username: str = "") -> Page:
    text = html.consent_form(
        consumer=token.consumer_key,
        returns_to="a code to type into the application"
        if redirect == "oob"
        else f"back to {redirect}, with a verifier in its address",
        username=username,
        fields={"oauth_token": token.token, "redirect_uri": redirect},
        banner=banner,
    )
    return Page(text)


def _landing(redirect: str, query: Mapping[str, str], text: str) -> Page:
    if redirect == "oob":
        return Page(html.page("Authorization", f"<p>{escape(text)}</p>"))
    mark = "&" if urlsplit(redirect).query else "?"
    return _redirect(f"{redirect}{mark}{urlencode(query)}")
