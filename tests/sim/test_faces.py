"""The faces over real sockets and TLS: what the core says arrives, faults break real connections."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from cryptography import x509

from ibkit.errors import IbkitError
from ibkit.sim.logins.material import ensure_keys, write_announcement
from ibkit.sim.logins.users import Directory
from ibkit.sim.serving.certificates import CA_FILE, ensure_certificates, face_files
from ibkit.sim.serving.faces import Faces
from ibkit.sim.serving.server import SimServer
from ibkit.sim.serving.simclock import WorldClock
from ibkit.sim.world import SimConfig, World
from simulators import KEYS, TRADING_MOMENT

pytestmark = pytest.mark.requirement("TST-01")

TICKLE = "/v1/api/tickle"
STATUS = "/v1/api/iserver/auth/status"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A simulator's folder whose keys are made already."""
    shutil.copytree(KEYS, tmp_path / "keys")
    ensure_keys(tmp_path / "keys", say=lambda line: pytest.fail(line))
    ensure_certificates(tmp_path, "127.0.0.1")
    return tmp_path


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / CA_FILE))


class Live:
    """Faces that listen, and a client that trusts their authority."""

    def __init__(self, faces: Faces, client: aiohttp.ClientSession, server: SimServer) -> None:
        self.faces, self.client, self.server = faces, client, server

    async def get(self, url: str, method: str = "GET", **rest: Any) -> tuple[int, Any, bytes]:
        async with self.client.request(method, url, allow_redirects=False, **rest) as answer:
            return answer.status, answer.headers.copy(), await answer.read()


@asynccontextmanager
async def live(folder: Path, *, manual: bool = True) -> AsyncIterator[Live]:
    directory = Directory(folder / "keys", seed=7)
    config = SimConfig(start=TRADING_MOMENT)
    clock = WorldClock(TRADING_MOMENT, manual=manual)
    server = SimServer(lambda: World.create(config, directory.logins()), clock)
    faces = Faces(server, folder=folder)
    await faces.start()
    connector = aiohttp.TCPConnector(ssl=trusting(folder), force_close=True)
    try:
        async with aiohttp.ClientSession(connector=connector, auto_decompress=True) as client:
            yield Live(faces, client, server)
    finally:
        await faces.stop()


def with_live(folder: Path, act: Callable[[Live], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with live(folder, **options) as running:
            await act(running)

    anyio.run(run)


def test_both_faces_and_the_control_face_answer(folder: Path) -> None:
    async def act(running: Live) -> None:
        gateway, cloud, control = running.faces.gateway_url, running.faces.cloud_url, running.faces.control_url
        status, headers, body = await running.get(gateway + TICKLE, "POST", data=b"")
        assert (status, json.loads(body)["iserver"]["authStatus"]["authenticated"]) == (200, True)
        assert "Server" not in headers
        # Source: docs/facts/auth-and-sessions.md §3.11: through a gateway every body comes in chunks.
        assert headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in headers
        status, headers, body = await running.get(cloud + TICKLE, "POST", data=b"")
        assert (status, headers["Content-Length"]) == (401, str(len(body)))
        for base in (gateway, cloud, control):
            status, _, body = await running.get(base + "/__sim/requests")
            assert [(row["face"], row["method"], row["path"]) for row in json.loads(body)] == [
                ("gateway", "POST", TICKLE),
                ("cloud", "POST", TICKLE),
            ]
        assert control.startswith("http://127.0.0.1:")
        assert (await running.get(control + TICKLE))[0] == 404

    with_live(folder, act)


def test_a_caller_of_http_1_0_gets_a_length_instead_of_chunks(folder: Path) -> None:
    async def act(running: Live) -> None:
        port, answer = running.faces.ports["gateway"], b""
        async with await anyio.connect_tcp("127.0.0.1", port, tls=True, ssl_context=trusting(folder)) as stream:
            await stream.send(f"GET {STATUS} HTTP/1.0\r\nUser-Agent: t\r\n\r\n".encode())
            with contextlib.suppress(anyio.EndOfStream):
                while True:
                    answer += await stream.receive()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert json.loads(body)["authenticated"] is True
        assert b"chunked" not in head

    with_live(folder, act)


def test_missing_headers_are_seen_as_they_were_sent(folder: Path) -> None:
    async def act(running: Live) -> None:
        port = running.faces.ports["gateway"]

        async def raw(request: str) -> bytes:
            # Written by hand: a client library would put in what is to be missing.
            async with await anyio.connect_tcp("127.0.0.1", port, tls=True, ssl_context=trusting(folder)) as stream:
                await stream.send(request.encode())
                answer = b""
                try:
                    while True:
                        answer += await stream.receive()
                except anyio.EndOfStream:
                    return answer

        rest = "Host: localhost\r\nConnection: close\r\n"
        no_agent = await raw(f"GET {STATUS} HTTP/1.1\r\n{rest}\r\n")
        assert no_agent.startswith(b"HTTP/1.1 403")
        no_length = await raw(f"POST {STATUS} HTTP/1.1\r\n{rest}User-Agent: t\r\n\r\n")
        assert no_length.startswith(b"HTTP/1.1 411")
        good = await raw(f"POST {STATUS} HTTP/1.1\r\n{rest}User-Agent: t\r\nContent-Length: 0\r\n\r\n")
        assert good.startswith(b"HTTP/1.1 200")
        await running.get(running.faces.control_url + "/__sim/scenario", "POST", data=b'{"scenario":"gw-ip-denied"}')
        denied = await raw(f"GET {STATUS} HTTP/1.1\r\n{rest}User-Agent: t\r\n\r\n")
        assert denied.endswith(b"\r\n\r\nd\r\nAccess Denied\r\n0\r\n\r\n")
        assert b"\r\ncontent-type:" not in denied.lower()

    with_live(folder, act)


def test_the_path_reaches_the_core_as_it_was_sent(folder: Path) -> None:
    async def act(running: Live) -> None:
        import yarl

        url = yarl.URL(running.faces.gateway_url + "/v1/api/no%2Fsuch/a%20b?x=1%2C2", encoded=True)
        assert (await running.get(str(url)))[0] == 404
        async with running.client.get(url):
            pass
        paths = [entry.path for entry in running.server.log.entries()]
        assert paths[-1] == "/v1/api/no%2Fsuch/a%20b"

    with_live(folder, act)


@pytest.mark.parametrize("fault", ["drop-request", "drop-answer", "truncate"])
def test_faults_break_the_connection(folder: Path, fault: str) -> None:
    async def act(running: Live) -> None:
        body = json.dumps({"path": STATUS, "fault": fault}).encode()
        await running.get(running.faces.control_url + "/__sim/faults", "POST", data=body)
        with pytest.raises(aiohttp.ClientError):
            # aiohttp itself sends a GET again on a dead connection; a POST it does not.
            await running.get(running.faces.gateway_url + STATUS, "POST", data=b"")
        assert len(running.server.log.entries()) == 1
        assert (await running.get(running.faces.gateway_url + STATUS, "POST", data=b""))[0] == 200

    with_live(folder, act)


def test_a_rotated_certificate_is_another_one_of_the_same_authority(folder: Path) -> None:
    async def act(running: Live) -> None:
        certificate, _ = face_files(folder, "gateway")
        before = x509.load_pem_x509_certificate(certificate.read_bytes())
        assert (await running.get(running.faces.gateway_url + STATUS))[0] == 200
        await running.get(running.faces.control_url + "/__sim/rotate", "POST", data=b"{}")
        after = x509.load_pem_x509_certificate(certificate.read_bytes())
        assert before.serial_number != after.serial_number
        assert before.issuer == after.issuer
        assert (await running.get(running.faces.gateway_url + STATUS))[0] == 200

    with_live(folder, act)


def test_a_port_in_use_is_said_with_its_remedy_and_nothing_stays_open(folder: Path) -> None:
    async def act(running: Live) -> None:
        taken = running.faces.ports["gateway"]
        second = Faces(running.server, folder=folder, cloud_port=taken)
        with pytest.raises(IbkitError) as caught:
            await second.start()
        assert caught.value.code == "E-GW-PORT-TAKEN"
        assert str(taken) in caught.value.message
        assert "--cloud-port 0" in caught.value.remedy
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", second.ports["gateway"])

    with_live(folder, act)


def test_certificates_are_kept_until_they_run_out_or_lack_a_name(folder: Path) -> None:
    certificate, key = face_files(folder, "cloud")
    first = certificate.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    ensure_certificates(folder, "127.0.0.1")
    assert certificate.read_bytes() == first
    ensure_certificates(folder, "192.168.7.7")
    assert certificate.read_bytes() != first
    ca = (folder / CA_FILE).read_bytes()
    (folder / CA_FILE).write_text("damaged")
    ensure_certificates(folder, "127.0.0.1")
    assert (folder / CA_FILE).read_bytes() != ca
    assert trusting(folder)


def test_the_announcement_has_the_promised_form(folder: Path) -> None:
    directory = Directory(folder / "keys", seed=7)
    path = write_announcement(
        folder, directory, gateway_url="https://localhost:1", cloud_url="https://localhost:2", control_url="http://c"
    )
    given = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(given) == {"gateway_url", "cloud_url", "ca", "control_url", "users", "third_party"}
    for user in given["users"]:
        assert set(user) == {"username", "password", "accounts", "oauth1a", "oauth2", "env"}
        assert set(user["oauth1a"]) == {
            "consumer_key",
            "access_token",
            "access_token_secret",
            "dh_prime",
            "dh_generator",
            "encryption_key",
            "signature_key",
            "dhparam",
            "realm",
        }
        assert set(user["oauth2"]) == {"client_id", "client_key_id", "private_key", "credential", "scope"}
        files = [user["oauth1a"][name] for name in ("encryption_key", "signature_key", "dhparam")]
        files += [user["oauth2"]["private_key"], *user["env"].values(), given["ca"]]
        assert all(not Path(file).is_absolute() and (folder / file).is_file() for file in files)
        assert int(user["oauth1a"]["dh_prime"], 16) == directory.dh.prime
        for env in user["env"].values():
            assert (folder / env).stat().st_mode & 0o777 == 0o600


def test_settings_files_name_everything_by_absolute_path(folder: Path) -> None:
    write_announcement(
        folder,
        Directory(folder / "keys", seed=7),
        gateway_url="https://localhost:1",
        cloud_url="https://localhost:2",
        control_url="http://127.0.0.1:3",
    )
    lines = (folder / "env" / "simlive1-oauth1a.env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert values["IBKR_ENV"] == "live"
    assert values["IBKR_AUTH_METHOD"] == "oauth1a"
    assert (values["APP_ENV"], values["APP_CLOCK"]) == ("test", "http://127.0.0.1:3")
    paths = [value for name, value in values.items() if name.endswith(("_PATH", "_CA"))]
    assert len(paths) == 4
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in paths)


def test_a_running_clock_is_faster_by_its_speed_and_a_manual_one_stands() -> None:
    seconds = iter([0.0, 10.0, 10.0]).__next__
    running = WorldClock(TRADING_MOMENT, speed=60, monotonic=seconds)
    assert (running.now() - TRADING_MOMENT).total_seconds() == 600
    running.advance(30)
    assert (running.now() - TRADING_MOMENT).total_seconds() == 630
    manual = WorldClock(TRADING_MOMENT, manual=True)
    manual.advance(5)
    assert (manual.now() - TRADING_MOMENT).total_seconds() == 5
    assert manual.wall() == manual.now()
