"""Every row of reliability rules §6.2 (bad input on the command line) as cases that carry its name.

One line and an exit code, never a traceback, never the secret, nothing sent, and nothing on stdout.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from cli.conftest import Bench, Ran, env_of
from ibkit.trading.gateway import OrderGateway

Make = Callable[..., Bench]
BUY = ("orders", "place", "buy", "5", "SPY")
KEY = "IB_SIGNATURE_KEY_PATH"
SECRET = "hush-5f0e1d2c3b4a"


@dataclass(frozen=True)
class Case:
    """row: of §6.2. before: spoils the home. live: the second user of the simulator, whose account is real money."""

    row: str
    what: str
    command: tuple[str, ...]
    code: int
    said: tuple[str, ...]
    before: Callable[[Path], None] = lambda _: None
    live: bool = False

    def __str__(self) -> str:
        return f"{self.row}: {self.what}"


def key_is(spoil: Callable[[Path], object]) -> Callable[[Path], None]:
    """The signature key of the settings is a file of the home that `spoil` makes."""

    def do(home: Path) -> None:
        env = home / ".env"
        lines = [line for line in env.read_text().splitlines() if not line.startswith(KEY)]
        env.write_text("\n".join([*lines, f'{KEY}="{home}/signature.pem"', ""]))
        spoil(home / "signature.pem")

    return do


def a_key(path: Path, mode: int = 0o600) -> Path:
    path.write_text((Path(__file__).parents[1] / "keys/simpaper1/private_signature.pem").read_text())
    path.chmod(mode)
    return path


def linked(path: Path) -> None:
    path.symlink_to(a_key(path.with_name("elsewhere.pem")))


def settings(mode: int) -> Callable[[Path], None]:
    return lambda home: (home / ".env").chmod(mode)


CASES = [
    Case("unknown", "command", ("ordres", "place"), 2, ("ordres", "orders")),
    Case("unknown", "flag", ("orders", "list", "--jsno"), 2, ("--json",)),
    Case("order", "no quantity", ("orders", "place", "buy"), 2, ("QUANTITY",)),
    Case("order", "quantity -5", ("orders", "place", "buy", "-5", "SPY"), 2, ("quantity: -5 is not above 0",)),
    Case("order", "quantity --qty=-5", ("orders", "place", "buy", "--qty=-5", "SPY"), 2, ("--qty",)),
    Case("order", "limit abc", (*BUY, "--limit-price", "abc"), 2, ("--limit-price: abc is no number",)),
    Case("account", "live on paper", (*BUY, "--account", "U1234567", "--yes"), 5, ("E-ACC-ENV", "U1234567")),
    Case("live", "not asked for", (*BUY, "--yes"), 5, ("E-LIVE", "--live"), live=True),
    Case("live", "not validated on paper", (*BUY, "--live", "--yes"), 5, ("E-LIVE", "ibkit trade validate"), live=True),
    Case("live", "another account", (*BUY, "--live", "--yes-live", "U7", "--yes"), 5, ("E-LIVE",), live=True),
    Case("secret", "--token", ("accounts", "list", "--token", SECRET), 2, ("--token",)),
    Case("secret", "--token=", ("accounts", "list", f"--token={SECRET}"), 2, ("--token",)),
    Case("secret", "--password", ("user", "add", "anna", "--password", SECRET), 2, ("--password",)),
    Case("key file", "missing", BUY, 3, ("E-KEY-MISSING", "signature.pem"), key_is(lambda path: None)),
    Case("key file", "a directory", BUY, 3, ("signature.pem",), key_is(lambda path: path.mkdir())),
    Case(
        "key file", "0644", BUY, 3, ("E-KEY-PERMS", "chmod 600", "signature.pem"), key_is(lambda at: a_key(at, 0o644))
    ),
    Case("key file", "a link", BUY, 3, ("signature.pem", "link"), key_is(linked)),
    Case("key file", "empty", BUY, 3, ("signature.pem",), key_is(lambda path: path.touch(0o600))),
    Case("settings", "absent", ("accounts", "list", "--env-file", "none.env"), 3, ("none.env",)),
    Case("settings", "open to others", BUY, 3, (".env", "chmod 600"), settings(0o644)),
]  # fmt: skip


def run(bench: Make, case: Case) -> tuple[Bench, Ran]:
    ib = bench(user=1 if case.live else 0)
    if case.live:
        text = env_of(
            ib.simulator, "oauth1a", next(n for n, keys in enumerate(ib.simulator.users) if not keys.user.is_paper)
        )
        (ib.home / ".env").write_text(text)
    case.before(ib.home)
    return ib, ib.run(*case.command)


@pytest.mark.requirement("ERR-03", "OPT-06")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_ends_with_its_exit_code_and_says_why(bench: Make, case: Case) -> None:
    ib, ran = run(bench, case)
    assert ran.code == case.code, ran.err
    assert ran.out == ""
    for word in case.said:
        assert word in ran.err, ran.err
    assert "Traceback" not in ran.err
    assert SECRET not in ran.err
    assert ib.posted(whatif=True) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.requirement("CFG-01")
def test_settings_that_cannot_be_read_are_named(bench: Make) -> None:
    ib = bench()
    (ib.home / ".env").chmod(0)
    ran = ib.run(*BUY)
    assert (ran.code, ran.out) == (3, "")
    assert ".env" in ran.err


@pytest.mark.requirement("ERR-03")
@pytest.mark.parametrize("case", [case for case in CASES if case.row != "secret"], ids=str)
def test_with_json_the_error_is_one_object_on_stderr(bench: Make, case: Case) -> None:
    ib, ran = run(bench, Case(case.row, case.what, (*case.command, "--json"), case.code, (), case.before, case.live))
    assert (ran.code, ran.out) == (case.code, "")
    told = ran.error
    told = told.get("error", told)
    assert told["code"].startswith("E-")
    assert told["message"]
    assert told["remedy"]
    assert ib.posted(whatif=True) == []


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, although whoever runs the tests in the background has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.requirement("OPT-06")
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_an_order_is_placed_says_what_to_look_at(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes may have left: exit 7, and the key under which the answer will be found."""
    ib = bench()
    submit = OrderGateway.submit

    async def interrupted(self: Any, *given: Any, **named: Any) -> Any:
        await submit(self, *given, **named)
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(10)

    with monkeypatch.context() as patch:
        patch.setattr(OrderGateway, "submit", interrupted)
        ran = ib.run(*BUY, "--yes", "--key", "ctrl-c-0123456789")
    assert ran.code == 7, ran.err
    assert ran.err.startswith("E-ORD-UNKNOWN: Interrupted while an order was placed: outcome unknown")
    assert "ibkit intents show ctrl-c-0123456789" in ran.err
    assert len(ib.posted()) == 1
    assert "SPY" in ib.run("intents", "show", "ctrl-c-0123456789").out


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_where_nothing_was_placed_leaves_nothing_in_doubt(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ib = bench()

    async def interrupted(self: Any, *given: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(10)

    monkeypatch.setattr("ibkit.client.broker.IbkrBroker.preview", interrupted)
    ran = ib.run(*BUY, "--dry-run")
    assert (ran.code, ran.err.splitlines()[-1]) == (130, "Interrupted.")


@pytest.mark.parametrize("width", ["1", "20", "-5", "wide"])
@pytest.mark.parametrize("language", ["C", "POSIX", "tr_TR.UTF-8", "nonsense"])
def test_odd_terminals_bring_no_traceback(
    bench: Make, monkeypatch: pytest.MonkeyPatch, width: str, language: str
) -> None:
    ib = bench()
    for name, value in {"COLUMNS": width, "LANG": language, "LC_ALL": language, "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    ran = ib.run("accounts", "list")
    assert ran.code == 0, ran.err
    assert "DU1000001" in ran.out
    assert "Traceback" not in ran.err


def test_every_row_has_a_case() -> None:
    """Two rows stand elsewhere: a broken pipe in test_output.py; profiles there are none of."""
    assert {case.row for case in CASES} == {"unknown", "order", "account", "live", "secret", "key file", "settings"}
