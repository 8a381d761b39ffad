"""Alerts over HTTP: who sees which, who may look after one, and that no address of a channel is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from gateway_service import at_the_gateway
from ibkit.bootstrap.alerting import open_alerting
from ibkit.model import Secret
from ibkit.service.alert_routes import _Eyes
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.alerting import Channel, ChannelKind, EventKind, Happening, Incident, noted
from ibkit.users import Role, Scope
from people import PAPER, People, account, person
from service_desks import Served, until

pytestmark = pytest.mark.requirement("MON-07", "GWY-02")

HOOK = "https://127.0.0.1:9/secret-path"
AT = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
HOLDERS = {
    "ada": person("ada"),
    "bob": person("bob"),
    "tim": person("tim", accounts=account("DU0000001")),
    "vic": person("vic", role=Role.VIEWER),
    "ann": person("ann", role=Role.ADMIN, scopes=PAPER | {Scope.ADMIN}),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With alerts of everybody's, of bob's and of the administrators', and a channel of each kind of owner."""
    folder = tmp_path_factory.mktemp("alerts")
    with at_the_gateway(
        folder, "not-authenticated", people=People(dict(HOLDERS)), ENCRYPTION_KEY="0123456789abcdef" * 4
    ) as found:

        async def fill() -> None:
            assert found.settings is not None
            async with open_alerting(found.settings) as alerting:
                for event, subject, user in (
                    (EventKind.ORDER_REJECTED, "everybody's", ""),
                    (EventKind.ORDER_REJECTED, "bob's", "user-bob"),
                    (EventKind.SECURITY_FINDING, "administrators'", ""),
                ):
                    message = f"It is {subject}."
                    happening = Happening(event=event, subject=subject, message=message, user=user, at=AT)
                    await alerting.incidents.note(happening, channels=())
                for user in ("", "user-bob"):
                    hook = Channel(
                        name=f"hook{user}",
                        kind=ChannelKind.WEBHOOK,
                        user=user,
                        shown="127.0.0.1, signed",
                        created_at=AT,
                    )
                    await alerting.channels.put(hook, Secret(HOOK), Secret("whsec_c2VjcmV0"))

        anyio.run(fill)
        yield found


def alerts(service: Served, token: str, query: str = "") -> dict[str, Any]:
    answer = service.ask("GET", f"/api/alerts{query}", token=token)
    assert answer.status == 200, answer.raw
    return {each["text"]: each for each in answer.data if each["text"].startswith("It is ")}


def owners(service: Served, token: str) -> set[str]:
    return {text.removeprefix("It is ").removesuffix(".") for text in alerts(service, token)}


def test_each_sees_their_own_and_what_is_of_all(service: Served) -> None:
    assert owners(service, "ada") == {"everybody's"}
    assert owners(service, "bob") == {"everybody's", "bob's"}
    assert owners(service, "vic") == {"everybody's"}
    assert owners(service, "ann") == {"everybody's", "bob's", "administrators'"}
    assert owners(service, "tim") == set(), "a token of one account sees what is of that account alone"


def test_an_alert_is_told_with_what_helps(service: Served) -> None:
    told = alerts(service, "ada")["It is everybody's."]
    assert (told["severity"], told["code"], told["title"]) == ("warning", "order.rejected", "Order rejected")
    assert "intents show" in told["remedy"]
    assert told["runbook"] == "order-rejected"
    assert (told["count"], told["since"], told["acknowledged_by"]) == (1, "2026-11-20T15:30:00Z", None)


def test_who_looks_after_it_is_told_to_all_and_anothers_is_not_there(service: Served) -> None:
    everybodys = alerts(service, "ada")["It is everybody's."]["id"]
    bobs = alerts(service, "bob")["It is bob's."]["id"]
    absent = "0a4c2f0e-6f0b-4f6e-9d67-0a8f3c1f5b11"
    answers = [
        service.ask("POST", f"/api/alerts/{each}/acknowledge", {}, token="ada") for each in (bobs, absent, bobs[:8])
    ]
    assert {(each.status, each.json["error"]["message"]) for each in answers} == {(404, "alert not found")}
    assert service.ask("POST", f"/api/alerts/{everybodys}/acknowledge", {}, token="vic").status == 403
    assert alerts(service, "bob")["It is bob's."]["state"] != "acknowledged"

    done = service.ask("POST", f"/api/alerts/{everybodys}/acknowledge", {"note": "at the screen"}, token="ada")
    assert (done.status, done.data["state"], done.data["acknowledged_by"]) == (200, "acknowledged", "ada")
    assert alerts(service, "bob", "?closed=false")["It is everybody's."]["acknowledged_by"] == "ada"


def test_channels_are_told_without_their_addresses(service: Served) -> None:
    def names(token: str) -> set[str]:
        answer = service.ask("GET", "/api/alerts/channels", token=token)
        assert b"secret" not in answer.raw
        return {each["name"] for each in answer.data}

    assert names("ada") == set()
    assert names("bob") == {"hookuser-bob"}
    assert names("ann") == {"log", "hook"}


def test_an_administrator_keeps_a_channel_of_the_installation_and_its_secret_is_shown_once(service: Served) -> None:
    at, secret_path = "/api/alerts/channels", "https://hooks.example.com/T0/secret-path"
    form = {"name": "pager", "address": secret_path, "severities": ["critical"], "level": 1, "of_installation": True}
    kept = service.ask("POST", at, form, token="ann")
    assert kept.status == 200, kept.raw
    assert kept.json["secret"].startswith("whsec_")
    told = kept.data
    assert (told["where"], told["severities"], told["level"]) == ("hooks.example.com, signed", ["critical"], 1)
    (there,) = [each for each in service.ask("GET", at, token="ann").data if each["name"] == "pager"]
    assert there == told | {"last": None}
    assert b"secret-path" not in kept.raw + service.ask("GET", at, token="ann").raw
    # The same name again changes it; with a secret of their own none is made.
    changed = service.ask("POST", at, {**form, "level": 0, "secret": "whsec_c2VjcmV0c2VjcmV0"}, token="ann")
    assert (changed.data["level"], changed.json["secret"]) == (0, None)
    off = service.ask("POST", f"{at}/pager/switch", {"enabled": False}, token="ann")
    assert (off.status, off.data["enabled"]) == (200, False)
    for token in ("ada", "bob"):
        assert service.ask("DELETE", f"{at}/pager", token=token).status == 404
        assert service.ask("POST", f"{at}/pager/switch", {"enabled": True}, token=token).status == 404
    assert service.ask("DELETE", f"{at}/pager", token="vic").status == 403
    assert service.ask("DELETE", f"{at}/pager", token="ann").status == 200
    assert service.ask("DELETE", f"{at}/pager", token="ann").status == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"address": "http://hooks.example.com/x"}, "address"),
        ({"address": "https://169.254.169.254/latest"}, "address"),
        ({"address": "https://10.0.0.7/hook"}, "address"),
        ({"address": "syslog://"}, "address"),
        ({"address": "nothing at all"}, "address"),
        ({"name": "a b"}, "name"),
        ({"severities": []}, "severities"),
        ({"level": 6}, "level"),
        ({"of_installation": False}, "of_installation"),
    ],
)
def test_a_channel_that_cannot_be_is_refused_beside_its_field(
    service: Served, changes: dict[str, Any], field: str
) -> None:
    form = {"name": "pager", "address": "https://hooks.example.com/x", "of_installation": True, **changes}
    refused = service.ask("POST", "/api/alerts/channels", form, token="ann")
    assert (refused.status, refused.code) == (422, "E-VALIDATION"), refused.raw
    assert field in " ".join(each["field"] for each in refused.json["error"]["details"]["errors"])
    assert form["address"] not in refused.raw.decode()


def test_a_channel_of_the_settings_is_changed_there_and_one_of_all_by_administrators(service: Served) -> None:
    for method, tail in (("DELETE", ""), ("POST", "/switch")):
        body = {"enabled": False} if tail else None
        assert service.ask(method, f"/api/alerts/channels/log{tail}", body, token="ann").status == 409
    form = {"name": "log", "address": "https://hooks.example.com/x", "of_installation": True}
    assert service.ask("POST", "/api/alerts/channels", form, token="ann").status in (409, 422)
    refused = service.ask("POST", "/api/alerts/channels", {**form, "name": "mine"}, token="ada")
    assert (refused.status, refused.code) == (403, "E-FORBIDDEN")


def test_a_test_goes_by_ones_own_channels_and_tells_each_result(service: Served) -> None:
    tried = service.ask("POST", "/api/alerts/test", {"channel": "log"}, token="ann")
    assert tried.data == [{"channel": "log", "delivered": True, "said": "written to the log"}]
    (failed,) = service.ask("POST", "/api/alerts/test", {}, token="bob").data
    assert (failed["channel"], failed["delivered"], HOOK in failed["said"]) == ("hookuser-bob", False, False)
    assert service.ask("POST", "/api/alerts/test", {}, token="ada").data == []
    for channel in ("log", "hookuser-bob", "none"):
        assert service.ask("POST", "/api/alerts/test", {"channel": channel}, token="ada").status == 404
    assert service.ask("POST", "/api/alerts/test", {}, token="vic").status == 403


def test_what_is_done_stands_in_the_audit_log(service: Served) -> None:
    service.ask("POST", "/api/alerts/test", {"channel": "log"}, token="ann")
    until(lambda: bool(service.ask("GET", "/api/audit?action=alerts.test", token="ann").data))


@pytest.mark.parametrize("query", ["closed=yes", "limit=0", "limit=201", "open=true"])
def test_a_filter_that_is_none_is_refused(service: Served, query: str) -> None:
    answer = service.ask("GET", f"/api/alerts?{query}")
    assert (answer.status, answer.fields) == (422, [query.partition("=")[0]])


def test_of_several_users_each_sees_what_the_journal_has_of_their_own_accounts() -> None:
    alert = Alert(
        kind=AlertKind.UNPROTECTED,
        severity=Severity.CRITICAL,
        subject="trade",
        message="It has no stop.",
        at=AT,
        details={"account": "DU0000001"},
        alert_id="a1",
    )
    happening = Happening(event=EventKind.POSITION_UNPROTECTED, subject="trade", message="", at=AT, source="a1")
    incident: Incident = noted(None, happening, incident_id="i1")

    def sees(*accounts: str, alerts: tuple[Alert, ...] = (alert,)) -> bool:
        eyes = _Eyes(person(), everything=False, of_one_login=False, accounts=account(*accounts))
        return eyes.see(incident, {each.alert_id: each for each in alerts})

    assert sees("DU0000001")
    assert not sees("DU0000002")
    assert not sees("DU0000001", alerts=()), "whose it was is not known any more"


@pytest.mark.parametrize(
    "address",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#nuxref?template=/etc/passwd",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#nuxref?Template=http://169.254.169.254/x",
        "fcm://project@apikey/device?keyfile=/proc/self/environ",
        "tgram://123456789:abcdefg_hijklmnop/12315544?image=file%3A%2F%2F%2Fetc%2Fhosts",
    ],
)
def test_an_address_that_would_read_a_file_or_ask_elsewhere_is_refused(service: Served, address: str) -> None:
    form = {"name": "pager", "address": address, "of_installation": True}
    refused = service.ask("POST", "/api/alerts/channels", form, token="ann")
    assert (refused.status, refused.code) == (422, "E-VALIDATION"), refused.raw
    assert b"/etc/" not in refused.raw


def test_a_change_of_a_channel_leaves_its_secret_and_whether_it_is_on(service: Served) -> None:
    at, form = (
        "/api/alerts/channels",
        {"name": "quiet", "address": "https://hooks.example.com/q", "of_installation": True},
    )
    assert service.ask("POST", at, form, token="ann").json["secret"]
    assert service.ask("POST", f"{at}/quiet/switch", {"enabled": False}, token="ann").status == 200
    changed = service.ask("POST", at, {**form, "level": 2}, token="ann")
    assert (changed.json["secret"], changed.data["enabled"], changed.data["level"]) == (None, False, 2)
    assert service.ask("DELETE", f"{at}/quiet?of_installation=false", token="ann").status == 404
    assert service.ask("DELETE", f"{at}/quiet?of_installation=true", token="ann").status == 200
