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
        if key := context.under_way():
            return output.report(_left_behind(key), json=options.json)
        output.warn("Interrupted.")
        return 130
    except Exception as error:  # noqa: BLE001  - the last place: a fault of ours becomes a code, not a traceback
        return output.report(_internal(error), json=options.json)


def _left_behind(key: str) -> IbkitError:
    from ibkit.errors import OutcomeUnknown

    return OutcomeUnknown(
        f"Interrupted while an order was placed: outcome unknown (key {key})",
        code="E-ORD-UNKNOWN",
        remedy=f"Do not send it under another key. Check: ibkit intents show {key}",
    )


def build(*names: str) -> cyclopts.App:
    """The command tree with these commands (all, where none is named); each is imported when used."""
    import cyclopts

    from ibkit.cli.helping import AlignedHelp

    app = cyclopts.App(
        name="ibkit",
        version=_version,
        version_flags=["--version"],
        help_formatter=AlignedHelp(),
        default_parameter=cyclopts.Parameter(negative=(), negative_none=()),
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,  # the library would end with 130 and no word of what was under way
        result_action="return_value",
    )
    for command in COMMANDS:
        if not names or command.name in names:
            app.command(command.target, name=command.name)
    return app


def _dispatch(arguments: list[str]) -> int:
    import cyclopts

    name = arguments[0]
    if name not in (command.name for command in COMMANDS):
        raise _unknown(name)
    try:
        result = build(name)(arguments)
    except cyclopts.CycloptsError as error:
        raise _usage_error(" ".join(str(error).split()), f"See `ibkit {name} --help`.") from error
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    return result if isinstance(result, int) else 0


def _unknown(name: str) -> IbkitError:
    from difflib import get_close_matches

    if name.startswith("-"):
        return _usage_error(f"Unknown option: {name}.", "See `ibkit --help`.")
    near = get_close_matches(name, [command.name for command in COMMANDS], n=1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    return _usage_error(f'Unknown command "{name}".{meant}', "See `ibkit --help`.")


def _usage_error(said: str, remedy: str) -> IbkitError:
    from ibkit.errors import ConfigError

    return ConfigError(said, code="E-VALIDATION", remedy=remedy)


def _internal(error: Exception) -> IbkitError:
    """A fault of ibkit itself: the traceback goes to a file that can be sent along with the trace id."""
    from ibkit.cli import output
    from ibkit.errors import IbkitError

    file = output.keep_traceback(error)
    return IbkitError(
        f"Unexpected fault in ibkit: {type(error).__name__}",
        code="E-INTERNAL",
        remedy=f"Please report it, with {file}." if file else None,
    )


def _version() -> str:
    from importlib.metadata import version

    return version("ibkit")
