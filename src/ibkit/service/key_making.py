"""Keys for IBKR's portal, made in the background while the service goes on: into files, or into a user's vault.

One job at a time, for it costs a processor; what it does stands in the audit log when it ends. A private key is
answered to nobody. Source: requirements SET-01, SET-02, VLT-07; docs/facts/auth-and-sessions.md §1.1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from ibkit.bootstrap import keyfiles
from ibkit.bootstrap.credential_desk import Asker, CredentialDesk
from ibkit.bootstrap.key_making import FILES, TO_UPLOAD, Kind, Stage, make_files, public_files
from ibkit.clock import Clock
from ibkit.errors import ConfigError, IbkitError, NotFound
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.settings import Settings
from ibkit.vault import MaskedCredential

__all__ = ["CONNECTION", "KeyJob", "KeyMaking", "directory_of"]

log = logging.getLogger(__name__)

CONNECTION = "default"
_OAUTH2_DIRECTORY = Path("config/keys")


@dataclass(slots=True)
class KeyJob:
    """user_id: whose vault; empty for files. Written by the thread that makes the keys, read by whoever asks."""

    kind: Kind
    user_id: str
    began_at: datetime
    stage: Stage = Stage.KEYS
    tried: int = 0
    ended_at: datetime | None = None
    replaced: str | None = None
    error: IbkitError | None = None
    stopped: bool = False

    def tell(self, stage: Stage, tried: int) -> None:
        if self.stopped:
            raise IbkitError("The service ends", code="E-INTERNAL")
        self.stage, self.tried = stage, max(tried, self.tried)


def directory_of(settings: Settings, kind: Kind) -> Path:
    """Where the settings look for the files of that kind."""
    if kind == "oauth1a":
        return settings.oauth1.dh_param_path.parent.absolute()
    given = settings.oauth2.private_key_path
    return (_OAUTH2_DIRECTORY if given is None else given.parent).absolute()


class KeyMaking:
    """tasks: in which jobs run. desk: the vault of users, None with ENABLE_MULTI_USER=false."""

    def __init__(self, settings: Settings, tasks: TaskGroup, clock: Clock, desk: CredentialDesk | None) -> None:
        self.settings = settings
        self.desk = desk
        self.jobs: dict[str, KeyJob] = {}
        """The last one, by whose it was."""
        self._tasks = tasks
        self._clock = clock

    def job_of(self, user_id: str) -> KeyJob | None:
        return self.jobs.get(user_id if self.desk is not None else "")

    def into_files(self, kind: Kind, noting: AbstractContextManager[Any], *, replace: bool) -> None:
        """Begin. ConfigError (E-VALIDATION) where files are there and `replace` does not say to put them aside."""
        there = keyfiles.existing(directory_of(self.settings, kind), FILES[kind])
        if there and not replace:
            raise _there_already(f"{directory_of(self.settings, kind)} has {', '.join(there)}")
        self._begin(KeyJob(kind, "", self._clock.now()), noting, self._write)

    async def into_vault(
        self,
        who: Asker,
        noting: AbstractContextManager[Any],
        *,
        consumer_key: str,
        environment: Environment,
        replace: bool,
    ) -> None:
        """Begin. ConfigError (E-VALIDATION) where keys wait already and `replace` does not say to replace them."""
        kept = await self.kept(who.user_id)
        if kept is not None and not replace:
            raise _there_already("the vault has keys of OAuth 1.0a")
        work = partial(self._seal, who=who, consumer_key=consumer_key, environment=environment)
        self._begin(KeyJob("oauth1a", who.user_id, self._clock.now()), noting, work)

    def _begin(self, job: KeyJob, noting: AbstractContextManager[Any], work: Any) -> None:
        if any(each.ended_at is None for each in self.jobs.values()):
            raise ConfigError(
                "Invalid request: kind: keys are being made already",
                code="E-VALIDATION",
                remedy="Wait until they are done: GET /api/onboarding/keys.",
                details={"errors": [{"field": "kind", "message": "keys are being made already"}]},
            )
        self.jobs[job.user_id] = job
        self._tasks.start_soon(self._run, job, noting, work)

    async def _run(self, job: KeyJob, noting: AbstractContextManager[Any], work: Any) -> None:
        try:
            with noting:
                make = partial(make_files, job.kind, job.tell, apart=True)
                files = await anyio.to_thread.run_sync(make, abandon_on_cancel=True)
                await work(job, files)
        except IbkitError as error:
            job.error = error
        except Exception as error:
            log.error("keys could not be made", exc_info=error)
            job.error = IbkitError(code="E-INTERNAL")
        finally:
            job.stopped = True
            job.ended_at = self._clock.now()

    async def _write(self, job: KeyJob, files: Mapping[str, str]) -> None:
        directory = directory_of(self.settings, job.kind)

        def written() -> Path | None:
            keyfiles.make_directory(directory)
            aside = keyfiles.put_aside(directory, FILES[job.kind], datetime.now(UTC))
            keyfiles.write_files(directory, files)
            keyfiles.add_to_gitignore(directory, log.warning)
            return aside

        aside = await anyio.to_thread.run_sync(written)
        job.replaced = None if aside is None else str(aside)

    async def _seal(
        self, job: KeyJob, files: Mapping[str, str], *, who: Asker, consumer_key: str, environment: Environment
    ) -> None:
        assert self.desk is not None
        fields = {
            "consumer_key": Secret(consumer_key),
            "signature_key": Secret(files["private_signature.pem"]),
            "encryption_key": Secret(files["private_encryption.pem"]),
            "dh_params": Secret(files["dhparam.pem"]),
        }
        await self.desk.put(who, CONNECTION, method=AuthMethod.OAUTH1A, environment=environment, fields=fields)

    # -- what is kept -------------------------------------------------------------------------------------------------

    async def kept(self, user_id: str) -> MaskedCredential | None:
        """Keys of OAuth 1.0a in that user's vault: those that wait, else those in use."""
        if self.desk is None:
            return None
        found = await self.desk.of_connection(user_id, CONNECTION)
        each = found.waiting or found.in_use
        return each if each is not None and each.method is AuthMethod.OAUTH1A else None

    async def add_token(self, who: Asker, fields: Mapping[str, Secret[str]]) -> None:
        """To the keys that are kept, which stay as they are. NotFound where there are none."""
        kept = await self.kept(who.user_id)
        if self.desk is None or kept is None:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "keys"})
        opened = await self.desk.credentials.open_for_test(kept.credential_id)
        await self.desk.put(
            who,
            CONNECTION,
            method=opened.method,
            environment=opened.environment,
            fields={**opened.fields, **fields},
            label=kept.label,
        )

    async def public_file(self, user_id: str, name: str) -> str:
        """NotFound for whatever is not public, not known, or not there."""
        kind = next((kind for kind, names in TO_UPLOAD.items() if name in names), None)
        if kind is None:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "file"})
        if self.desk is not None:
            return await self._of_vault(user_id, name)
        path = directory_of(self.settings, kind) / name
        try:
            return await anyio.to_thread.run_sync(lambda: path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            raise NotFound(code="E-NOT-FOUND", details={"thing": "file"}) from None

    async def _of_vault(self, user_id: str, name: str) -> str:
        kept = await self.kept(user_id)
        if self.desk is None or kept is None or name not in TO_UPLOAD["oauth1a"]:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "file"})
        opened = await self.desk.credentials.open_for_test(kept.credential_id)
        if "key_passphrase" in opened.fields:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "file"})  # whoever made it has the public half
        fields = opened.fields
        files = await anyio.to_thread.run_sync(
            lambda: public_files(fields["signature_key"], fields["encryption_key"], fields["dh_params"])
        )
        return files[name]


def _there_already(what: str) -> ConfigError:
    told = f"{what} already; IBKR knows only the keys that were uploaded last"
    return ConfigError(
        f"Invalid request: replace: {told}",
        code="E-VALIDATION",
        remedy="Keep them, or say `replace`: files are put aside, never deleted.",
        details={"errors": [{"field": "replace", "message": told}]},
    )
