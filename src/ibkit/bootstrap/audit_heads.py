"""The signed head of the audit log, told once a minute where it has moved: logs leave a machine.

Whoever can write the whole database can write the end of the log anew; what was told before no longer fits it then
(`ibkit audit verify --head FILE`). Source: reliability rules, threat TM-21.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from ibkit.bootstrap.auditing import audit_log
from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.settings import Settings

__all__ = ["AuditHeads"]

log = logging.getLogger(__name__)

EVERY_S = 60.0


@dataclass(slots=True, kw_only=True)
class AuditHeads:
    """clock: of the machine."""

    settings: Settings
    clock: Clock
    _told: int = field(default=0, init=False)
    _failing: bool = field(default=False, init=False)

    async def look(self) -> bool:
        """Tell the head where entries have come since it was told last; whether it was. What fails is told once."""
        try:
            async with audit_log(self.settings) as audit:
                head = await audit.head()
        except IbkitError as error:
            if not self._failing:
                log.warning(
                    "the head of the audit log cannot be told", extra={"code": error.code, "why": error.message}
                )
            self._failing = True
            return False
        self._failing = False
        if head.number == self._told:
            return False
        self._told = head.number
        log.info("audit head", extra={"head": head.document["head"]})
        return True

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.clock.sleep(EVERY_S)
            try:
                await self.look()
            except Exception:  # whoever runs this beside orders must not fall with it
                log.exception("the audit head cannot be told")
