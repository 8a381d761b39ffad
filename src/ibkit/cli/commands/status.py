"""`ibkit status`: what works, what is missing, what to do next; with --connect the four steps of a sign-in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.causes import causes
from ibkit.cli.flags import ByUser, Compete, Json, flag
from ibkit.cli.running import go
from ibkit.errors import IbkitError
from ibkit.settings import Settings

__all__ = ["app"]

app = cyclopts.App(name="status", help="What works, what is missing, what to do next.")

_PROBE = "SPY"


@dataclass(slots=True)
class Report:
    """works, needed: lines for people. steps: the four of AUTH-15, only after an attempt."""

    settings: Settings
    works: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    steps: dict[str, Any] = field(default_factory=dict)
    accounts: list[str] = field(default_factory=list)
    state: str = "not connected"
    connected: bool = False
    next: str = ""
    halts: list[str] = field(default_factory=list)
    """Kill switches that stand."""
    alerts: list[str] = field(default_factory=list)
    """Open ones of the journal: orders in unknown state, sold options without a stop."""

    @property
    def method(self) -> str | None:
        return self.settings.choice.method.value if self.settings.choice else None

    @property
    def reason(self) -> str | None:
        return self.settings.choice.reason if self.settings.choice else None


@app.default
def status(
    *,
    connect: Annotated[bool, flag("Sign in and look; otherwise nothing is sent.")] = False,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """What works, what is missing, what to do next."""
    settings = context.load_settings(by=by)
    report = Report(settings)
    _look_at_settings(report)
    if settings.mock:
        report.works.append("SIMULATED broker inside this process (BROKER_PROVIDER=mock)")
        report.connected, report.state = True, "simulated"
    _look_at_alerts(report)
    failure: IbkitError | None = None
    if connect and not report.needed:
        failure = go(lambda: _connect(report, compete))
    report.next = _next(report, connect)
    if failure is not None:
        failure.details.setdefault("steps", report.steps)
        if not json:
            output.say(_text(report))
        raise failure
    if json:
        output.emit(_document(report))
    else:
        output.say(_text(report))
    return 3 if report.needed else 0


def _look_at_settings(report: Report) -> None:
    settings = report.settings
    if settings.file is not None:
        report.works.append(f"settings read from {settings.file}")
    if settings.general.read_only:
        report.works.append("read-only mode: trading is disabled (IBKR_READ_ONLY)")
    if settings.mock:
        return
    report.works.append(f"sign-in method {report.method} ({report.reason})")
    try:
        settings.credentials()
    except IbkitError as error:
        report.needed.append(f"{error.message}. {error.remedy}")
    else:
        if report.method != "gateway":
            report.works.append("keys and credentials are there")
    if not settings.vault.has_key and report.method != "gateway":
        report.works.append("sign-ins are not kept between runs (set ENCRYPTION_KEY to keep them)")


def _look_at_alerts(report: Report) -> None:
    from ibkit.bootstrap.desks import journal_path

    path = journal_path(report.settings)
    if report.settings.mock or not path.exists():
        return
    from ibkit.cli.risk_text import halt_line
    from ibkit.clock import SystemClock
    from ibkit.store import open_journal

    async def read() -> None:
        async with open_journal(path, clock=SystemClock()) as journal:
            report.alerts = [f"{alert.at:%Y-%m-%d %H:%M} {alert.message}" for alert in await journal.alerts.open()]
            now = SystemClock().now()
            report.halts = [halt_line(h) for h in await journal.risk.halts() if h.until is None or now < h.until]
            if journal.restored:
                report.needed.append("The order journal is an older copy of itself; see `ibkit db accept-restored`.")

    try:
        go(read)
    except IbkitError as error:
        report.needed.append(f"{error.code}: {error.message}")


async def _connect(report: Report, compete: bool) -> IbkitError | None:
    from ibkit.bootstrap import client_of

    ib = client_of(report.settings, compete=compete or None, upto=None, keep_alive=False)
    try:
        async with ib:
            try:
                await ib.connect()
            finally:
                report.steps = dict(ib.steps)
                report.state = ib.state.name.lower().replace("_", " ")
            report.connected = True
            report.works.append("authentication")
            report.accounts = [account.account_id for account in await ib.accounts()]
            report.works.append(f"accounts: {', '.join(report.accounts)}")
            try:
                quote = await ib.quote((await ib.underlying(_PROBE)).conid)
                kind = quote.availability.name.lower().replace("_", " ")
                report.works.append(f"market data: {_PROBE} at {quote.best} ({kind})")
            except IbkitError as error:
                report.needed.append(f"market data ({error.code}): {error.message}. {error.remedy}")
    except IbkitError as error:
        error.details["causes"] = await causes(report.settings, error)
        report.needed.append(f"{error.code}: {error.message}")
        return error
    return None


def _next(report: Report, connect: bool) -> str:
    if report.needed:
        return report.needed[0] if not connect else "follow the remedy above, then `ibkit status --connect`"
    if not connect and not report.connected:
        return "ibkit status --connect"
    return "ibkit sell-option --dry-run"


def _text(report: Report) -> str:
    settings = report.settings
    lines = [
        f"Provider:    {'mock - SIMULATED' if settings.mock else 'ibkr'}",
        f"Environment: {settings.environment.value}",
        f"Method:      {report.method or '-'}" + (f" ({report.reason})" if report.reason else ""),
        f"Address:     {'-' if settings.mock else settings.address.api}",
        f"State:       {report.state}",
    ]
    if report.steps:
        lines += ["", "Steps:"]
        lines += [f"  {name:<9}{_step(step)}" for name, step in report.steps.items()]
    if report.halts:
        lines += ["", "Trading is stopped (`ibkit kill --release` starts it again):"]
        lines += [f"  {halt}" for halt in report.halts]
    if report.alerts:
        lines += ["", "Alerts (`ibkit alerts list`; what to do: docs/runbooks/README.md):"]
        lines += [f"  {output.one_line(alert, 300)}" for alert in report.alerts]
    lines += ["", "Works:", *(f"  {line}" for line in report.works or ["nothing yet"])]
    lines += ["", "Needed:", *(f"  {line}" for line in report.needed or ["nothing"])]
    lines += ["", f"Next: {report.next}"]
    return "\n".join(lines)


def _step(step: Any) -> str:
    word = {True: "ok", False: "FAILED", None: "-"}[step.success]
    status = f" (HTTP {step.status})" if step.status is not None else ""
    message = "" if step.message == "ok" else f"  {step.message}"
    return f"{word}{status}{message}"


def _document(report: Report) -> dict[str, Any]:
    return {
        "provider": report.settings.general.provider,
        "simulated": report.settings.mock,
        "environment": report.settings.environment.value,
        "method": report.method,
        "reason": report.reason,
        "connected": report.connected,
        "state": report.state,
        "read_only": report.settings.general.read_only,
        "file": report.settings.file,
        "steps": report.steps,
        "accounts": report.accounts,
        "halts": report.halts,
        "alerts": report.alerts,
        "works": report.works,
        "needed": report.needed,
        "next": report.next,
    }
