"""`ibkit auth`: the self-test, login, renewal, three-legged authorisation; against the simulator in process."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ibkit import cli
from ibkit.bootstrap import Edges, using
from ibkit.model import AuthMethod
from ibkit.sim.logins.users import VENDOR, VENDOR_CONSUMER_KEY
from ibkit.sim.serving.inprocess import CLOUD_URL, TRADING_MOMENT, Simulator
from sign_ins import KEYS
from simulators import Caller, make_simulator

Run = Callable[..., Any]
VAULT_KEY = "a1" * 16 + "b2" * 16


@pytest.fixture
def in_process(ibkit: Run, home: Path) -> Iterator[Callable[..., Simulator]]:
    """Starts a simulator with the named scenarios; from then on the command line talks to it."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(*scenarios: str, **more: Any) -> Simulator:
            simulator = make_simulator(*scenarios, **more)

            def transport(settings: Any) -> Any:
                return simulator.transport("gateway" if settings.method is AuthMethod.GATEWAY else "cloud")

            stack.enter_context(using(Edges(transport=transport, clock=simulator.clock)))
            return simulator

        yield start


def _settings(home: Path, simulator: Simulator, method: str, **changes: str | None) -> None:
    keys = simulator.users[0]
    given: dict[str, str | None] = {
        "APP_ENV": "test",
        "IBKR_AUTH_METHOD": method,
        "IBKR_ENV": "paper",
        "ENCRYPTION_KEY": VAULT_KEY,
        "IBKR_BASE_URL": CLOUD_URL,
    }
    if method == "oauth1a":
        given |= {
            "IB_CONSUMER_KEY": keys.consumer_key,
            "IB_ACCESS_TOKEN": keys.access_token,
            "IB_ACCESS_TOKEN_SECRET": keys.access_token_secret,
            "IB_SIGNATURE_KEY_PATH": str(_closed(home, keys.signature_key)),
            "IB_ENCRYPTION_KEY_PATH": str(_closed(home, keys.encryption_key)),
            "IB_DH_PARAM_PATH": str(keys.dhparam),
        }
    if method == "oauth2":
        given |= {
            "IBKR_CLIENT_ID": keys.client_id,
            "IBKR_CLIENT_KEY_ID": keys.client_key_id,
            "IBKR_PRIVATE_KEY_PATH": str(_closed(home, keys.oauth2_key)),
            "IBKR_CREDENTIAL": keys.user.username,
            "IBKR_ALLOWED_IP": "127.0.0.1",
        }
    _write(home, given | changes)


def _write(home: Path, given: dict[str, str | None]) -> None:
    file = home / ".env"
    file.write_text("".join(f'{name}="{value}"\n' for name, value in given.items() if value is not None))
    file.chmod(0o600)


def _closed(home: Path, key: Path) -> Path:
    """A copy with the rights a private key must have: git keeps none."""
    copy = home / "config/keys" / f"{key.parent.name}-{key.name}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.parent.chmod(0o700)
    copy.write_bytes(key.read_bytes())
    copy.chmod(0o600)
    return copy


def _paths(simulator: Simulator) -> list[str]:
    return [f"{entry['method']} {entry['path']}" for entry in _log(simulator)]


def _log(simulator: Simulator) -> list[dict[str, Any]]:
    return [entry if isinstance(entry, dict) else _as_dict(entry) for entry in simulator.requests]


def _as_dict(entry: Any) -> dict[str, Any]:
    return {"method": entry.method, "path": entry.path}


@pytest.mark.requirement("TST-03", "AUTH-02")
@pytest.mark.parametrize("method", ["gateway", "oauth1a", "oauth2"])
def test_all_tests_pass_and_no_order_is_sent(ibkit: Run, home: Path, in_process, method: str) -> None:
    simulator = in_process("ok")
    _settings(home, simulator, method)
    ran = ibkit("auth", "test")
    assert ran.code == 0, ran.out + ran.err
    assert ran.out.splitlines()[-1] == "All tests passed."
    assert "FAIL" not in ran.out
    assert "SPY 20261120" in ran.out
    orders = [path for path in _paths(simulator) if path.startswith("POST") and "/orders" in path]
    assert orders
    assert all(path.endswith("/orders/whatif") for path in orders)


@pytest.mark.requirement("TST-03")
@pytest.mark.parametrize(
    ("scenario", "method", "code", "exit_code"),
    [
        ("invalid-consumer", "oauth1a", "E-OA1-CONSUMER", 4),
        ("bad-signature", "oauth1a", "E-OA1-SIGNATURE", 4),
        ("clock-skew", "oauth1a", "E-OA1-CLOCK", 4),
        ("lst-mismatch", "oauth1a", "E-OA1-LST", 4),
        ("ip-refused", "oauth1a", "E-IP", 4),
        ("oauth2-refused", "oauth2", "E-OA2-TOKEN", 4),
        ("sso-refused", "oauth2", "E-OA2-SSO", 4),
        ("validate-refused", "oauth2", "E-OA2-VALIDATE", 4),
        ("init-refused", "oauth1a", "E-SES-INIT", 4),
        ("not-authenticated", "gateway", "E-GW-NOAUTH", 4),
        ("competing", "oauth1a", "E-SES-COMPETING", 4),
    ],
)
def test_each_trouble_is_named_with_its_remedy_and_ends_the_test(
    ibkit: Run, home: Path, in_process, scenario: str, method: str, code: str, exit_code: int
) -> None:
    simulator = in_process(scenario)
    _settings(home, simulator, method)
    ran = ibkit("auth", "test")
    assert f"[{code}]" in ran.out, ran.out + ran.err
    assert ran.code == exit_code
    assert "-> " in ran.out
    assert ran.out.splitlines()[-1].startswith("Failed at: ")
    assert "accounts" not in ran.out
    assert not any("marketdata" in path for path in _paths(simulator))


@pytest.mark.requirement("AUTH-07")
def test_a_token_that_is_not_proven_leaves_no_file(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("lst-mismatch")
    _settings(home, simulator, "oauth1a")
    assert ibkit("auth", "login").code == 4
    assert not list(home.rglob("*.grant"))


@pytest.mark.requirement("TST-03")
def test_a_missing_key_file_is_found_before_anything_is_sent(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok")
    _settings(home, simulator, "oauth1a", IB_SIGNATURE_KEY_PATH="nowhere.pem")
    ran = ibkit("auth", "test")
    assert ran.code == 3
    assert "E-KEY-MISSING" in ran.out
    assert "nowhere.pem" in ran.out
    assert _paths(simulator) == []


@pytest.mark.requirement("TST-03")
def test_without_settings_the_test_says_what_is_missing(ibkit: Run, home: Path) -> None:
    ran = ibkit("auth", "test", "--json")
    assert ran.code == 3
    assert ran.json["passed"] is False
    assert "E-NOT-CONFIGURED" in {step["code"] for step in ran.json["steps"]}


@pytest.mark.requirement("TST-03")
def test_a_closed_market_is_a_warning(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok", start=TRADING_MOMENT + timedelta(hours=8))
    _settings(home, simulator, "oauth1a")
    ran = ibkit("auth", "test")
    assert ran.code == 0, ran.out + ran.err
    assert "market is closed" in ran.out
    assert ran.out.splitlines()[-1].startswith("All tests passed, with ")


@pytest.mark.requirement("TST-03")
def test_no_market_data_is_a_failure_while_the_market_is_open(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("no-market-data")
    _settings(home, simulator, "oauth1a")
    ran = ibkit("auth", "test", "--json")
    assert ran.code != 0
    failed = {step["name"]: step["code"] for step in ran.json["steps"] if step["mark"] == "FAIL"}
    assert failed["quote SPY"] == "E-MD-NONE"
    assert {"positions", "orders"} <= {step["name"] for step in ran.json["steps"] if step["mark"] == "OK"}


@pytest.mark.requirement("AUTH-03")
def test_login_asks_for_token_session_and_accounts_and_nothing_else(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok")
    _settings(home, simulator, "oauth1a")
    ran = ibkit("auth", "login", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["accounts"] == [account.id for account in simulator.users[0].user.accounts]
    paths = [path.replace("/v1/api", "") for path in _paths(simulator)]
    assert paths[0] == "POST /oauth/live_session_token"
    assert paths[1] == "POST /iserver/auth/ssodh/init"
    assert paths[-1] == "GET /iserver/accounts"
    assert set(paths[2:-1]) <= {"POST /iserver/auth/status", "GET /iserver/auth/status"}


@pytest.mark.requirement("AUTH-09", "AUTH-08")
def test_a_second_login_uses_the_kept_token_and_rotate_gets_a_new_one(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok")
    _settings(home, simulator, "oauth1a")

    def handshakes() -> int:
        return sum("live_session_token" in path for path in _paths(simulator))

    for _ in range(2):
        assert ibkit("auth", "login").code == 0
    assert handshakes() == 1
    assert ibkit("auth", "rotate").code == 0
    assert handshakes() == 2
    (file,) = home.rglob("*.grant")
    file.write_bytes(file.read_bytes()[:50])
    assert ibkit("auth", "login").code == 0
    assert handshakes() == 3
    secret = next(iter(simulator.world.logins.access_tokens.values())).secret
    for path in (path for path in home.rglob("*") if path.is_file() and "keys" not in path.parts):
        assert secret not in path.read_bytes()
        assert secret.hex().encode() not in path.read_bytes()


@pytest.mark.requirement("AUTH-09")
def test_without_a_vault_key_nothing_is_kept(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok")
    _settings(home, simulator, "oauth1a", ENCRYPTION_KEY=None)
    assert ibkit("auth", "login").code == 0
    assert not list(home.rglob("*.grant"))
    ran = ibkit("auth", "rotate")
    assert ran.code == 0
    assert "not kept" in ran.err


def test_the_gateway_has_nothing_to_rotate(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok")
    _settings(home, simulator, "gateway")
    ran = ibkit("auth", "rotate")
    assert ran.code == 0
    assert "Nothing to rotate" in ran.out
    assert _paths(simulator) == []


def _vendor(home: Path, **changes: str | None) -> None:
    given: dict[str, str | None] = {
        "APP_ENV": "test",
        "IBKR_AUTH_METHOD": "oauth1a",
        "ENCRYPTION_KEY": VAULT_KEY,
        "IBKR_BASE_URL": CLOUD_URL,
        "IB_CONSUMER_KEY": VENDOR_CONSUMER_KEY,
        "IB_SIGNATURE_KEY_PATH": str(_closed(home, KEYS / VENDOR / "private_signature.pem")),
        "IB_ENCRYPTION_KEY_PATH": str(_closed(home, KEYS / VENDOR / "private_encryption.pem")),
        "IB_DH_PARAM_PATH": str(KEYS / "dhparam.pem"),
    }
    _write(home, given | changes)


def _agree(simulator: Simulator, url: str) -> str:
    """What the user does in the browser; gives the verifier."""
    user = simulator.users[0].user
    parts = urlsplit(url)
    form = f"username={user.username}&password={user.password}&decision=allow".encode()
    answer = Caller(simulator, "cloud")(
        "POST",
        f"{parts.path}?{parts.query}",
        form,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    landed = answer.headers.get("location", "")
    query = parse_qs(urlsplit(landed).query)
    if "oauth_verifier" in query:
        return query["oauth_verifier"][0]
    found = re.search(rb"Verifier: ([0-9a-f]+)", answer.body)
    assert found, answer.body
    return found[1].decode()


@pytest.mark.requirement("AUTH-05", "AUTH-03")
def test_a_third_party_is_authorised_once_and_for_all(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok")
    _vendor(home)
    began = ibkit("auth", "authorize")
    assert began.code == 0, began.err
    assert "compliance approval" in began.out
    found = re.search(r"https://\S+/authorize\?\S+", began.out)
    assert found
    url = found[0]
    verifier = _agree(simulator, url)

    done = ibkit("auth", "authorize", "--verifier", verifier)
    assert done.code == 0, done.err
    assert "Authorised (paper)" in done.out
    assert ibkit("auth", "authorize", "--verifier", verifier).code == 4, "a verifier works once"

    assert ibkit("auth", "login").code == 0
    paths = [path.rpartition("/")[2] for path in _paths(simulator) if "/oauth/" in path]
    assert paths == ["request_token", "access_token", "live_session_token"]
    assert ibkit("verify").code == 0


@pytest.mark.requirement("AUTH-03", "AUTH-05")
def test_login_without_an_access_token_goes_the_three_legged_way(
    ibkit: Run, home: Path, in_process, monkeypatch
) -> None:
    simulator = in_process("ok")
    _vendor(home, ENCRYPTION_KEY=None)

    class _Person(io.StringIO):
        def readline(self, *_: int) -> str:
            (token,) = simulator.world.logins.request_tokens
            return _agree(simulator, f"{CLOUD_URL}/authorize?oauth_token={token}") + "\n"

    monkeypatch.setattr("sys.stdin", _Person())
    ran = ibkit("auth", "login", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["method"] == "oauth1a"
    assert "this run only" in ran.err
    assert not (home / ".local").exists() or not list(home.rglob("*.access"))


@pytest.mark.requirement("AUTH-05")
def test_a_request_token_ends_after_ten_minutes(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok")
    _vendor(home)
    url = ibkit("auth", "authorize", "--json").json["url"]
    verifier = _agree(simulator, url)
    simulator.advance(601)
    ran = ibkit("auth", "authorize", "--verifier", verifier, "--json")
    assert ran.code == 4
    assert ran.error["code"] == "E-OA1-TOKEN"


@pytest.mark.requirement("AUTH-05", "AUTH-09")
def test_a_verifier_is_not_spent_where_the_token_could_not_be_kept(ibkit: Run, home: Path, in_process) -> None:
    simulator = in_process("ok")
    _vendor(home, ENCRYPTION_KEY=None)
    began = ibkit("auth", "authorize", "--json").json
    assert began["kept"] is False
    verifier = _agree(simulator, began["url"])
    refused = ibkit("auth", "authorize", "--verifier", verifier, "--token", began["request_token"], "--json")
    assert (refused.code, refused.error["code"]) == (3, "E-ENC-KEY")
    _vendor(home)
    assert ibkit("auth", "authorize", "--verifier", verifier, "--token", began["request_token"]).code == 0


@pytest.mark.requirement("AUTH-05", "AUTH-01")
def test_a_third_party_without_a_token_is_told_of_authorize(ibkit: Run, home: Path) -> None:
    _vendor(home)
    ran = ibkit("accounts", "list", "--json")
    assert ran.code == 3
    assert "ibkit auth authorize" in "\n".join(ran.error["remedy"])


def test_every_command_of_auth_has_help() -> None:
    for name in ("test", "login", "rotate", "authorize"):
        assert cli.run(["auth", name, "--help"]) == 0
