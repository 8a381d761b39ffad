"""Getting started over HTTP: what is missing by name, keys made in the background, and the demo of one click."""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ibkit.bootstrap import primes
from ibkit.service.web.onboarding_pages import waiting_of
from ibkit.users import Role
from ibkit.wire import dh, keys
from service_desks import until
from service_people import Caller, ServedPeople, served_people

KEYS = Path(__file__).parents[2] / "keys"
GROUP = dh.parse_params_pem((KEYS / "dhparam.pem").read_text())
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onboarding")


@pytest.fixture(scope="module")
def people(folder: Path) -> Iterator[ServedPeople]:
    """One of the four settings of OAuth 2 is there, the others are not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(primes, "search", lambda bits, progress, **more: progress(7) or GROUP.prime)
        places = {
            "IB_SIGNATURE_KEY_PATH": str(folder / "keys/private_signature.pem"),
            "IB_ENCRYPTION_KEY_PATH": str(folder / "keys/private_encryption.pem"),
            "IB_DH_PARAM_PATH": str(folder / "keys/dhparam.pem"),
        }
        with served_people(folder, IBKR_CLIENT_ID="client", **places) as found:
            yield found


def at_browser(people: ServedPeople, role: Role = Role.OWNER) -> Caller:
    caller = people.caller()
    return caller.at_browser(caller.sign_in(people.person(role).user.name, browser=True))


def page(browser: Caller, path: str) -> str:
    answer = browser.ask("GET", path)
    assert answer.status == 200, answer.raw[-300:]
    return answer.raw.decode()


def sent(browser: Caller, path: str, **form: str) -> tuple[int, str]:
    body = urlencode({**form, "csrf": browser.auth["X-CSRF-Token"]}).encode()
    answer = browser.ask("POST", path, raw=body, headers=FORM)
    return answer.status, answer.headers.get("location", "") or answer.raw.decode()


@pytest.mark.requirement("UI-06")
def test_exactly_the_settings_that_are_missing_are_named(people: ServedPeople) -> None:
    told = page(at_browser(people), "/onboarding?step=2")
    assert re.findall(r'data-testid="missing-name">([^<]+)<', told) == [
        "IBKR_CLIENT_KEY_ID",
        "IBKR_PRIVATE_KEY or IBKR_PRIVATE_KEY_PATH",
        "IBKR_CREDENTIAL",
    ]
    assert 'data-testid="onboarding-state" data-state="not_configured">Not Configured<' in told
    for method in ("gateway", "oauth1a", "oauth2"):
        assert f'href="/setup#{method}" data-testid="guide-{method}"' in told


@pytest.mark.requirement("UI-06")
def test_where_settings_were_looked_for_is_told_to_those_who_look_after_them_alone(people: ServedPeople) -> None:
    told = page(at_browser(people), "/onboarding?step=2")
    for place in (".env", "config/.env"):
        assert str(Path(place).absolute()) in told
    trader = at_browser(people, Role.TRADER)
    assert trader.ask("GET", "/api/onboarding").data["settings_file"] is None
    assert 'data-testid="settings-file"' not in page(trader, "/onboarding?step=2")


@pytest.mark.requirement("SET-01", "SET-02", "UI-05")
def test_keys_are_made_in_the_page_and_never_over_others_unasked(people: ServedPeople, folder: Path) -> None:
    browser = at_browser(people)
    status, where = sent(browser, "/onboarding/keys", kind="oauth1a", environment="paper")
    assert (status, where) == (303, "/onboarding?step=2&method=oauth1a&environment=paper#keys")
    until(lambda: browser.ask("GET", "/api/onboarding/keys").data["job"]["state"] != "running")
    told = browser.ask("GET", "/api/onboarding/keys").data
    assert (told["job"]["state"], told["place"]) == ("done", "files")
    files = folder / "keys"
    for name in ("signature", "encryption"):
        assert stat.S_IMODE((files / f"private_{name}.pem").stat().st_mode) == 0o600
        public = browser.ask("GET", f"/onboarding/keys/public_{name}.pem")
        assert "attachment" in public.headers["content-disposition"]
        private = keys.load_private_key(keys.Secret((files / f"private_{name}.pem").read_text()), what=name)
        keys.check_pair(private, keys.load_public_key(public.raw.decode(), what=name), what=name)
    assert browser.ask("GET", "/onboarding/keys/dhparam.pem").raw == (files / "dhparam.pem").read_bytes()
    before = (files / "private_signature.pem").read_bytes()
    status, told = sent(browser, "/onboarding/keys", kind="oauth1a")
    assert status == 422
    assert "uploaded last" in told
    assert (files / "private_signature.pem").read_bytes() == before


@pytest.mark.requirement("SET-01")
@pytest.mark.parametrize("name", ["private_signature.pem", "..%2F..%2Fibkit.db", ".env"])
def test_nothing_private_can_be_taken_away(people: ServedPeople, name: str) -> None:
    assert at_browser(people).ask("GET", f"/api/onboarding/keys/{name}").status == 404


@pytest.mark.requirement("SET-01")
def test_files_of_the_installation_are_made_by_those_who_look_after_it(people: ServedPeople) -> None:
    trader = at_browser(people, Role.TRADER)
    assert trader.ask("POST", "/api/onboarding/keys", {"kind": "oauth2"}).code == "E-FORBIDDEN"
    assert trader.ask("GET", "/api/onboarding/keys").code == "E-FORBIDDEN"
    assert trader.ask("POST", "/api/onboarding/demo", {"on": True}).code == "E-FORBIDDEN"


@pytest.mark.requirement("SET-07")
def test_the_clock_of_new_keys_runs_to_the_next_restart_and_to_that_after_the_weekend() -> None:
    friday = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)  # 15:00 in New York
    waiting = waiting_of(friday, "us")
    assert waiting.earliest == datetime(2026, 11, 28, 6, 0, tzinfo=UTC)
    assert waiting.after_weekend == datetime(2026, 11, 30, 6, 0, tzinfo=UTC)


@pytest.mark.requirement("UI-05", "TRD-18")
def test_a_limit_is_lowered_in_step_three(people: ServedPeople) -> None:
    browser = at_browser(people)
    assert 'value="10000"' in page(browser, "/onboarding?step=3")
    status, where = sent(browser, "/onboarding/limit", name="max_shares", value="200", note="tests")
    assert (status, where) == (303, "/onboarding?step=3&done=changed")
    told = browser.ask("GET", "/api/limits").data["limits"]
    assert next(each["value"] for each in told if each["name"] == "max_shares") == "200"
    status, told = sent(browser, "/onboarding/limit", name="max_shares", value="many", note="tests")
    assert status == 422
    assert 'data-testid="trace-id"' in told


@pytest.mark.requirement("UI-05", "CFG-04")
def test_a_simulated_market_stands_in_by_one_click_and_goes_again(people: ServedPeople) -> None:
    browser = at_browser(people)
    assert browser.ask("GET", "/api/onboarding").data["demo_possible"] is True
    assert sent(browser, "/onboarding/demo", on="true") == (303, "/")
    until(lambda: browser.ask("GET", "/api/ibkr/status").json["connected"])
    assert browser.ask("GET", "/api/ibkr/status").json["label"] == "SIMULATED"
    assert 'data-testid="banner-simulated"' in page(browser, "/")
    told = browser.ask("GET", "/api/onboarding").data
    assert (told["demo"], told["state"]) == (True, "not_configured"), "it stands for no connection that was set up"
    assert sent(browser, "/onboarding/demo", on="false") == (303, "/onboarding?step=1")
    assert browser.ask("GET", "/api/ibkr/status").json["configured"] is False
    assert 'data-testid="banner-simulated"' not in page(browser, "/onboarding")
    acts = browser.ask("GET", "/api/audit?action=demo.").data
    assert [each["details"]["on"] for each in acts] == ["false", "true"]


@pytest.mark.requirement("SET-01", "VLT-07")
def test_with_several_users_keys_go_into_the_vault_and_the_token_joins_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primes, "search", lambda bits, progress, **more: progress(7) or GROUP.prime)
    with served_people(tmp_path, mock=True, ENABLE_MULTI_USER="true") as people:
        ada = at_browser(people, Role.TRADER)
        assert sent(ada, "/onboarding/keys", kind="oauth1a", environment="paper")[0] == 422, "no consumer key"
        assert sent(ada, "/onboarding/keys", kind="oauth1a", environment="paper", consumer_key="exampleky")[0] == 303
        until(lambda: ada.ask("GET", "/api/onboarding/keys").data["job"]["state"] != "running")
        told = ada.ask("GET", "/api/onboarding/keys").data
        assert (told["place"], told["job"]["error"]) == ("vault", None)
        first = ada.ask("GET", "/api/settings/ibkr").json["waiting"]
        assert ada.ask("GET", "/onboarding/keys/public_signature.pem").raw.startswith(b"-----BEGIN PUBLIC KEY")
        theirs = serialization.load_pem_public_key(ada.ask("GET", "/onboarding/keys/public_encryption.pem").raw)
        assert isinstance(theirs, RSAPublicKey)
        secret = base64.b64encode(theirs.encrypt(bytes(range(32)), PKCS1v15())).decode()  # as the portal shows it
        token = {"access_token": "0123456789abcdef0123", "access_token_secret": secret}
        assert sent(ada, "/onboarding/token", **{**token, "access_token_secret": secret[:-8]})[0] == 422
        assert sent(ada, "/onboarding/token", **token)[0] == 303
        second = ada.ask("GET", "/api/settings/ibkr").json["waiting"]
        assert second["fingerprints"]["signatureKey"] == first["fingerprints"]["signatureKey"]
        assert "accessToken" in second["fields"]
        assert "accessToken" not in first["fields"]
        eve = at_browser(people, Role.TRADER)
        assert eve.ask("GET", "/api/onboarding/keys").data["job"] is None
        assert eve.ask("GET", "/api/onboarding/keys/dhparam.pem").status == 404
        assert not list(tmp_path.rglob("private*"))
