"""`ibkit support`: what helps somebody else to find a fault, in one file, without secrets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import confirmed
from ibkit.cli.flags import Json, Yes, flag
from ibkit.cli.running import go
from ibkit.clock import SystemClock
from ibkit.errors import StorageError

__all__ = ["app"]

app = cyclopts.App(name="support", help="A bundle of what helps to find a fault, without secrets.")

_NOT_DONE = 5


@app.command
def bundle(
    path: Annotated[
        Path | None, cyclopts.Parameter(help="File to write [default: ibkit-support-TIME.zip here].")
    ] = None,
    *,
    with_terms: Annotated[bool, flag("Also what the orders were: symbols, quantities, prices.")] = False,
    offline: Annotated[bool, flag("Without the network.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Write a zip with the diagnosis, versions, settings, logs and a summary of the journal, all masked."""
    from ibkit.cli.commands.doctor import diagnose
    from ibkit.settings import load
    from ibkit.upkeep.bundle import contents

    settings = load(env_file=context.current().env_file, require_method=False, strict=False)
    target = path or Path(f"ibkit-support-{SystemClock().now():%Y%m%dT%H%M%SZ}.zip")
    checks = diagnose(settings, offline=offline)
    files = go(lambda: contents(settings, checks, with_terms=with_terms))
    if not json:
        output.say(
            output.table(("File", "Bytes"), [(name, len(text.encode())) for name, text in files.items()], right=[1])
        )
    if not yes and not json and not confirmed(f"Write this to {target}? [y/N] "):
        output.warn("Nothing was written.")
        return _NOT_DONE
    _write(target, files)
    if json:
        output.emit({"path": target, "files": {name: len(text.encode()) for name, text in files.items()}})
    else:
        output.say(f"Written: {target}. Look through it before you send it.")
    return 0


def _write(target: Path, files: Mapping[str, str]) -> None:
    from ibkit.upkeep.bundle import packed

    try:
        handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(packed(files))
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink()
            raise
    except OSError as error:
        raise StorageError(
            f"The bundle {target} cannot be written: {error.strerror or error}",
            code="E-VALIDATION",
            remedy="Name a file that is not there yet, in a folder that you may write.",
        ) from error
