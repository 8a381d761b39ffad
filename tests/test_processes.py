"""What a process of ours leaves behind when it crashes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")

SCRIPT = """
import resource
from ibkit.bootstrap.processes import leave_no_core
leave_no_core()
leave_no_core()
print(resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_crash_of_a_service_leaves_no_image_of_its_memory() -> None:
    """Keys and tokens would stand in it, and core dumps go to places that nobody thinks of."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "(0, 0)"
