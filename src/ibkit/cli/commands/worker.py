"""`ibkit worker`: watch over sold options and open orders, as a process of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import cyclopts

from ibkit.bootstrap.live_locks import refuse_before_connecting
from ibkit.bootstrap.processes import ending_by_force
from ibkit.cli import context, output
from ibkit.cli.flags import Account, ByUser, Compete, Json, Live, YesLiveOf, flag, option
from ibkit.cli.live import accounts_said, confirm_live, confirmed_of
from ibkit.cli.running import go
from ibkit.cli.watching import Log
from ibkit.clock import SystemClock
from ibkit.errors import ConfigError, NotFound
from ibkit.model import AccountId

if TYPE_CHECKING:
    from datetime import datetime

    from ibkit.bootstrap.worker import Worker
    from ibkit.trading.watching.rounds import RoundReport

__all__ = ["app"]

app = cyclopts.App(name="worker", help="Watch over sold options and open orders.")

_UNSAFE = 7
Poll = Annotated[float, option("Seconds between whole rounds, 15 to 600.")]


@app.default
def worker(
    *,
    once: Annotated[bool, flag("One whole round, then end: 7 if something stood unprotected or is unknown.")] = False,
    poll: Poll = 60.0,
    account: Account = None,
    live: Live = False,
    yes_live: YesLiveOf = (),
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Keep every sold option protected, follow orders to their end, until a signal ends it.

    It looks at once when IBKR's stream tells of something, and every minute without. One runs for each login.
    """
    from ibkit.bootstrap.processes import leave_no_core
    from ibkit.bootstrap.worker import open_worker

    if not 15 <= poll <= 600:
        raise ConfigError(f"Invalid request: --poll: {poll:g}: 15 to 600 seconds", code="E-VALIDATION")
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account}, by=by)
    refuse_before_connecting(settings, live=live)
    context.log_lines(settings)
    log = Log(json=json, quiet=once and json)

    said = accounts_said(yes_live) if yes_live else None

    def confirmed(account_id: AccountId, validated: bool) -> bool:
        if said is not None:
            return confirmed_of(account_id, said, validated=validated)
        confirm_live(account_id, yes_live=None, validated=validated, json=json)
        return True

    async def run() -> int:
        async with open_worker(
            settings, poll_s=poll, compete=compete, patient=not once, confirm=confirmed, observe=log.step
        ) as open_one:
            if once:
                return _say_round(await open_one.once(), json=json)
            accounts = ", ".join(desk.account_id for desk in open_one.desks)
            name = open_one.desks[0].broker.username
            log.say(
                "started",
                f"watching {accounts} of {name} ({settings.environment.value}), a round every {poll:g} s",
                pid=os.getpid(),
            )
            await _until_signal(open_one)
            log.say("ended", "the worker has ended")
            return 0

    leave_no_core()
    return go(run)


@app.command
def status(*, by: ByUser = None, json: Json = False) -> int:
    """Whether a worker runs, and how it is doing; exit code 2 where none does."""
    from ibkit.bootstrap.backups import last_backup
    from ibkit.bootstrap.worker import worker_status

    settings = context.load_settings(by=by)
    said = worker_status(settings)
    last = last_backup(settings)
    if json:
        backup = None if last is None else {"path": last[0], "made_at": last[1].made_at}
        output.emit({"running": said is not None, **(said or {}), "last_backup": backup})
    elif said is None:
        output.say("No worker runs for this login. `ibkit worker` starts one.")
    else:
        output.say(_status_text(said))
        output.say(f"Backup:     {'none yet' if last is None else _backup_text(last[1].made_at)}")
    return 0 if said is not None else 2


@app.command
def stop(*, by: ByUser = None) -> int:
    """End the worker of this login and wait for it, at most 10 seconds."""
    from ibkit.bootstrap.worker import stop_worker

    if not stop_worker(context.load_settings(by=by)):
        raise NotFound("No worker runs for this login", code="E-NOT-FOUND", remedy="`ibkit worker` starts one.")
    output.say("The worker has ended.")
    return 0


@app.command
def beat(strategy: str, /) -> int:
    """A sign of life of a strategy: without another within 60 seconds the worker cancels its orders (control RC-30)."""
    from ibkit.bootstrap.clients import clock_of
    from ibkit.bootstrap.desks import heartbeats_path
    from ibkit.store.heartbeats import FileHeartbeats

    settings = context.load_settings()
    go(lambda: FileHeartbeats(heartbeats_path(settings)).beat(strategy, clock_of(settings).now()))
    return 0


@app.command
def retire(strategy: str, /) -> int:
    """A strategy has ended in good order: it is not watched for signs of life any more."""
    from ibkit.bootstrap.desks import heartbeats_path
    from ibkit.store.heartbeats import FileHeartbeats

    settings = context.load_settings()
    go(lambda: FileHeartbeats(heartbeats_path(settings)).retire(strategy))
    return 0


async def _until_signal(open_one: Worker) -> None:
    stopping = anyio.Event()
    with ending_by_force() as begin:
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _ in signals:
                        begin()
                        stopping.set()

            if threading.current_thread() is threading.main_thread():
                tasks.start_soon(listen)
            await open_one.run(stopping)
            tasks.cancel_scope.cancel()


def _say_round(reports: tuple[RoundReport, ...], *, json: bool) -> int:
    failure = next((error for report in reports for error in report.failures), None)
    if json:
        output.emit(
            {
                "safe": all(report.safe for report in reports),
                "unprotected": [alert.message for report in reports for alert in report.unprotected],
                "unknown": [alert.message for report in reports for alert in report.unknown],
                "unmanaged": [
                    {"quantity": position.quantity, "contract": position.contract.label}
                    for report in reports
                    for position in report.unmanaged
                ],
                "done": [text for report in reports for text in report.done],
                "failures": [
                    {"code": error.code, "message": error.message} for report in reports for error in report.failures
                ],
            }
        )
    else:
        output.say(_round_text(reports))
    if not all(report.safe for report in reports):
        return _UNSAFE
    if failure is not None:
        raise failure
    return 0


def _round_text(reports: tuple[RoundReport, ...]) -> str:
    lines = [alert.message for report in reports for alert in (*report.unprotected, *report.unknown)]
    lines += [
        f"unmanaged: {position.quantity.normalize():f} {position.contract.label}"
        for report in reports
        for position in report.unmanaged
    ]
    return "\n".join(lines or ["Every sold option is protected, no order is in an unknown state."])


def _backup_text(made_at: datetime) -> str:
    hours = (SystemClock().now() - made_at).total_seconds() / 3600
    return f"{made_at:%Y-%m-%d %H:%M} UTC, {max(hours, 0):.0f} h old"


def _status_text(said: Mapping[str, Any]) -> str:
    accounts = ", ".join(said.get("accounts", [])) or "-"
    lines = [
        f"Worker:     process {said.get('pid', '-')}, {said['state']}, since {said.get('since', '-')}",
        f"Login:      {said.get('username', '-')} ({said.get('environment', '-')}), accounts {accounts}",
        f"Last round: {said.get('last_round_at') or 'none yet'} ({said.get('rounds', 0)} so far)",
        f"Session:    {said.get('session', '-')}",
        f"Stream:     {said.get('stream', '-')} since {said.get('stream_since') or '-'}",
    ]
    if said.get("paused_until"):
        lines.append(f"Paused:     IBKR is not asked until {said['paused_until']}")
    for name, title in (
        ("alerts", "Alert"),
        ("unmanaged", "Unmanaged"),
        ("failures", "Failures"),
    ):
        lines += [f"{title}: {output.one_line(text, 300)}" for text in said.get(name, [])]
    return "\n".join(lines)
