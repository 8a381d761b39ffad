"""What happened to the service itself becomes an alert to administrators: ten failed sign-ins in a quarter of an hour.

Source: requirement MON-11.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ibkit.bootstrap.alerting import Alerting, open_alerting
from ibkit.errors import IbkitError
from ibkit.settings import Settings
from ibkit.trading.alert import Severity
from ibkit.trading.alerting import EventKind
from ibkit.trading.alerting.incident import Happening
from ibkit.users.attempts import Finding, NewPlace

__all__ = ["Findings", "happening_of_finding"]

log = logging.getLogger(__name__)


def happening_of_finding(finding: Finding | NewPlace) -> Happening:
    """What is told: the address, or the user's id; never what was typed."""
    if isinstance(finding, NewPlace):
        return Happening(
            event=EventKind.SECURITY_FINDING,
            severity=Severity.INFO,
            subject=f"new place of {finding.user_id}",
            message=f"User {finding.user_id} signed in from {finding.address}, where they never did before",
            remedy="If that was not them: end their sessions (Settings, Users), and have them choose another password.",
            at=finding.at,
            user=finding.user_id,
            details={"user": finding.user_id, "address": finding.address},
        )
    return Happening(
        event=EventKind.SECURITY_FINDING,
        subject=f"{finding.about} {finding.subject}",
        message=f"{finding.count} failed sign-ins or bad tokens of {finding.about} {finding.subject} in 15 minutes",
        at=finding.at,
        details={finding.about: finding.subject, "count": str(finding.count)},
    )


class Findings:
    """alerting: that of the login that is open, whose dispatcher is running; None where there is none."""

    def __init__(self, settings: Settings, alerting: Callable[[], Alerting | None]) -> None:
        self._settings = settings
        self._alerting = alerting

    async def tell(self, finding: Finding | NewPlace) -> None:
        """Fits `users.ports.TellFinding`. Nobody's sign-in fails because an alert cannot be told."""
        happening = happening_of_finding(finding)
        log.warning("security finding", extra={"subject": happening.subject, **happening.details})
        await self.tell_of(happening)

    async def tell_of(self, happening: Happening) -> None:
        """What happened to the service itself, and to no login of it."""
        open_already = self._alerting()
        if open_already is not None:
            await open_already.tell(happening)
            return
        try:  # a service without a login: delivered at once, at most ten channels' time limits
            async with open_alerting(self._settings) as alerting:
                await alerting.tell(happening)
                await alerting.dispatcher.once()
        except IbkitError as error:
            log.warning("an alert could not be told", extra={"event": happening.event.value, "code": error.code})
