"""The four texts of GET /api/ibkr/status in every scenario of the simulator, from the first look on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap import Edges
from ibkit.settings import Settings
from ibkit.sim.faults import SCENARIOS
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.world import SimConfig
from ibkit.users.principal import Role, Scope
from people import People, person
from programs import environ_of
from service_desks import PACE, FastClock, Served, served, settings_of, unhurried, until
from simulators import KEYS

pytestmark = pytest.mark.requirement("MON-01")

START = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
TEXTS = ("Connected", "Active", "Validated", "Ready")
NOT = ("Not connected", "Not active", "Not validated", "Not ready")
FAILING = [
    # how many of the four hold, by the gateway
    ("gateway", "not-authenticated", 1, "Login required", "E-GW-NOAUTH"),
    ("gateway", "competing", 3, "In use elsewhere", "E-SES-COMPETING"),
    ("gateway", "expired", 1, "Login required", "E-SES-EXPIRED"),
    ("gateway", "slow", 0, "Error", "E-TIMEOUT"),
    ("gateway", "rate-429", 1, "Paused", "E-RATE"),
    ("gateway", "maintenance-503", 1, "Error", "E-UPSTREAM"),
    ("gateway", "gw-ip-denied", 1, "Error", "E-GW-IP"),
    ("gateway", "no-account", 3, "Error", "E-ACC-NONE"),
    ("gateway", "garbage", 2, "Error", "E-API-CONNECT"),
    ("gateway", "perm-403", 3, "Error", "E-PERM-API"),
    ("gateway", "endpoint-404", 3, "Error", "E-ENDPOINT"),
    ("oauth1a", "invalid-consumer", 0, "Error", "E-OA1-CONSUMER"),
    ("oauth1a", "bad-signature", 0, "Error", "E-OA1-SIGNATURE"),
    ("oauth1a", "clock-skew", 0, "Error", "E-OA1-CLOCK"),
    ("oauth1a", "lst-mismatch", 0, "Error", "E-OA1-LST"),
    ("oauth1a", "ip-refused", 0, "Error", "E-IP"),
    ("oauth2", "oauth2-refused", 0, "Error", "E-OA2-TOKEN"),
    ("oauth2", "sso-refused", 1, "Error", "E-OA2-SSO"),
    ("gateway", "validate-refused", 2, "Login required", "E-GW-NOAUTH"),
    ("oauth2", "init-refused", 3, "Error", "E-SES-INIT"),
]
WORKING = sorted(set(SCENARIOS) - {scenario for _, scenario, *_ in FAILING})
"""What happens to orders, quotes and accounts, or is over by itself."""


@contextmanager
def signing_in(folder: Path, method: str, *scenarios: str) -> Iterator[tuple[Served, Simulator]]:
    """A service that meets the scenarios from its start on."""
    shutil.copytree(KEYS, folder / "keys")
    simulator = Simulator(SimConfig(start=START, seed=7), FastClock(START, PACE), keys=folder / "keys")
    simulator.control("POST", "scenario", {"scenario": list(scenarios)})
    given = environ_of(simulator, folder, method)
    del given["HOME"]
    settings = settings_of(folder / "state", BROKER_PROVIDER="ibkr", **given)

    def transport(_: Settings) -> Any:
        return simulator.transport("gateway" if method == "gateway" else "cloud")

    edges = Edges(transport=transport, clock=simulator.clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ibkit.service.brokers.open_connection", unhurried)
        boss = person("boss", role=Role.OWNER, scopes=frozenset({Scope.ADMIN, Scope.READ}))
        people = People(holders={"ada": person("ada"), "boss": boss})
        with served(settings, people=people, wait=False, open_edges=edges) as service:
            yield service, simulator


def texts(holding: int) -> dict[str, str]:
    names = ("oauth", "sso", "validated", "initialized")
    return dict(zip(names, (*TEXTS[:holding], *NOT[holding:]), strict=True))


def without_secrets(answer: Any, simulator: Simulator) -> bool:
    keys = simulator.users[0]
    secrets = (keys.access_token, keys.access_token_secret, keys.consumer_key, keys.client_id)
    return not any(secret.encode() in answer.raw for secret in secrets)


@pytest.mark.parametrize(("method", "scenario", "holding", "label", "code"), FAILING)
def test_a_failing_sign_in_says_how_far_it_came(
    tmp_path: Path, method: str, scenario: str, holding: int, label: str, code: str
) -> None:
    with signing_in(tmp_path, method, scenario) as (service, simulator):
        until(lambda: (service.ask("GET", "/api/ibkr/status").json["lastError"] or {}).get("code") == code, 60)
        answer = service.ask("GET", "/api/ibkr/status")
        told = answer.json
        assert told["diagnostics"] == texts(holding)
        assert (told["configured"], told["connected"], told["label"]) == (True, False, label)
        assert told["lastError"]["message"]
        assert told["lastError"]["remedy"]
        assert without_secrets(answer, simulator)


@pytest.mark.parametrize("method", ["gateway", "oauth1a", "oauth2"])
def test_a_scenario_that_touches_no_sign_in_leaves_all_four(tmp_path: Path, method: str) -> None:
    with signing_in(tmp_path, method, *WORKING) as (service, simulator):
        until(lambda: service.ask("GET", "/api/ibkr/status").json["connected"], 60)
        answer = service.ask("GET", "/api/ibkr/status")
        assert answer.json["diagnostics"] == texts(4)
        assert answer.json["label"] in ("Connected", "Connected (limited)")
        assert without_secrets(answer, simulator)


@pytest.mark.requirement("MON-11")
def test_a_login_that_the_broker_refuses_stands_in_the_list_of_failures(tmp_path: Path) -> None:
    with signing_in(tmp_path, "oauth1a", "invalid-consumer") as (service, _):

        def failures() -> list[tuple[str, str]]:
            return [
                (each["kind"], each["address"])
                for each in service.ask("GET", "/api/security/failures", token="boss").data
            ]

        until(lambda: ("broker", "local") in failures(), 60)
        before = len(failures())
        assert service.ask("POST", "/api/ibkr/test").json["success"] is False
        assert failures()[: len(failures()) - before] != []
        assert set(failures()) == {("broker", "local")}


@pytest.mark.requirement("MON-11")
def test_a_login_that_is_merely_not_there_is_no_failure_of_anybody(tmp_path: Path) -> None:
    with signing_in(tmp_path, "gateway", "maintenance-503") as (service, _):
        until(lambda: service.ask("GET", "/api/ibkr/status").json["lastError"] is not None, 60)
        assert service.ask("GET", "/api/security/failures", token="boss").data == []
