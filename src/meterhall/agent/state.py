"""What an agent keeps in its directory beside the spool: who it is, its credential, its targets.

    agent-id          UUID, made at the first start
    credential.json   host id, key and region, as enrolment gave them; mode 0600
    targets.json      the newest list of targets, so that a start without the service collects all the same
    clock.json        see `timekeeping`
    spool/            see `spool`
    LOCK              held while an agent runs here (by `app`)

The directory is its user's alone (0700). Files are written aside, synced and named, so that a crash leaves
the old one or the new one.
"""

import contextlib
import os
import uuid
from pathlib import Path
from typing import Final, TypeVar

import structlog
from msgspec import Struct

from meterhall.model.errors import BadInput, ConfigError
from meterhall.wire.agent_calls import AgentTargets, Enrolled, decode_message, encode_message

log = structlog.get_logger()

Message = TypeVar("Message", bound=Struct)

_PRIVATE: Final = 0o600


class StateDirectory:
    """The agent's own files. `open` it first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def spool(self) -> Path:
        """Where the spool is."""
        return self._path / "spool"

    @property
    def clock_file(self) -> Path:
        """Where the clock keeps what it heard first."""
        return self._path / "clock.json"

    @property
    def path(self) -> Path:
        """The directory itself."""
        return self._path

    def open(self) -> None:
        """Makes the directory. Raises ConfigError where that is not possible."""
        try:
            if not self._path.is_dir():
                self._path.mkdir(parents=True, mode=0o700)
                _sync_directory(self._path.absolute().parent)
            # A write tells more than permission bits do.
            publish(self._path / "writable", b"")
            (self._path / "writable").unlink()
        except OSError as error:
            raise ConfigError(
                f"the directory {self._path} cannot be used: {error.strerror}"
            ) from None

    def agent_id(self) -> str:
        """The agent's own name, made at the first start."""
        file = self._path / "agent-id"
        with contextlib.suppress(FileNotFoundError, ValueError):
            return str(uuid.UUID(file.read_text().strip()))
        made = str(uuid.uuid4())
        publish(file, f"{made}\n".encode())
        return made

    def credential(self) -> Enrolled | None:
        """What enrolment gave, None before it."""
        return self._load("credential.json", Enrolled)

    def keep_credential(self, enrolled: Enrolled) -> None:
        """Durably."""
        publish(self._path / "credential.json", encode_message(enrolled))

    def targets(self) -> AgentTargets | None:
        """The newest list of targets that was kept, None before it."""
        return self._load("targets.json", AgentTargets)

    def keep_targets(self, targets: AgentTargets) -> None:
        """A full disk costs only the memory of it."""
        try:
            publish(self._path / "targets.json", encode_message(targets))
        except OSError as error:
            log.warning("targets.not_kept", error=error.strerror)

    def _load(self, name: str, kind: type[Message]) -> Message | None:
        try:
            return decode_message((self._path / name).read_bytes(), kind)
        except FileNotFoundError:
            return None
        except BadInput as error:
            log.warning("state.unreadable", file=name, error=str(error))
            return None


def publish(file: Path, data: bytes) -> None:
    """Durably puts `data` under a name, readable by its owner alone. Raises OSError."""
    aside = file.with_suffix(".new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE)
    with os.fdopen(handle, "wb") as writing:
        # What an earlier crash left aside may have had another mode.
        os.fchmod(handle, _PRIVATE)
        writing.write(data)
        writing.flush()
        os.fsync(handle)
    aside.rename(file)
    _sync_directory(file.parent)


def _sync_directory(directory: Path) -> None:
    """Makes names in it durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
