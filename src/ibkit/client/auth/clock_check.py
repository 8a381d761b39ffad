"""Whether our clock can be right, judged by the broker's Date header (requirement AUTH-03, code E-OA1-CLOCK)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ibkit.errors import CredentialsRejected
from ibkit.wire.http import Response
from ibkit.wire.login_errors import clock_skew_s

__all__ = ["TOLERANCE_S", "check_clock"]

TOLERANCE_S = 300.0


def check_clock(
    response: Response,
    now: Callable[[], datetime],
    machine_now: Callable[[], datetime] | None = None,
    *,
    tolerance_s: float = TOLERANCE_S,
) -> None:
    """Raises CredentialsRejected (E-OA1-CLOCK) if the Date header is further off than `tolerance_s`.

    Only answers about our credentials are judged: a proxy's error page may carry any date.
    machine_now: a second clock the header may agree with.
    """
    if response.status not in (200, 400, 401, 403):
        return
    skews = [clock_skew_s(response, clock()) for clock in (now, machine_now) if clock is not None]
    known = [skew for skew in skews if skew is not None]
    if not known:
        return
    skew = min(known, key=abs)
    if abs(skew) > tolerance_s:
        way = "behind" if skew > 0 else "ahead of"
        raise CredentialsRejected(
            f"Clock is wrong by {abs(skew):.0f} s: it is {way} IBKR's",
            code="E-OA1-CLOCK",
            details={"n": round(abs(skew)), "skew_s": round(skew)},
        )
