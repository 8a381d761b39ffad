"""Credentials of one's own at a real browser: added, tested, put in use, deleted; no secret is seen again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from browser_desks import Pages, element
from credential_desks import fields_for
from ibkit.bootstrap import Edges, run
from ibkit.bootstrap.multi_user import accept_licence
from ibkit.model import AuthMethod
from ibkit.settings import Settings
from ibkit.sim.serving.inprocess import CLOUD_URL, Simulator
from ibkit.sim.world import SimConfig
from service_desks import FastClock, settings_of
from service_people import served_people
from simulators import KEYS

START = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
FLAGS = {
    "ENABLE_MULTI_USER": "true",
    "ENCRYPTION_KEY": "5b" * 16 + "c1" * 16,
    "IBKR_BASE_URL": CLOUD_URL,
    "SSO_SETTLE_SECONDS": "0",
}


@pytest.fixture(scope="module")
def shared(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A service of several users, who bring OAuth credentials of their own."""
    folder = tmp_path_factory.mktemp("credentials")
    simulator = Simulator(SimConfig(start=START, seed=7), FastClock(START), keys=KEYS)

    def transport(found: Settings) -> Any:
        return simulator.transport("gateway" if found.method is AuthMethod.GATEWAY else "cloud")

    approve = partial(accept_licence, settings_of(folder, **FLAGS), "IBKR letter 2026-114", by="cli:tests", at=START)
    with ThreadPoolExecutor(1) as beside:  # this thread has a loop already: Playwright's
        beside.submit(run, approve).result()
    given = {name: value for name, value in FLAGS.items() if name != "ENCRYPTION_KEY"}  # the service's own
    edges = Edges(transport=transport, clock=simulator.clock, keep_alive=False)
    with served_people(folder, open_edges=edges, **given) as people:
        people.service.world = simulator
        yield Pages(browser, people)


@pytest.fixture
def pages(shared: Pages) -> Iterator[Pages]:
    yield shared
    shared.scenario()
    shared.close()


def status(page: Page) -> str:
    found = element(page, "credential-status")
    return found.first.inner_text() if found.count() else "gone"


@pytest.mark.requirement("UI-07", "UI-03")
@pytest.mark.plants_secrets  # the registered address is the one that the browser calls from, so the audit log has it
def test_credentials_are_added_tested_activated_and_deleted_and_a_key_is_never_seen_again(pages: Pages) -> None:
    assert pages.people.service.world is not None
    given = fields_for(pages.people.service.world)
    key = [line for line in given["private_key"].splitlines() if "-----" not in line]
    ada = pages.owner()
    page = pages.visit(ada, "/settings/credentials")

    def secret_is_nowhere() -> None:
        source = page.content() + str(page.evaluate("[...document.querySelectorAll('textarea')].map(e => e.value)"))
        assert not any(line in source for line in key)

    page.get_by_label("Method").select_option("oauth2")
    for name, field in (("client_id", "clientId"), ("client_key_id", "clientKeyId"), ("credential", "credential")):
        element(page, f"field-oauth2-{field}").fill(given[name])
    element(page, "field-oauth2-allowedIp").fill(given["allowed_ip"])
    element(page, "field-oauth2-privateKey").fill("no key at all")
    element(page, "credential-add").click()
    expect(element(page, "fault-privateKey").or_(element(page, "failure")).first).to_be_visible()
    expect(element(page, "field-oauth2-clientId")).to_have_value(given["client_id"])
    expect(element(page, "field-oauth2-privateKey")).to_have_value("")
    element(page, "field-oauth2-privateKey").fill(given["private_key"])
    element(page, "credential-add").click()
    expect(element(page, "credential-status")).to_have_text("inactive")
    secret_is_nowhere()

    pages.scenario("sso-refused")
    element(page, "credential-test").click()
    expect(element(page, "step-oauth")).to_have_class(re.compile(r"\bok\b"))
    expect(element(page, "step-sso")).to_have_class(re.compile("failed"))
    expect(element(page, "step-validate")).to_contain_text("not attempted")
    secret_is_nowhere()

    pages.scenario()
    element(page, "credential-test").click()
    for name in ("oauth", "sso", "validate", "init"):
        expect(element(page, f"step-{name}")).to_have_class(re.compile(r"\bok\b"))
    expect(element(page, "credential-status")).to_have_text("active")
    secret_is_nowhere()
    element(page, "credential-activate").click()
    expect(element(page, "done")).to_be_visible(timeout=15_000)
    expect(element(page, "credential-status")).to_have_text("active")
    secret_is_nowhere()

    told = ada.ask("POST", "/api/ibkr/logout")  # a session that stands is not signed in anew
    assert told.status == 200, told.raw
    page.goto("/settings")
    pages.scenario("sso-refused")
    element(page, "test-connection").click()
    step = element(page, "step-sso")
    expect(step).to_have_class(re.compile("failed"))
    expect(step).to_contain_text("E-OA2-SSO")
    for remedy in ("IBKR_CREDENTIAL", "two-factor authentication"):
        expect(step).to_contain_text(remedy)
    for name in ("validate", "init"):
        expect(element(page, f"step-{name}")).to_contain_text("not attempted")
    secret_is_nowhere()

    page.goto("/settings/credentials")
    element(page, "credential-delete").click()
    element(page, "credential-delete-confirm").click()
    expect(element(page, "done")).to_be_visible()
    expect(element(page, "credential-status")).to_have_count(0)
    secret_is_nowhere()
    assert [each for each in pages.said if "422" not in each] == []  # that of the wrong key


@pytest.mark.requirement("UI-07", "FUT-08")
def test_a_flex_token_is_kept_corrected_and_forgotten_and_never_seen_again(pages: Pages) -> None:
    ada, token = pages.owner(), "918273645546372819009876"
    page = pages.visit(ada, "/settings/credentials")
    element(page, "flex-token").fill(token)
    element(page, "flex-query").fill("my query")
    element(page, "flex-keep").click()
    fault = element(page, "flex").locator("#fault-query_id")
    expect(fault).to_be_visible()
    expect(element(page, "flex-query")).to_have_value("my query")
    assert token not in page.content()
    element(page, "flex-token").fill(token)
    element(page, "flex-query").fill("998877")
    element(page, "flex-expires").fill("2099-05-01")
    element(page, "flex-keep").click()
    expect(element(page, "done")).to_be_visible()
    expect(element(page, "flex-kept")).to_be_visible()
    expect(element(page, "flex")).to_contain_text("2099-05-01")
    assert token not in page.content()
    element(page, "flex-delete").click()
    expect(element(page, "done")).to_be_visible()
    expect(element(page, "flex-kept")).to_have_count(0)
    assert ada.ask("GET", "/api/settings/flex").json["token"] is None


@pytest.mark.requirement("UI-07")
def test_a_file_that_is_too_large_for_a_key_is_told_beside_its_field_and_a_key_is_read(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/settings/credentials")
    page.get_by_label("Method").select_option("oauth2")
    upload, fault = page.locator("#u-oauth2-privateKey"), page.locator("#u-oauth2-privateKey-fault")
    upload.set_input_files({"name": "key.pem", "mimeType": "text/plain", "buffer": b"x" * 5_000_000})
    expect(fault).to_be_visible()
    expect(fault).not_to_be_empty()
    expect(element(page, "field-oauth2-privateKey")).to_have_value("")
    upload.set_input_files({"name": "key.pem", "mimeType": "text/plain", "buffer": b"-----BEGIN\nabc\n"})
    expect(fault).to_be_hidden()
    expect(element(page, "field-oauth2-privateKey")).to_have_value("-----BEGIN\nabc\n")


@pytest.mark.requirement("UI-07", "UI-14")
def test_a_form_of_five_megabytes_is_refused_with_what_to_do(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/settings/credentials")
    page.get_by_label("Method").select_option("oauth2")
    for each in ("clientId", "clientKeyId", "credential", "allowedIp"):
        element(page, f"field-oauth2-{each}").fill("x")
    element(page, "field-oauth2-privateKey").evaluate("e => { e.value = 'x'.repeat(5_000_000) }")
    element(page, "credential-add").click()
    expect(element(page, "failure")).to_be_visible(timeout=15_000)
    expect(element(page, "remedy").first).not_to_be_empty()
    expect(element(page, "trace-id")).not_to_be_empty()
