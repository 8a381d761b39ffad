"""What programs use of the package: `connect`, `IBRestClient`, `test_connection`; and how it is put together."""

from __future__ import annotations

import gc
import inspect
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ibkit
from ibkit import bootstrap
from ibkit.bootstrap import client_of, open_desk, run, using
from ibkit.bootstrap.clients import auth_of, clock_of
from ibkit.bootstrap.tls import default_address, transport_for
from ibkit.clock import SystemClock
from ibkit.errors import ConfigError, SessionExpired
from ibkit.model import GatewayLogin, OAuth1Credentials, OrderId, Secret
from ibkit.settings import load
from ibkit.sim.serving.inprocess import CLOUD_URL, Simulator
from programs import edges_of, environ_of
from simulators import KEYS, make_simulator


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    made = make_simulator()
    monkeypatch.setattr("os.environ", environ_of(made, tmp_path))
    monkeypatch.chdir(tmp_path)
    with using(edges_of(made)):
        yield made


@pytest.mark.requirement("AUTH-02")
def test_connect_takes_everything_from_the_settings(simulator: Simulator) -> None:
    async def work() -> Any:
        async with ibkit.connect() as ib:
            return await ib.summary()

    assert run(work).account_id == "DU1000001"


@pytest.mark.requirement("AUTH-02")
def test_connect_with_explicit_arguments_reads_no_settings(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = simulator.users[0]
    credentials = OAuth1Credentials(
        consumer_key=keys.consumer_key,
        access_token=keys.access_token,
        access_token_secret=Secret(keys.access_token_secret),
        signature_key=Secret(keys.signature_key.read_text()),
        encryption_key=Secret(keys.encryption_key.read_text()),
        dh_params=keys.dhparam.read_text(),
    )
    monkeypatch.setattr("os.environ", {"IBKR_ENV": "nonsense"})

    async def work() -> Any:
        async with ibkit.connect(
            credentials=credentials,
            base_url=CLOUD_URL,
            account_id="DU1000001",
            clock=simulator.clock,
            transport=simulator.transport("cloud"),
            keep_alive=False,
        ) as ib:
            return await ib.accounts()

    assert [account.account_id for account in run(work)] == ["DU1000001"]


@pytest.mark.requirement("TRD-13")
def test_the_fixed_signatures() -> None:
    sale = list(inspect.signature(ibkit.IBRestClient.sell_option_with_stop).parameters.values())[1:]
    first = [(parameter.name, parameter.default) for parameter in sale[:6]]
    empty = inspect.Parameter.empty
    assert first == [
        ("symbol", empty),
        ("strike", empty),
        ("right", empty),
        ("stop_multiple", 3.0),
        ("quantity", 1),
        ("expiry", None),
    ]
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in sale[6:])
    made = inspect.signature(ibkit.IBRestClient.__init__).parameters
    assert (made["consumer_key"].default, made["realm"].default) == (None, "limited_poa")
    assert list(inspect.signature(ibkit.test_connection).parameters) == ["username", "password"]


@pytest.mark.requirement("TRD-01", "TRD-13")
def test_the_blocking_client_sells_and_protects(simulator: Simulator) -> None:
    with ibkit.IBRestClient() as ib:
        assert ib.account_id == "DU1000001"
        assert ib.get_account_summary().net_liquidation
        assert ib.get_positions() == ()
        assert ib.get_market_data(756733).bid
        result = ib.sell_option_with_stop("SPY", 629, "P", stop_multiple=5, quantity=3)
        assert result.success, result.message
        assert result.credit == result.entry_price * 300
        assert len(ib.get_positions()) == 1


@pytest.mark.requirement("TRD-01")
def test_after_the_with_block_no_thread_is_left(simulator: Simulator) -> None:
    before = threading.active_count()
    with ibkit.IBRestClient() as ib:
        ib.accounts()
    gc.collect()
    assert threading.active_count() <= before + 1  # anyio keeps one idle worker thread for a while


@pytest.mark.requirement("TRD-01")
@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        ("invalid-consumer", "E-OA1-CONSUMER"),
        ("bad-signature", "E-OA1-SIGNATURE"),
        ("lst-mismatch", "E-OA1-LST"),
        ("clock-skew", "E-OA1-CLOCK"),
        ("competing", "E-SES-COMPETING"),
        ("init-refused", "E-SES-INIT"),
        ("no-account", "E-ACC-NONE"),
        ("multi-account", "E-ACC-AMBIGUOUS"),
    ],
)
def test_connect_gives_false_and_the_reason(simulator: Simulator, scenario: str, code: str) -> None:
    simulator.control("POST", "scenario", {"scenario": scenario})
    client = ibkit.IBRestClient()
    assert client.connect() is False
    assert client.last_error is not None
    assert client.last_error.code == code
    client.close()


@pytest.mark.requirement("TRD-01")
def test_connect_without_settings_is_false_too(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.environ", {"HOME": str(tmp_path)})
    client = ibkit.IBRestClient()
    assert client.connect() is False
    assert client.last_error is not None
    assert client.last_error.code == "E-NOT-CONFIGURED"
    with pytest.raises(ConfigError), ibkit.IBRestClient():
        pass


@pytest.mark.requirement("AUTH-18")
@pytest.mark.parametrize(
    ("scenario", "success", "code", "said"),
    [
        ("ok", True, "", ""),
        ("not-authenticated", False, "E-GW-NOAUTH", "Authentication failed"),
        ("other-user", False, "E-SES-USER", "Gateway is logged in as"),
    ],
)
def test_test_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, success: bool, code: str, said: str
) -> None:
    made = make_simulator(scenario)
    monkeypatch.setattr("os.environ", environ_of(made, tmp_path, "gateway"))
    monkeypatch.chdir(tmp_path)
    with using(edges_of(made)):
        found = ibkit.test_connection("simpaper1", "correct-horse-battery")

    assert (found.success, found.code) == (success, code)
    assert found.error.startswith(said)
    assert "correct-horse" not in f"{found} {made.control('GET', 'requests')}"


@pytest.mark.requirement("AUTH-18")
def test_test_connection_with_no_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_simulator()
    made.up = False
    monkeypatch.setattr("os.environ", environ_of(made, tmp_path, "gateway"))
    monkeypatch.chdir(tmp_path)
    with using(edges_of(made)):
        found = ibkit.test_connection("simpaper1", "x")
    assert (found.success, found.code) == (False, "E-GW-DOWN")
    assert found.error.startswith("Connection refused")


@pytest.mark.requirement("AUTH-17")
def test_ibkrs_hosts_are_verified_whatever_the_settings_say(tmp_path: Path) -> None:
    from ibkit.client.transports.pyreqwest import PyreqwestTransport

    environ = {
        "IBKR_AUTH_METHOD": "oauth1a",
        "IB_CONSUMER_KEY": "k",
        "IB_ACCESS_TOKEN": "t",
        "IB_ACCESS_TOKEN_SECRET": "s",
        "IBKR_GATEWAY_CA": "nowhere.pem",
    }
    transport = transport_for(load(environ=environ, directory=tmp_path))
    assert isinstance(transport, PyreqwestTransport)
    assert transport._ca is None
    with pytest.raises(ConfigError):
        load(environ={**environ, "IBKR_BASE_CA": "own.pem"}, directory=tmp_path)


@pytest.mark.requirement("AUTH-17")
def test_a_certificate_file_that_is_none_is_named(tmp_path: Path) -> None:
    environ = {"IBKR_AUTH_METHOD": "gateway", "IBKR_GATEWAY_CA": str(tmp_path / "ca.pem")}
    with pytest.raises(ConfigError, match="IBKR_GATEWAY_CA"):
        transport_for(load(environ=environ, directory=tmp_path))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="no PEM certificate"):
        transport_for(load(environ=environ, directory=tmp_path))


def test_an_hour_that_nobody_tells_stops_the_start(tmp_path: Path) -> None:
    settings = load(environ={"IBKR_AUTH_METHOD": "gateway", "APP_CLOCK": "http://127.0.0.1:9"}, directory=tmp_path)
    with pytest.raises(ConfigError, match="APP_CLOCK"):
        clock_of(settings)
    plain = load(environ={"IBKR_AUTH_METHOD": "gateway"}, directory=tmp_path)
    assert isinstance(clock_of(plain), SystemClock)


@pytest.mark.requirement("TRD-17")
def test_a_read_only_client_refuses_orders_at_the_one_place_all_calls_pass(
    simulator: Simulator, tmp_path: Path
) -> None:
    settings = load(environ={**environ_of(simulator, tmp_path), "IBKR_READ_ONLY": "true"}, directory=tmp_path)

    async def work() -> None:
        async with client_of(settings) as ib:
            refused = await ib.cancel(OrderId("1"))
            assert refused.error is not None
            assert refused.error.code == "E-READONLY"
            assert await ib.positions() == ()

    run(work)
    assert not [entry for entry in simulator.requests if entry.endpoint == "CANCEL_ORDER"]


def test_the_desk_is_for_one_account_and_follows_the_settings(simulator: Simulator, tmp_path: Path) -> None:
    environ = {**environ_of(simulator, tmp_path), "MAX_STRIKE_DISTANCE_PCT": "50", "FILL_TIMEOUT": "5"}
    settings = load(environ=environ, directory=tmp_path)

    async def work() -> Any:
        async with open_desk(settings) as desk:
            assert desk.account_id == "DU1000001"
            assert (await desk.books.paper_validated()) is False
            return await desk.seller().sell_option_with_stop("SPY", Decimal(620), "P", 3, 1)

    assert run(work).success
    assert (tmp_path / ".local/state/ibkit/journal.db").stat().st_mode & 0o077 == 0


def test_explicit_credentials_go_where_they_belong() -> None:
    assert default_address(GatewayLogin(), None).base == "https://localhost:5000"
    assert default_address(GatewayLogin(), "https://localhost:5005/v1/api/").base == "https://localhost:5005"
    with pytest.raises(ConfigError):
        default_address(GatewayLogin(), "localhost")
    assert auth_of(GatewayLogin(), base_url="https://localhost:5000").method.value == "gateway"


def test_the_room_shows_what_it_has() -> None:
    assert bootstrap.__all__ == sorted(bootstrap.__all__)
    assert all(getattr(bootstrap, name) is not None for name in bootstrap.__all__)
    with pytest.raises(AttributeError):
        _ = bootstrap.nothing
    assert KEYS.is_dir()
    assert issubclass(SessionExpired, ibkit.AuthError)
