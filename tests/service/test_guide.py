"""The guide is true: its curl lines run, on the simulated broker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service_desks import Served

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "service.md"
LINES = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


@pytest.mark.requirement("DOC-01", "GWY-01")
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("line", LINES, ids=[line.split("$BASE")[1][:24].strip() for line in LINES])
def test_a_curl_line_of_the_guide_runs_and_is_answered_without_an_error(mock_service: Served, line: str) -> None:
    env = {"BASE": mock_service.address, "TOKEN": "ada", "PATH": "/usr/bin:/bin:/usr/local/bin"}
    done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout).get("error") is None, done.stdout
