"""`ibkit keys generate`: the keys that IBKR's portal asks for, made without openssl."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from ibkit.bootstrap import key_making, keyfiles
from ibkit.bootstrap.key_making import Stage
from ibkit.cli import output
from ibkit.cli.auditing import audited
from ibkit.cli.flags import flag
from ibkit.errors import ConfigError
from ibkit.model import Secret

__all__ = ["app"]

app = cyclopts.App(name="keys", help="Make the keys that IBKR's portal asks for.")

_DEFAULT_OUT = Path("config/keys")


@app.command
def generate(
    *,
    out: Annotated[Path, cyclopts.Parameter(help="Directory for the files.")] = _DEFAULT_OUT,
    kind: Annotated[
        Literal["oauth1a", "oauth2"], cyclopts.Parameter(help="Which sign-in the keys are for.")
    ] = "oauth1a",
    force: Annotated[bool, flag("Replace existing files; the old ones are put aside.")] = False,
    passphrase: Annotated[
        bool, flag("Encrypt the private keys; the passphrase is asked for, or read from stdin.")
    ] = False,
) -> int:
    """Make signature and encryption keys and Diffie-Hellman parameters (or, for OAuth 2.0, the one key)."""
    names = key_making.FILES[kind]
    there = keyfiles.existing(out, names)
    if there and not force and not _confirmed(out, there):
        output.warn(f"Nothing was changed: {out} has {', '.join(there)} already.")
        output.warn(
            "-> Keep them, or make new ones with --force (the old ones are put aside), or elsewhere with --out."
        )
        return 1
    secret = _passphrase() if passphrase else None
    keyfiles.make_directory(out)
    with audited("keys.generate", str(out), kind=kind, encrypted="no" if secret is None else "yes") as entry:
        files = key_making.make_files(kind, _teller(kind, time.monotonic), passphrase=secret)
        aside = keyfiles.put_aside(out, names, datetime.now(UTC))
        keyfiles.write_files(out, files)
        entry.details |= {"files": ", ".join(files), "replaced": "" if aside is None else str(aside)}
    ignored = keyfiles.add_to_gitignore(out, output.warn)
    output.say(f"Wrote {len(files)} files to {out} (private keys mode 600, directory 700):")
    for name in files:
        output.say(f"  {name}")
    if aside is not None:
        output.say(f"The files that were there are now in {aside}.")
    if ignored:
        output.say("Added the directory to .gitignore.")
    output.say(_next_steps(kind, out, encrypted=secret is not None))
    return 0


def _teller(kind: str, monotonic: Callable[[], float]) -> key_making.Tell:
    """What is made now, for whoever waits at a terminal."""
    searching = _progress(monotonic)

    def tell(stage: Stage, tried: int) -> None:
        if stage is Stage.KEYS:
            what = "signature and encryption keys" if kind == "oauth1a" else "key"
            output.warn(f"Making the {what} (RSA 2048) ...")
        elif not tried:
            bits = key_making.DH_BITS
            output.warn(f"Looking for a {bits}-bit safe prime; this takes from seconds to a few minutes ...")
        else:
            searching(tried)

    return tell


def _progress(monotonic: Callable[[], float]) -> Callable[[int], None]:
    """A line about every five seconds, so that nobody thinks it hangs."""
    began = monotonic()
    told = began

    def tell(tried: int) -> None:
        nonlocal told
        now = monotonic()
        if now - told >= 5:
            told = now
            output.warn(
                f"  {tried} numbers tried in {now - began:.0f} s "
                f"(about {key_making.TRIES_ON_AVERAGE} are needed on average) ..."
            )

    return tell


def _confirmed(out: Path, there: tuple[str, ...]) -> bool:
    if not sys.stdin.isatty():
        return False
    output.say(f"{out} has {', '.join(there)} already. IBKR knows only the keys that were uploaded last.")
    try:
        return input("Make new keys and put these aside? Type yes: ").strip().lower() == "yes"
    except EOFError:
        return False


def _passphrase() -> Secret[str]:
    if sys.stdin.isatty():
        import getpass

        first, second = getpass.getpass("Passphrase: "), getpass.getpass("Again: ")
        if first != second:
            raise ConfigError(
                "The two passphrases differ; nothing was written", code="E-VALIDATION", remedy="Try again."
            )
    else:
        first = sys.stdin.readline().rstrip("\r\n")
    if len(first) < 8:
        raise ConfigError(
            "The passphrase is shorter than 8 characters; nothing was written",
            code="E-VALIDATION",
            remedy="Give a longer one; it is asked for on a terminal, and read from the first line of stdin elsewhere.",
        )
    return Secret(first)


def _next_steps(kind: str, out: Path, *, encrypted: bool) -> str:
    lines = ["", "Security:"]
    lines += [
        "  - Private keys stay on this machine, mode 600: not in git, not in mail, not in a chat.",
        "  - Keep a backup that only you can open; a lost private key means new keys and a new registration.",
    ]
    if encrypted:
        variable = "IB_KEY_PASSPHRASE" if kind == "oauth1a" else "IBKR_PRIVATE_KEY_PASSPHRASE"
        lines.append(f"  - The private keys are encrypted: ibkit needs the passphrase in {variable}.")
    lines += ["", "Next:"]
    if kind == "oauth1a":
        steps = [
            f"Upload these three at IBKR's self-service portal: {', '.join(key_making.TO_UPLOAD['oauth1a'])}",
            "There, choose a consumer key of nine letters (set IB_CONSUMER_KEY), then Generate Token",
            "Put IB_ACCESS_TOKEN and IB_ACCESS_TOKEN_SECRET into .env; the secret is shown once only",
            *_paths(out, "oauth1a"),
            "ibkit verify",
            "ibkit auth test, once the keys are valid: after IBKR's next nightly restart, sometimes after the weekend",
        ]
    else:
        lines.insert(0, "")
        lines.insert(1, "WARNING: this key cannot be recovered or shown again by anybody. Without it the application")
        lines.insert(2, "at IBKR has to be registered anew.")
        steps = [
            "Register public_oauth2.pem with IBKR; it gives you IBKR_CLIENT_ID and IBKR_CLIENT_KEY_ID",
            *_paths(out, "oauth2"),
            "ibkit verify",
            "ibkit auth test",
        ]
    return "\n".join([*lines, *(f"  {number}. {step}" for number, step in enumerate(steps, 1))])


def _paths(out: Path, kind: str) -> list[str]:
    """The settings that point at the files; the defaults of OAuth 1.0a need none."""
    if kind == "oauth2":
        return [f"Set IBKR_PRIVATE_KEY_PATH={out / 'private_oauth2.pem'} in .env"]
    if out == _DEFAULT_OUT:
        return []
    settings = {
        "IB_SIGNATURE_KEY_PATH": "private_signature.pem",
        "IB_ENCRYPTION_KEY_PATH": "private_encryption.pem",
        "IB_DH_PARAM_PATH": "dhparam.pem",
    }
    return ["Set in .env: " + " ".join(f"{variable}={out / name}" for variable, name in settings.items())]
