"""What holds for every page: none without a sign-in, no form without its token, no text outside of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from ibkit.service.serving import open_service
from ibkit.service.web.catalogue import catalogue, text
from service_desks import settings_of
from service_people import ServedPeople, served_people
from user_desks import PASSWORD

TEMPLATES = Path(__file__).parents[3] / "src" / "ibkit" / "service" / "web" / "templates"
OPEN = {"/sign-in", "/sign-in/code", "/welcome"}
"""Those that are for somebody who is not signed in yet."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("pages"), mock=True) as found:
        yield found


async def pages(folder: Path) -> dict[str, set[str]]:
    """GET and POST → the paths of all pages."""
    found: dict[str, set[str]] = {"GET": set(), "POST": set()}
    async with open_service(settings_of(folder)) as running:
        inner: Any = running.app.app  # type: ignore[attr-defined]
        assert isinstance(inner, Litestar)
        for route in inner.routes:
            for handler in getattr(route, "route_handlers", ()):
                word, _, path = str(handler.name).partition(" ")
                if word in ("page", "form"):
                    found["GET" if word == "page" else "POST"].add(path)
    return found


def filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "0" * 32, path)


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_who_is_not_signed_in_sees_no_page_and_sends_no_form(people: ServedPeople, tmp_path: Path) -> None:
    found = await pages(tmp_path)
    assert len(found["GET"]) > 10
    for path in found["GET"] - OPEN:
        answer = people.caller().ask("GET", filled(path))
        assert answer.status == 303, path
        assert answer.headers["location"].startswith("/sign-in?next="), path
    for path in found["POST"] - OPEN:
        answer = people.caller().ask(
            "POST", filled(path), raw=b"csrf=0", headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert (answer.status, answer.headers.get("location", "")[:8]) == (303, "/sign-in"), path


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_a_form_without_the_sessions_token_changes_nothing(people: ServedPeople, tmp_path: Path) -> None:
    for path in (await pages(tmp_path))["POST"] - OPEN:
        # Each by somebody else: a page that shows what was refused reads more than one user may read in a moment.
        browser = people.caller().at_browser(people.caller().sign_in(people.person().user.name, browser=True))
        del browser.auth["X-CSRF-Token"]
        answer = browser.ask(
            "POST",
            filled(path),
            raw=b"csrf=0&name=x&note=x",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status in (403, 404, 422), (path, answer.status, answer.raw[-300:])
        assert browser.ask("GET", "/api/me").status == 200


@pytest.mark.requirement("UI-16")
def test_every_text_of_a_template_is_in_the_catalogue_and_none_stands_outside_of_it() -> None:
    for path in sorted(TEMPLATES.rglob("*.html")):
        raw = path.read_text()
        for name in re.findall(r"\bt\(\"([a-z0-9_.-]+)\"[,)]", raw):
            assert name in catalogue(), f"{path.name}: {name}"
        for start in re.findall(r"\bt\(\"([a-z0-9_.-]+\.)\" ~", raw):
            assert any(each.startswith(start) for each in catalogue()), f"{path.name}: {start}"
        bare = re.sub(
            r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<svg.*?</svg>|<script.*?</script>|<!doctype[^>]*>", " ", raw, flags=re.S
        )
        shown = [word for word in re.sub(r"<[^>]*>", " ", bare).split() if re.search(r"[A-Za-z]{3,}", word)]
        shown = [word for word in shown if '="' not in word]  # of a macro that writes attributes
        assert [word for word in shown if word != "ibkit"] == [], f"{path.name}: a text that is in no catalogue"
        assert not re.search(r"\sstyle=|\son[a-z]+=\"|<style|<script>|\|\s*safe", raw), path.name


@pytest.mark.requirement("UI-16")
def test_a_text_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        text("nothing.there")
    assert text("welcome.hint", shortest=12).startswith("At least 12")


@pytest.mark.requirement("UI-14")
def test_a_failure_shows_what_to_do_and_its_trace_id_and_never_a_bare_code(people: ServedPeople) -> None:
    owner = people.person()
    browser = people.caller().at_browser(people.caller().sign_in(owner.user.name, browser=True))
    answer = browser.ask("GET", "/orders/ib-" + "a2c4e6" * 5 + "a2")
    page = answer.raw.decode()
    assert answer.status == 404
    assert 'data-testid="remedy"' in page
    assert re.search(r'data-testid="trace-id">[0-9a-f]{16}<', page)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.requirement("UI-04", "UI-14")
def test_a_renewal_that_fails_takes_the_place_of_nothing_and_an_act_that_fails_fills_its_place(
    people: ServedPeople,
) -> None:
    owner = people.person()
    browser = people.caller().at_browser(people.caller().sign_in(owner.user.name, browser=True))
    for path in ("/_order/ib-" + "0" * 32, "/_sale/" + "0" * 32):
        renewed = browser.ask("GET", path, headers={"HX-Request": "true"})
        assert (renewed.status, renewed.headers.get("hx-reswap")) == (404, "none"), path
    act = browser.ask("GET", "/orders/ib-" + "0" * 32, headers={"HX-Request": "true"})
    assert (act.status, act.headers.get("hx-reswap")) == (404, "innerHTML")


@pytest.mark.requirement("UI-01")
def test_a_form_that_is_sent_when_the_sign_in_is_over_leads_back_to_where_it_stands(people: ServedPeople) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    at = f"{people.service.address}/orders?ticket=AAPL"
    answer = people.caller().ask("POST", "/orders", raw=b"csrf=0", headers={**form, "Referer": at})
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?next=/orders%3Fticket%3DAAPL")
    answer = people.caller().ask("POST", "/orders", raw=b"csrf=0", headers={**form, "Referer": "https://["})
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?next=/")


@pytest.mark.requirement("UI-01")
def test_a_way_back_leads_to_no_other_site(people: ServedPeople) -> None:
    owner = people.person()
    form = f"name={owner.user.name}&password={PASSWORD.reveal().replace(' ', '+')}&next="
    for evil in ("//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"):
        answer = people.caller().ask(
            "POST",
            "/sign-in",
            raw=(form + evil).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert (answer.status, answer.headers["location"]) == (303, "/"), evil
        assert "__Host-ibkit=" in answer.headers["set-cookie"]
