"""WebSockets over real TLS, by each library: whom they trust, what they say of an end. The same for both."""

from __future__ import annotations

import hashlib
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ibkit.client.transport import Socket
from ibkit.client.transports.sockets import LIBRARIES, dial
from ibkit.errors import ConfigError, Unreachable
from ibkit.sim.faults import StreamFault
from ibkit.sim.logins.users import Directory
from ibkit.sim.serving.certificates import CA_FILE, ensure_certificates, face_files
from ibkit.sim.serving.faces import Faces
from ibkit.sim.serving.server import SimServer
from ibkit.sim.serving.simclock import WorldClock
from ibkit.sim.world import SimConfig, World
from ibkit.wire.http import Request
from ibkit.wire.stream import Complaint, Greeted, TicReply, read_frame
from simulators import KEYS, TRADING_MOMENT, make_simulator

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("FUT-02", "TST-01")]

PATH = "/v1/api/ws"


class Place:
    """A simulator that listens, and how to come in."""

    def __init__(self, faces: Faces, server: SimServer, folder: Path) -> None:
        self.server = server
        self.ca = (folder / CA_FILE).read_bytes()
        first = face_files(folder, "gateway")[0].read_text().partition("-----END CERTIFICATE-----")
        shown = ssl.PEM_cert_to_DER_cert(first[0] + first[1] + "\n")
        self.fingerprint = hashlib.sha256(shown).hexdigest()
        self.gateway = faces.gateway_url.replace("https", "wss") + PATH
        self.cloud = faces.cloud_url.replace("https", "wss") + PATH

    async def open(self, url: str | None = None, **options: object) -> Socket:
        request = Request("GET", url or self.gateway, {"User-Agent": "test"}, b"")
        return await dial(request, timeout_s=5, **options)


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Place]:
    shutil.copytree(KEYS, folder / "keys")
    ensure_certificates(folder, "127.0.0.1")
    directory = Directory(folder / "keys", seed=7)
    config = SimConfig(start=TRADING_MOMENT, quirks=make_simulator(gateway_ready_s=0.0).world.quirks)
    server = SimServer(lambda: World.create(config, directory.logins()), WorldClock(TRADING_MOMENT, manual=False))
    faces = Faces(server, folder=folder)
    await faces.start()
    try:
        yield Place(faces, server, folder)
    finally:
        await faces.stop()


async def until(socket: Socket, kind: type) -> object:
    for _ in range(20):
        data = await socket.receive(3)
        assert data is not None, f"no {kind.__name__} came"
        frame = read_frame(data)
        if isinstance(frame, kind):
            return frame
    raise AssertionError(f"no {kind.__name__} in 20 frames")


@pytest.mark.parametrize("library", LIBRARIES)
async def test_frames_go_both_ways_over_an_authority_of_our_own(tmp_path: Path, library: str) -> None:
    async with listening(tmp_path) as place:
        socket = await place.open(ca=place.ca, library=library)
        assert await until(socket, Greeted) == Greeted("simpaper1", True)
        await socket.send("tic")
        await until(socket, TicReply)
        await socket.aclose()


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_wait_that_ends_loses_no_frame(tmp_path: Path, library: str) -> None:
    async with listening(tmp_path) as place:
        socket = await place.open(ca=place.ca, library=library)
        await until(socket, Greeted)
        while await socket.receive(0.2) is not None:
            pass
        assert await socket.receive(0.01) is None
        await socket.send("tic")
        replies = [await socket.receive(3) for _ in range(4)]
        assert all(isinstance(read_frame(data), TicReply) for data in replies)
        await socket.aclose()


@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_unknown_authority_is_not_trusted(tmp_path: Path, library: str) -> None:
    async with listening(tmp_path) as place:
        with pytest.raises(Unreachable) as caught:
            await place.open(library=library)
        assert caught.value.details["cause"] == "tls"


@pytest.mark.requirement("AUTH-17")
async def test_a_pinned_certificate_is_compared_before_anything_is_sent(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        socket = await place.open(fingerprint=place.fingerprint)
        await until(socket, Greeted)
        await socket.aclose()
        seen = len(place.server.log.entries())
        with pytest.raises(Unreachable) as caught:
            await place.open(fingerprint="0" * 64)
        assert caught.value.details["cause"] == "tls"
        assert len(place.server.log.entries()) == seen, "the upgrade request never left"
        with pytest.raises(ConfigError):
            await place.open(fingerprint=place.fingerprint, library="picows")


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_refused_upgrade_tells_its_status_and_no_token(tmp_path: Path, library: str) -> None:
    async with listening(tmp_path) as place:
        with pytest.raises(Unreachable) as caught:
            await place.open(place.cloud + "?oauth_token=verysecret", ca=place.ca, library=library)
        assert caught.value.details["status"] == 401
        assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("fault", "cause"), [("socket-close", "closed"), ("socket-drop", "broken")])
async def test_an_end_is_told_as_what_it_was(tmp_path: Path, library: str, fault: str, cause: str) -> None:
    async with listening(tmp_path) as place:
        socket = await place.open(ca=place.ca, library=library)
        await until(socket, Greeted)
        place.server.world.faults.add(StreamFault(fault))
        with pytest.raises(Unreachable) as caught:
            await until(socket, Complaint)
        assert caught.value.details["cause"] == cause
        with pytest.raises(Unreachable):
            await socket.send("tic")
        await socket.aclose()


async def test_nobody_there_is_told_apart(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        url = place.gateway
    with pytest.raises(Unreachable) as caught:
        await place.open(url, ca=place.ca)
    assert caught.value.details["cause"] == "refused"
