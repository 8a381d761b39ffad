"""Check lines of the configuration's requirements that are about whole commands, as a user would type them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service_desks import fast_mock, served, settings_of

Run = Callable[..., Any]
Make = Callable[..., Any]


@pytest.mark.requirement("CFG-03", "AUTH-01")
def test_a_method_that_was_begun_names_what_is_missing(ibkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_CLIENT_ID", "CLIENT77")
    monkeypatch.setenv("IBKR_CLIENT_KEY_ID", "main")
    monkeypatch.setenv("IBKR_CREDENTIAL", "trader")
    ran = ibkit("accounts", "list", "--json")
    assert (ran.code, ran.error["code"]) == (3, "E-CONFIG-PARTIAL")
    assert "IBKR_PRIVATE_KEY" in ran.error["message"]
    assert "IBKR_CLIENT_ID" not in ran.error["message"]
    assert ibkit("status").code == 3


@pytest.mark.requirement("CFG-04")
def test_a_broker_that_is_none_is_refused_with_those_there_are(ibkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PROVIDER", "xyz")
    ran = ibkit("status")
    assert ran.code == 3
    assert "ibkr, mock" in ran.err
    assert "BROKER_PROVIDER" in ran.err


@pytest.mark.requirement("CFG-05")
@pytest.mark.parametrize(
    "order",
    [
        ("orders", "place", "buy", "1", "AAPL"),
        ("sell-option", "--side", "put"),
    ],
    ids=["an order", "a sold option"],
)
def test_a_paper_account_under_live_settings_gets_no_order(bench: Make, home: Path, order: tuple[str, ...]) -> None:
    ib = bench(user=2)  # a login of live money
    with (home / ".env").open("a") as env:
        env.write("IBKR_ACCOUNT_ID=DU1234567\n")
    ran = ib.run(*order, "--live", "--yes-live", "DU1234567", "--json")
    assert (ran.code, ran.error["code"]) == (5, "E-ACC-ENV"), ran.err
    assert ib.orders() == []
    assert ib.posted() == []


@pytest.mark.requirement("CFG-06")
def test_production_is_not_served_with_a_short_secret(ibkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("JWT_SECRET", "short")
    ran = ibkit("serve", "--port", "0")
    assert ran.code == 3
    assert "JWT_SECRET" in ran.err
    assert "short" not in ran.err.replace("use at least", "")


@pytest.mark.requirement("CFG-06", "ERR-02")
def test_in_production_a_fault_is_told_by_its_trace_id_and_only_the_log_has_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault within")

    monkeypatch.setattr("ibkit.service.app.page_of", broken)
    production = {"JWT_SECRET": "x" * 40, "ENCRYPTION_KEY": "0a1b" * 16, "TRUSTED_PROXY": "192.0.2.1"}
    settings = settings_of(tmp_path, **production)
    import dataclasses

    # The mock broker is refused in production, so the profile is put beside it by hand: what is told must not differ.
    settings = dataclasses.replace(settings, general=dataclasses.replace(settings.general, app_env="production"))
    with caplog.at_level(logging.ERROR), fast_mock(), served(settings, wait=False) as service:
        answer = service.ask("GET", "/broker-order")
    assert (answer.status, answer.code) == (500, "E-INTERNAL")
    for inward in (b"Traceback", b"RuntimeError", b"a fault within", b".py", str(tmp_path).encode()):
        assert inward not in answer.raw
    assert set(answer.json["error"]) == {"code", "message", "remedy", "trace_id", "details"}
    (line,) = [each for each in caplog.records if each.message == "a fault of the service"]
    assert line.trace_id == answer.json["error"]["trace_id"]  # type: ignore[attr-defined]
    assert line.exc_info is not None
    assert "a fault within" in caplog.text
    assert "test_configuration_checks.py" in caplog.text
