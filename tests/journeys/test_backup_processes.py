"""A backup while a worker watches and commands sell; a restore that has to wait for it; and nothing sold twice."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from journeys.test_processes import SALE, SOLD_AND_PROTECTED, Person
from journeys.test_worker_processes import status, working
from running import RunningSimulator, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    pytest.mark.requirement("OPS-03", "OPS-07"),
]


def test_a_sale_that_the_backup_has_forgotten_is_not_made_again(worlds: list[RunningSimulator], tmp_path: Path) -> None:
    person = Person(worlds[0], tmp_path)
    person.world.reset()
    backup = str(tmp_path / "before.ibkit-backup")
    with working(person) as worker:
        code, out, err = person.run("backup", backup)
        assert code == 0, (out, err)
        code, out, err = person.run(*SALE)
        assert code == 0, (out, err)
        assert sorted(person.orders()) == sorted(SOLD_AND_PROTECTED)

        code, _, err = person.run("restore", backup, "--yes")
        assert code == 5, err
        assert "in use" in err

        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    until(lambda: status(person) == {}, what="the end of the worker")
    code, out, err = person.run("restore", backup, "--yes", "--json")
    assert code == 0, (out, err)
    assert Path(json.loads(out)["aside"]).is_dir()

    code, out, err = person.run(*SALE)
    assert code != 0
    assert "restored" in out + err
    assert sorted(person.orders()) == sorted(SOLD_AND_PROTECTED), "the same key has sold nothing more"
    code, out, err = person.run("doctor", "--offline", "--json")
    failed = [check["name"] for check in json.loads(out)["checks"] if check["mark"] == "FAIL"]
    assert failed == ["journal's mark"], out
