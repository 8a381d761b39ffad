"""No secret gets out: not in logs, errors, their locals, streams, addresses, files, nor the simulator's request log.

Whatever is put into a `Secret` during a test is a canary, and so are the assertions, the Diffie-Hellman secrets and
the Authorization headers that are seen on the wire. Each is searched for in every form it may take.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import anyio
import pytest

import ibkit as package
from canaries import PASSPHRASE, PLANTED, Canaries, laid_bare
from clients import make_auth
from ibkit import cli
from ibkit.bootstrap import Edges, using
from ibkit.client.auth.grant import Auth
from ibkit.client.client import Client
from ibkit.client.transports.aiohttp import AiohttpTransport
from ibkit.client.transports.pyreqwest import PyreqwestTransport
from ibkit.errors import IbkitError, OutcomeUnknown, Unreachable
from ibkit.model import AuthMethod, Conid, OAuth1Credentials, Secret
from ibkit.settings import load
from ibkit.sim.serving.inprocess import CLOUD_URL, GATEWAY_URL, Simulator
from ibkit.store.database import to_engine
from ibkit.wire import dh
from ibkit.wire.http import Request, Response
from simulators import KEYS, make_simulator

METHODS = list(AuthMethod)


@pytest.fixture
def planted() -> Canaries:
    """Secrets in settings: those of `PLANTED`, and the simulator's keys."""
    found = Canaries()
    for name, value in PLANTED.items():
        found.add(name, value)
    for path in KEYS.rglob("private_*.pem"):
        found.add(path.name, path.read_text())
    return found


@pytest.fixture
def canaries(planted: Canaries) -> Iterator[Canaries]:
    """Those, and every value that becomes a `Secret` during the test."""
    with planted.learning():
        yield planted


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was logged by anybody at DEBUG, extra fields too."""
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


class Tapped:
    """A transport that learns what is secret on the wire, and at one request fails in a chosen way."""

    def __init__(self, inner: Any, canaries: Canaries, fail_at: int = -1, how: str = "") -> None:
        self.inner, self.canaries, self.fail_at, self.how = inner, canaries, fail_at, how
        self.urls: list[str] = []

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.urls.append(request.url)
        self._learn(request)
        failing = len(self.urls) - 1 == self.fail_at
        if failing and self.how in RAISES:
            raise RAISES[self.how]()
        response = await self.inner.send(request, timeout_s=timeout_s)
        self._learn_answer(response)
        return ANSWERS[self.how](request, response) if failing else response

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _learn(self, request: Request) -> None:
        if "Authorization" in request.headers:
            self.canaries.add("Authorization header", request.headers["Authorization"])
        if request.url.endswith("/token"):
            self.canaries.add("client assertion", dict(parse_qsl(request.body.decode()))["client_assertion"])
        elif request.url.endswith("/sso-sessions"):
            self.canaries.add("session JWS", request.body)

    def _learn_answer(self, response: Response) -> None:
        try:
            told = json.loads(response.body)
        except ValueError:
            return
        if isinstance(told, dict) and isinstance(told.get("access_token"), str):
            self.canaries.add("token in an answer", told["access_token"])


def _echo(request: Request) -> str:
    return f"{request.headers.get('Authorization', '')} {request.body.decode('latin-1')}"


RAISES: dict[str, Callable[[], Exception]] = {
    "refused": lambda: Unreachable("connection refused", details={"cause": "refused"}),
    "lost": lambda: OutcomeUnknown("the connection broke", details={"cause": "broken"}),
    "fault of ours": lambda: RuntimeError("something nobody thought of"),
}
ANSWERS: dict[str, Callable[[Request, Response], Response]] = {
    "401": lambda request, _: Response(401, {}, b'{"error":"not authenticated","statusCode":401}'),
    "401 that echoes": lambda request, _: Response(401, {}, json.dumps({"error": _echo(request)}).encode()),
    "401 that echoes as text": lambda request, _: Response(401, {}, _echo(request).encode()),
    "500 that echoes": lambda request, _: Response(500, {}, json.dumps({"error": _echo(request)}).encode()),
    "cut answer": lambda _, real: Response(real.status, real.headers, real.body[:-1]),
    "another shape": lambda _, real: Response(real.status, real.headers, b"[" + real.body + b"]"),
    "nested": lambda _, real: Response(
        real.status, real.headers, b'{"error":' + json.dumps(real.body.decode()).encode() + b"}"
    ),
    "no JSON": lambda _, real: Response(real.status, real.headers, b"answer: " + real.body),
    "not UTF-8": lambda _, real: Response(real.status, real.headers, real.body + b"\xff\xfe"),
    "half a proof": lambda _, real: Response(
        real.status,
        real.headers,
        real.body.replace(b'live_session_token_signature":"', b'live_session_token_signature":"0'),
    ),
    "a weak half": lambda _, real: Response(
        real.status, real.headers, real.body.replace(b'diffie_hellman_response":"', b'diffie_hellman_response":"-')
    ),
}


def fresh_auth(simulator: Simulator, method: AuthMethod, seed: str) -> Auth:
    auth = make_auth(simulator, method)
    if method is not AuthMethod.GATEWAY:
        auth._random = random.Random(f"secrets/{seed}").randbytes  # type: ignore[attr-defined]  # no nonce twice
    return auth


def client_over(simulator: Simulator, method: AuthMethod, transport: Any, seed: str) -> Client:
    return Client(
        auth=fresh_auth(simulator, method, seed),
        base_url=GATEWAY_URL if method is AuthMethod.GATEWAY else CLOUD_URL,
        transport=transport,
        clock=simulator.clock,
        keep_alive_s=None,
        chance=lambda: 0.5,
    )


def face_of(method: AuthMethod) -> Any:
    return "gateway" if method is AuthMethod.GATEWAY else "cloud"


def sign_in(simulator: Simulator, method: AuthMethod, canaries: Canaries, fail_at: int, how: str) -> tuple[Tapped, Any]:
    """One sign-in and a call after it; gives the error it ended with, if any."""
    simulator.advance(120)
    tapped = Tapped(simulator.transport(face_of(method)), canaries, fail_at, how)

    async def work() -> None:
        async with client_over(simulator, method, tapped, f"{fail_at}/{how}") as ib:
            for thing in (ib, ib.keeper, ib.keeper.opener, ib.auth):
                assert not canaries.found_in(f"{thing!r} {vars(thing)!r}"), thing
            assert not canaries.found_in(repr(ib.keeper.proof))
            await ib.snapshot([Conid(756733)])
            await ib.logout()

    try:
        anyio.run(work)
    except Exception as error:  # noqa: BLE001  # faults of ours are among what is tried
        return tapped, error
    return tapped, None


@pytest.fixture
def exchanged(canaries: Canaries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffie-Hellman's own secrets are canaries too."""
    for name in ("private_exponent", "shared_secret"):
        made = getattr(dh, name)

        def spied(*given: Any, made: Any = made, name: str = name) -> int:
            value: int = made(*given)
            canaries.add(name, value)
            return value

        monkeypatch.setattr(dh, name, spied)


@pytest.mark.requirement("VLT-15", "MON-13", "AUTH-08")
@pytest.mark.usefixtures("exchanged")
@pytest.mark.parametrize("method", METHODS)
def test_a_sign_in_that_fails_anywhere_tells_no_secret(
    method: AuthMethod, canaries: Canaries, logged: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    simulator = make_simulator()
    whole, error = sign_in(simulator, method, canaries, -1, "")
    assert error is None, "".join(traceback.format_exception(error))
    steps = len(whole.urls)
    assert len(canaries) > (4 if method is AuthMethod.GATEWAY else 8)
    leaks: list[str] = []
    failures = 0
    for at in range(steps):
        for how in (*RAISES, *ANSWERS):
            tapped, error = sign_in(simulator, method, canaries, at, how)
            leaks += [f"url: {name}" for url in tapped.urls for name in canaries.found_in(url)]
            if error is not None:
                failures += 1
                told = laid_bare(error)
                leaks += [f"{tapped.urls[at]} {how}: {name}" for name in canaries.found_in(told)]
    assert failures > steps * 3
    assert not leaks, "\n".join(dict.fromkeys(leaks))
    said = capfd.readouterr()
    assert not canaries.found_in(logged() + said.out + said.err)
    log = json.dumps([dataclasses.asdict(entry) for entry in simulator.requests], default=str)
    assert len(simulator.requests) > steps
    assert not canaries.found_in(log)


def broken_credentials(simulator: Simulator) -> dict[str, OAuth1Credentials]:
    """Keys and secrets as people spoil them."""
    auth = make_auth(simulator, AuthMethod.OAUTH1A)
    good: OAuth1Credentials = auth._credentials  # type: ignore[attr-defined]
    signing, opening = good.signature_key.reveal(), good.encryption_key.reveal()
    assert good.access_token_secret is not None
    sealed = good.access_token_secret.reveal()

    def with_(**changes: Any) -> OAuth1Credentials:
        return dataclasses.replace(good, **{name: Secret(value) for name, value in changes.items()})

    lines = signing.splitlines()
    middle = len(lines) // 2
    return {
        "key cut": with_(signature_key="\n".join(lines[:middle])),
        "key without a line": with_(signature_key="\n".join(lines[:middle] + lines[middle + 1 :])),
        "key with a letter changed": with_(signature_key=signing.replace(lines[middle], lines[middle][::-1])),
        "key with a stray mark": with_(signature_key=signing.replace(lines[middle], "*" + lines[middle][1:])),
        "two keys": with_(encryption_key=opening + signing),
        "keys swapped": with_(signature_key=opening, encryption_key=signing),
        "one key twice": with_(encryption_key=signing),
        "no key at all": with_(encryption_key=sealed),
        "not base64": with_(access_token_secret="!" + sealed),
        "base64 cut": with_(access_token_secret=sealed[:-9]),
        "not ASCII": with_(access_token_secret=sealed[:-1] + "é"),
        "another secret": with_(access_token_secret=sealed[20:40] + sealed[20:]),
        "wrong passphrase": with_(
            signature_key="-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
            + "\n".join(lines[1:-1])
            + "\n-----END ENCRYPTED PRIVATE KEY-----\n",
            key_passphrase=PASSPHRASE,
        ),
    }


@pytest.mark.requirement("VLT-15", "CFG-07", "AUTH-08")
def test_spoilt_keys_and_secrets_are_not_quoted(canaries: Canaries) -> None:
    simulator = make_simulator()
    leaks: list[str] = []
    for what, credentials in broken_credentials(simulator).items():
        auth = make_auth(simulator, AuthMethod.OAUTH1A)
        auth._credentials = credentials  # type: ignore[attr-defined]
        with pytest.raises(IbkitError) as raised:
            next(auth.handshake(simulator.clock.now))
        leaks += [f"{what}: {name}" for name in canaries.found_in(laid_bare(raised.value))]
        leaks += [f"{what}: repr: {name}" for name in canaries.found_in(repr(credentials))]
    assert len(canaries) > 10
    assert not leaks, "\n".join(leaks)


def environ_of(simulator: Simulator, home: Path, method: str) -> dict[str, str]:
    keys = simulator.users[0]
    for path in (keys.signature_key, keys.encryption_key, keys.oauth2_key):
        path.chmod(0o600)  # a checkout does not keep the modes of private keys
    return {
        "HOME": str(home),
        "APP_ENV": "test",
        "IBKR_AUTH_METHOD": method,
        "IBKR_API_ENDPOINT": GATEWAY_URL,
        "IBKR_BASE_URL": CLOUD_URL,
        "IB_CONSUMER_KEY": keys.consumer_key,
        "IB_ACCESS_TOKEN": keys.access_token,
        "IB_ACCESS_TOKEN_SECRET": keys.access_token_secret,
        "IB_SIGNATURE_KEY_PATH": str(keys.signature_key),
        "IB_ENCRYPTION_KEY_PATH": str(keys.encryption_key),
        "IB_DH_PARAM_PATH": str(keys.dhparam),
        "IBKR_CLIENT_ID": keys.client_id,
        "IBKR_CLIENT_KEY_ID": keys.client_key_id,
        "IBKR_PRIVATE_KEY": keys.oauth2_key.read_text().replace("\n", "\\n"),
        "IBKR_CREDENTIAL": keys.user.username,
        "IBKR_ALLOWED_IP": "127.0.0.1",
        "DB_NAME": "ibkit",
        "DB_USER": "ibkit",
        **PLANTED,
    }


@pytest.mark.requirement("VLT-15", "CFG-02")
def test_settings_show_no_secret(planted: Canaries, tmp_path: Path) -> None:
    simulator = make_simulator()
    planted.add("access token secret", simulator.users[0].access_token_secret)
    environ = environ_of(simulator, tmp_path, "oauth1a")
    for method in ("gateway", "oauth1a", "oauth2"):
        settings = load(environ=environ | {"IBKR_AUTH_METHOD": method}, directory=tmp_path)
        for shown in (settings, settings.sources, settings.credentials(), settings.database_url, settings.choice):
            assert not planted.found_in(f"{shown!r} {shown!s} {shown}"), type(shown)
        for area in dataclasses.fields(settings):
            assert not planted.found_in(repr(getattr(settings, area.name))), area.name


@pytest.mark.requirement("VLT-15", "CFG-03", "VLT-04")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENCRYPTION_KEY", PLANTED["ENCRYPTION_KEY"][:-1]),
        ("ENCRYPTION_KEY", PLANTED["ENCRYPTION_KEY"][:-1] + "g"),
        ("JWT_SECRET", PLANTED["JWT_SECRET"][:20]),
        ("JWT_SECRET", PLANTED["ENCRYPTION_KEY"]),
        ("DATABASE_URL", f"mysql://me:{PLANTED['DB_PASSWORD']}@host/db"),
        ("DATABASE_URL", f"postgresql://me:{PLANTED['DB_PASSWORD']}@[host/db"),
        ("DATABASE_URL", f"postgresql://me:{PLANTED['DB_PASSWORD']}@host:port/db"),
        ("IBKR_BASE_URL", f"https://me:{PLANTED['DB_PASSWORD']}@api.ibkr.com"),
        ("IBKR_API_ENDPOINT", f"https://me:{PLANTED['DB_PASSWORD']}@localhost:5000"),
        ("ALERT_WEBHOOK_URL", PLANTED["ALERT_WEBHOOK_URL"].replace("https", "gopher")),
        ("IBKR_BASE_URL", f"https://me:{PLANTED['DB_PASSWORD']}/x@api.ibkr.com"),
        ("ORDER_AUTO_CONFIRM", PLANTED["DB_PASSWORD"]),
        ("POOL_SIZE", PLANTED["DB_PASSWORD"]),
        ("IBKR_ENV", PLANTED["DB_PASSWORD"]),
        ("IBKR_ENDPOINT_OVERRIDES", PLANTED["DB_PASSWORD"]),
        ("IBKR_CREDENTAIL", PLANTED["DB_PASSWORD"]),
        ("IB_IS_LIVE", "true"),
    ],
)
def test_a_setting_that_is_wrong_is_not_quoted(planted: Canaries, tmp_path: Path, name: str, value: str) -> None:
    """A password pasted into the wrong line must not be repeated by the complaint about it."""
    environ = environ_of(make_simulator(), tmp_path, "oauth1a") | {"IBKR_ENV": "paper", name: value}
    with pytest.raises(IbkitError) as raised:
        to_engine(load(environ=environ, directory=tmp_path).database_url.reveal())
    assert not planted.found_in(laid_bare(raised.value))


@pytest.mark.requirement("VLT-15", "CFG-01")
@pytest.mark.parametrize(
    "line",
    [
        "just {0}",
        "DB_PASSWORD='{0}",
        'DB_PASSWORD="{0}" and more',
        "DB_PASSWORD={0}\nDB_PASSWORD={0}",
        "{0}=1",
        "DB_PASSWORD={0}\n\udcff",
    ],
)
def test_a_settings_file_that_cannot_be_read_is_not_quoted(planted: Canaries, tmp_path: Path, line: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(line.format(PLANTED["DB_PASSWORD"]).encode("utf-8", "surrogateescape"))
    file.chmod(0o600)
    with pytest.raises(IbkitError) as raised:
        load(environ={"HOME": str(tmp_path)}, directory=tmp_path, require_method=False)
    assert not planted.found_in(laid_bare(raised.value))


@pytest.mark.requirement("VLT-15", "SET-02")
def test_a_key_file_that_cannot_be_read_is_not_quoted(planted: Canaries, tmp_path: Path) -> None:
    simulator = make_simulator()
    pem = simulator.users[0].signature_key.read_bytes()
    planted.add("PEM", pem.decode())
    place = tmp_path / "key.pem"
    environ = environ_of(simulator, tmp_path, "oauth1a") | {"IB_SIGNATURE_KEY_PATH": str(place)}
    for content, mode in ((pem + b"\xff\xfe", 0o600), (pem, 0o644), (pem * 60, 0o600), (b"\xff" + pem, 0o600)):
        place.write_bytes(content)
        place.chmod(mode)
        with pytest.raises(IbkitError) as raised:
            load(environ=environ, directory=tmp_path).credentials()
        assert not planted.found_in(laid_bare(raised.value)), (len(content), mode)


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Simulator, str], Path]]:
    """`at_home(simulator, method)`: a settings file with everything secret in it, in an empty home."""
    with ExitStack() as stack:

        def move_in(simulator: Simulator, method: str) -> Path:
            environ = environ_of(simulator, tmp_path, method)
            # No PostgreSQL is at hand, so its settings stay out.
            del environ["DB_NAME"], environ["DB_USER"], environ["DB_PASSWORD"]
            home = environ.pop("HOME")
            file = tmp_path / ".env"
            file.write_text("".join(f"{name}='{value}'\n" for name, value in environ.items()))
            file.chmod(0o600)
            monkeypatch.setattr("os.environ", {"HOME": home, "PATH": "/usr/bin", "LOG_LEVEL": "debug"})
            monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
            (tmp_path / "tmp").mkdir(exist_ok=True)
            monkeypatch.chdir(tmp_path)
            face = face_of(AuthMethod(method))
            edges = Edges(transport=lambda _: simulator.transport(face), clock=simulator.clock, keep_alive=False)
            stack.enter_context(using(edges))
            return tmp_path

        yield move_in


COMMANDS = (
    "config show --all",
    "config show --json",
    "verify",
    "verify --json",
    "auth test",
    "auth test --json",
    "status",
    "status --json",
    "accounts list",
    "positions",
    "sell-option --side put --symbol SPY --put-strike 620 --yes --json",
    "trades list",
    "intents list",
    "auth rotate",
)


@pytest.mark.requirement("VLT-15", "AUTH-09", "MON-13")
@pytest.mark.parametrize("method", [method.value for method in METHODS])
def test_commands_print_log_and_store_no_secret(
    method: str,
    canaries: Canaries,
    at_home: Callable[[Simulator, str], Path],
    logged: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = make_simulator()
    home = at_home(simulator, method)
    done = []
    for command in COMMANDS:
        simulator.advance(70)
        if cli.run(command.split()) == 0:
            done.append(command)
        said = capsys.readouterr()
        assert not canaries.found_in(said.out + said.err), command
    assert len(done) >= 10, done
    assert not canaries.found_in(logged())
    written = [path for path in home.rglob("*") if path.is_file() and path.name != ".env"]
    assert any(path.suffix == ".db" for path in written)
    assert any(path.suffix == ".grant" for path in written) == (method != "gateway")
    for path in written:
        assert not canaries.found_in(path.read_bytes().decode("latin-1")), path
    log = json.dumps([dataclasses.asdict(entry) for entry in simulator.requests], default=str)
    assert not canaries.found_in(log)


@pytest.mark.requirement("VLT-15", "ERR-01")
def test_a_fault_of_ours_leaves_a_traceback_without_secrets(
    canaries: Canaries,
    at_home: Callable[[Simulator, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = at_home(make_simulator(), "oauth1a")

    async def broken(*_: object, **__: object) -> Response:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("ibkit.sim.serving.inprocess.SimTransport.send", broken)
    assert cli.run(["accounts", "list"]) == 1
    said = capsys.readouterr()
    assert "E-INTERNAL" in said.err
    (kept,) = (home / "tmp").iterdir()
    assert "nobody thought of this" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    assert not canaries.found_in(kept.read_text() + said.out + said.err)


@pytest.mark.requirement("VLT-15", "AUTH-18")
def test_the_password_of_test_connection_goes_nowhere(
    planted: Canaries,
    at_home: Callable[[Simulator, str], Path],
    logged: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    planted.add("password", "canary-ibkr-password-e2c4")
    for scenario in ("ok", "not-authenticated", "garbage"):
        simulator = make_simulator(scenario)
        at_home(simulator, "gateway")
        result = package.test_connection("simpaper1", "canary-ibkr-password-e2c4")
        assert result.success == (scenario == "ok")
        said = capsys.readouterr()
        log = json.dumps([dataclasses.asdict(entry) for entry in simulator.requests], default=str)
        assert not planted.found_in(f"{result!r} {said.out} {said.err} {logged()} {log}"), scenario


async def slams_the_door(stream: anyio.abc.SocketStream) -> None:
    async with stream:
        await stream.receive()


@pytest.mark.requirement("VLT-15", "MON-13")
@pytest.mark.parametrize("name", ["pyreqwest", "aiohttp"])
@pytest.mark.parametrize("door", ["closed", "slammed"])
def test_a_broken_connection_shows_no_headers(name: str, door: str, planted: Canaries) -> None:
    planted.add("bearer", "canary-bearer-a0b1c2d3e4f5")
    planted.add("body", "canary-assertion-0918273645")

    async def work() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        transport: Any = PyreqwestTransport() if name == "pyreqwest" else AiohttpTransport(f"https://127.0.0.1:{port}")
        headers = {"Authorization": "Bearer canary-bearer-a0b1c2d3e4f5"}
        request = Request("POST", f"https://127.0.0.1:{port}/v1/api/tickle", headers, b"canary-assertion-0918273645")
        async with anyio.create_task_group() as group:
            if door == "closed":
                await listener.aclose()
            else:
                group.start_soon(listener.serve, slams_the_door)
            try:
                await transport.send(request, timeout_s=5.0)
            finally:
                await transport.aclose()
                group.cancel_scope.cancel()

    def run() -> None:
        try:
            anyio.run(work)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    with pytest.raises(IbkitError) as raised:
        run()
    assert not planted.found_in(laid_bare(raised.value))
