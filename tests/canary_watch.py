"""No test leaves a secret behind: every one of the suite is watched, and at the end all that they left is searched.

    after each test   what it wrote to stdout, stderr, the log (at DEBUG) and below `tmp_path` holds none of the values
                      that became a `Secret` while it ran, and none of what all tests share (`suite_canaries`)
    after the last    nothing below the folder of all tests, of every worker process, holds one of those: what
                      processes of their own left, and what was left for others

Searched for as they are, in base64 of both alphabets, hex, URL-encoded, escaped, backwards (`canaries.forms`), in files
as in what is packed into them. Files in which secrets stand on purpose are named in `MEANT`; a test that plants
secrets to see them taken out says so: `@pytest.mark.plants_secrets`. Source: reliability.md TM-17, TM-18.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import canaries
from canaries import KEYS, PASSPHRASE, PLANTED, UNSORTED, Canaries, contents_of
from ibkit.model import Secret

__all__ = ["MEANT", "left_in", "suite_canaries"]

MEANT = re.compile(
    r"(^|/)(\.env[^/]*|[^/]*\.env|[^/]*\.pem|[^/]*\.key|jwt-secret|[^/]*_key|[^/]*passphrase[^/]*"
    r"|key|kept|print key\.py|address)$",
    re.IGNORECASE,
)
"""Files that are there to hold a secret: settings, keys, and what is handed to a command as a file (the second line).
Each is private (mode 600), which other tests look at."""
PLANTED_HERE = ".secrets-planted"
"""A file of this name says that a test planted secrets in its folder."""
ELSEWHERE = re.compile(r"^\w+ +apprise:.*$", re.MULTILINE)
"""Lines that pytest alone sees: it listens also where a logger's lines go nowhere, as apprise's do (`_quiet`)."""
HARMLESS = frozenset({"limited_poa", "test_realm"})
"""The vault seals every field of a credential, also what is none: the realm of OAuth."""
FEWEST = 12
"""Characters or bytes of what is learned: shorter ones are names that tests take for tokens, found by chance."""
NAMES = re.compile(r"https://localhost:\d+")
"""Likewise: addresses of gateways (`Kind.PLAIN` of the vault)."""
WATCHERS = (__file__, canaries.__file__)
_LOG_LIMIT = 4_000_000


@cache
def suite_canaries() -> Canaries:
    """What all tests share: the planted settings, and the private keys of the simulator's users."""
    found = Canaries()
    for name, value in {**PLANTED, "passphrase": PASSPHRASE}.items():
        found.add(name, value)
    for path in KEYS.rglob("private_*.pem"):
        found.add(f"{path.parent.name}/{path.name}", path.read_text())
    return found


class Listening(logging.Handler):
    """All that our own loggers say, extra fields and errors too."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.size = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self.size < _LOG_LIMIT:
            self.lines.append(f"{record.getMessage()} {record.__dict__}")
            self.size += len(self.lines[-1])

    def take(self) -> str:
        said = "\n".join(self.lines)
        self.lines, self.size = [], 0
        return said


class Watch:
    def __init__(self) -> None:
        self.values: set[str | bytes] = set()
        self.listening = Listening()
        self.left: list[str] = []
        self.looked_at = 0
        self.took_s = 0.0

    def learn(self, value: str | bytes) -> None:
        text = value if isinstance(value, str) else value.decode("latin-1")
        named = value in HARMLESS or NAMES.fullmatch(text) is not None
        if len(value) >= FEWEST and not named and not made_by().endswith(UNSORTED):
            self.values.add(value)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self.values = set()
        ours = logging.getLogger("ibkit")
        ours.addHandler(self.listening)
        try:
            return (yield)
        finally:
            ours.removeHandler(self.listening)
            self.listening.take()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        folder = (getattr(item, "funcargs", None) or {}).get("tmp_path")
        result = yield
        if item.get_closest_marker("plants_secrets") is not None:
            if folder is not None:
                (folder / PLANTED_HERE).touch()
        else:
            written = [(f"captured {key}", ELSEWHERE.sub("", text).encode()) for _, key, text in item._report_sections]
            found = sorted(set(self._leaks([("the log", self.listening.take().encode()), *written], folder)))
            if found:
                pytest.fail("secrets were left behind:\n" + "\n".join(found), pytrace=False)
        return result

    def _leaks(self, written: list[tuple[str, bytes]], folder: Path | None) -> Iterator[str]:
        learned = Canaries()
        for value in self.values:
            learned.add(f"a secret ({type(value).__name__}, {len(value)} long)", value)
        for name, data in (*written, *(left_in(folder) if folder is not None else ())):
            for secret in (*learned.found_in_bytes(data), *suite_canaries().found_in_bytes(data)):
                yield f"{name}: {secret}"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """At the end of all: in the process that started the others, which has the folder of all of them."""
        if hasattr(session.config, "workerinput") or session.config.option.collectonly:
            return
        began = time.perf_counter()
        for name, data in left_in(session.config._tmp_path_factory.getbasetemp()):
            self.looked_at += len(data)
            self.left += [f"{name}: {secret}" for secret in suite_canaries().found_in_bytes(data)]
        self.took_s = time.perf_counter() - began
        if self.left:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.looked_at:
            terminalreporter.write_line(
                f"secrets: {len(self.left)} found of {len(suite_canaries())} in {self.looked_at / 1e6:.1f} MB "
                f"that the tests left ({self.took_s:.1f} s)"
            )
        for each in self.left:
            terminalreporter.write_line(f"LEFT BEHIND {each}", red=True)


def left_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """What is below a folder, but for what is meant to hold secrets, and where a test planted some."""
    planted = tuple(f"{mark.parent.relative_to(folder)}/" for mark in folder.rglob(PLANTED_HERE))
    for name, data in contents_of(folder):
        if not MEANT.search(name.split("!")[-1]) and not name.startswith(planted):
            yield name, data


def made_by() -> str:
    """The file in which a secret is being made; other watchers may stand between."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename in WATCHERS and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename


def pytest_configure(config: pytest.Config) -> None:
    watch = Watch()
    wrapped = Secret.__init__

    def init(secret: Any, value: Any) -> None:
        wrapped(secret, value)
        watch.learn(value)

    Secret.__init__ = init  # type: ignore[method-assign]
    config.add_cleanup(lambda: setattr(Secret, "__init__", wrapped))
    logging.getLogger("ibkit").setLevel(logging.DEBUG)
    config.pluginmanager.register(watch, "the watch over secrets")
