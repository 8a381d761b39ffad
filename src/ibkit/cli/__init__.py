"""The command `ibkit`: finds the command, runs it, and turns failures into words and an exit code.

Commands live in modules of their own (`commands.py` lists them) that are imported when used. A command raises
`IbkitError`, or returns None (done) or an exit code; it prints its result with `output`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from ibkit.cli.commands import COMMANDS, root_help

if TYPE_CHECKING:
    import cyclopts

    from ibkit.errors import IbkitError

__all__ = ["main", "run"]


def main() -> NoReturn:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One run of the command line; gives the exit code and never raises for what a user can cause."""
    # The root help needs nothing but the table: people and shells ask for it often (goal 150 ms).
    if not arguments or arguments in (["--help"], ["-h"]):
        sys.stdout.write(root_help())
        return 0
    from ibkit.cli import context, output
    from ibkit.errors import IbkitError

    output.prepare()
    try:
        options, rest = context.split(arguments)
    except IbkitError as error:
        return output.report(error, json="--json" in arguments)
    context.use(options)
    if not rest or rest in (["--help"], ["-h"]):
        output.say(root_help().rstrip("\n"))
        return 0
    if rest == ["--version"]:
        output.say(f"ibkit {_version()}")
        return 0
    try:
        return _dispatch(rest)
    except IbkitError as error:
        return output.report(error, json=options.json)
    except KeyboardInterrupt:
        output.warn("Interrupted.")
        return 130


def build() -> cyclopts.App:
    """The command tree; the commands themselves are imported when used."""
    import cyclopts

    app = cyclopts.App(
        name="ibkit",
        version=_version,
        version_flags=["--version"],
        help_formatter="plain",
        default_parameter=cyclopts.Parameter(negative=(), negative_none=()),
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    for command in COMMANDS:
        app.command(command.target, name=command.name)
    return app


def _dispatch(arguments: list[str]) -> int:
    import cyclopts

    from ibkit.cli import output

    try:
        result = build()(arguments)
    except cyclopts.CycloptsError as error:
        return output.report(_usage_error(error, arguments), json="--json" in arguments)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    return result if isinstance(result, int) else 0


def _usage_error(error: cyclopts.CycloptsError, arguments: list[str]) -> IbkitError:
    from ibkit.errors import ConfigError

    said = " ".join(str(error).split())
    command = next((c.name for c in COMMANDS if arguments and c.name == arguments[0]), None)
    return ConfigError(
        said,
        code="E-VALIDATION",
        remedy=f"See `ibkit {command} --help`." if command else "See `ibkit --help`.",
    )


def _version() -> str:
    from importlib.metadata import version

    return version("ibkit")
