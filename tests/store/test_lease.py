"""Who does a job: what a holder says of itself is told while it holds the lock, and nobody else's words are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkit.clock import SystemClock
from ibkit.errors import InFlight
from ibkit.store.lease import Lease

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("OPS-10")]


async def test_what_a_killed_holder_said_is_not_told_as_the_next_ones(tmp_path: Path) -> None:
    """Its number may be another program's by now, and `ibkit worker stop` would end that one."""
    lease = Lease(tmp_path, "job")
    async with lease.hold(clock=SystemClock(), what="the job"):
        lease.write({"pid": 1})
        left = (tmp_path / "job.json").read_bytes()
    (tmp_path / "job.json").write_bytes(left)  # a kill leaves the file, and drops the lock
    assert lease.read() is None

    async with lease.hold(clock=SystemClock(), what="the job"):
        assert lease.held()
        assert lease.read() is None
        lease.write({"pid": 2})
        assert lease.read() == {"pid": 2}
        with pytest.raises(InFlight, match="process 2"):
            async with Lease(tmp_path, "job").hold(clock=SystemClock(), what="the job"):
                pass
        assert lease.read() == {"pid": 2}
    assert not lease.held()
    assert not (tmp_path / "job.json").exists()
