"""How the service does: sessions, calls to the broker, pacing, alerts, who failed to sign in. UI-12.

All figures are those of `GET /api/metrics` and its neighbours; nothing is counted here but sums of what they tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ibkit.service.web.site import Made, Site, Visit

__all__ = ["monitoring_pages", "throughput", "totals"]

_MINUTES = 60
_ROWS = 8


def monitoring_pages(site: Site) -> None:
    @site.get("/monitoring")
    async def monitoring(visit: Visit) -> Made:
        return await visit.page("monitoring.html", **await _figures(visit))

    @site.get("/monitoring/_figures", used=False)
    async def figures(visit: Visit) -> Made:
        return visit.fragment("figures.html", **await _figures(visit))


async def _figures(visit: Visit) -> dict[str, Any]:
    """A visitor who is no administrator is refused by the first question."""
    told = await visit.get("/api/metrics")
    visit.done(told)
    metrics = told.body
    until = datetime.fromisoformat(metrics["until"])
    by_minute = await visit.get(
        "/api/metrics", {"since": (until - timedelta(minutes=_MINUTES)).isoformat(), "by": "minute"}
    )
    history = await visit.get("/api/ibkr/session/history", {"days": 1})
    alerts = await visit.get("/api/alerts", {"closed": "false"})
    users = await visit.need("/api/users")
    health, session = await visit.get("/health"), await visit.get("/api/ibkr/session")
    return {
        "metrics": metrics,
        "totals": totals(metrics["data"]),
        "bars": throughput(by_minute.body["data"] if by_minute.ok else (), until),
        "rows": sorted(metrics["data"], key=lambda each: -each["count"]),
        "connections": await visit.need("/api/ibkr/connections"),
        "availability": history.data.get("availability_percent") if history.ok else None,
        "alerts": alerts.data if alerts.ok else [],
        "failures": await visit.need("/api/security/failures", {"limit": _ROWS}),
        "acts": await visit.need("/api/audit", {"limit": _ROWS}),
        "names": {each["user_id"]: each["name"] for each in users},
        "layers": health.body["layers"] if isinstance(health.body, dict) and "layers" in health.body else {},
        "support": await visit.need("/api/support"),
        "gateway_version": session.data.get("server_version") if session.ok else None,
    }


def totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums over all rows; a rate and a mean are None without a call."""
    calls = sum(each["count"] for each in rows)
    errors = sum(sum(each["errors"].values()) for each in rows)
    timed = [each for each in rows if each["mean_s"] is not None]
    spent = sum((Decimal(str(each["mean_s"])) * each["count"] for each in timed), Decimal(0))
    timed_calls = sum(each["count"] for each in timed)
    slowest = [Decimal(str(each["p95_s"])) for each in rows if each["p95_s"] is not None]
    return {
        "calls": calls,
        "errors": errors,
        "error_rate": Decimal(errors) / calls if calls else None,
        "mean_s": spent / timed_calls if timed_calls else None,
        "p95_s": max(slowest, default=None),
        "retries": sum(each["retries"] for each in rows),
        "waits": sum(each["rate_limit_waits"] for each in rows),
        "waited_s": sum((Decimal(str(each["rate_limit_wait_s"])) for each in rows), Decimal(0)),
        "bytes": sum(each["bytes_sent"] + each["bytes_received"] for each in rows),
    }


def throughput(rows: Sequence[Mapping[str, Any]], until: datetime) -> list[dict[str, int]]:
    """Calls of each of the last sixty whole minutes, the oldest first: x of sixty, and the height of a hundred."""
    end = until.replace(second=0, microsecond=0)
    calls, failed = [0] * _MINUTES, [0] * _MINUTES
    for each in rows:
        back = int((end - datetime.fromisoformat(each["minute"])).total_seconds() // 60)
        if 1 <= back <= _MINUTES:
            calls[_MINUTES - back] += each["count"]
            failed[_MINUTES - back] += sum(each["errors"].values())
    most = max(calls, default=0) or 1
    return [
        {"x": x, "calls": count, "height": round(100 * count / most), "failed": round(100 * bad / most)}
        for x, (count, bad) in enumerate(zip(calls, failed, strict=True))
    ]
