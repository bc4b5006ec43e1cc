"""Where the files of blocks and checkpoints are written: in a process of its own (`scribe`), or here.

Beside another process that computes a query takes no longer; beside a thread that does it waits for the interpreter's lock,
twenty times and more (ADR 0005). But the process is a favour, not a condition: where it cannot be had, or is lost,
the work is done here.
"""

import errno
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Pipe
from multiprocessing.reduction import send_handle

import structlog

from meterhall.tsdb.block import Block
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.block_works import Share, numbered, span_of, write_flush, write_merge
from meterhall.tsdb.block_writer import BlockWriter, Span
from meterhall.tsdb.checkpoint_works import Item, write_checkpoint
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.scribe import CheckpointJob, FlushJob, Job, MergeJob, Talk
from meterhall.tsdb.tombstones import Erasures

_log = structlog.get_logger()

# Labels that are sent at a time: pickling them holds the lock, half a microsecond for each pair.
_LABELS_SENT = 500
# So many turns of the upkeep without work end the process. It takes 60 MB, and a third of a second to start.
_IDLE_TURNS = 3
# So many losses in a row, and no other is started.
_LOSSES_MAX = 3


class LostError(OSError):
    """The process that writes blocks has ended before its work was done."""


class Workshop:
    """Takes one job at a time; `interrupt` may be called by any thread."""

    def __init__(self, disk: Disk, check: Callable[[], None], *, apart: bool) -> None:
        """`check` may raise to stop the work. With `apart` there is a process for it where that can be had."""
        self._disk = disk
        self._check = check
        self._losses = 0 if apart else _LOSSES_MAX
        self._idle = 0
        self._scribe: _Scribe | None = None

    def flush(self, handle: int, span: Span, shares: Sequence[Share]) -> int:
        """Writes tenants, given in directory order, into an empty file; returns how many samples are durable in it.

        Raises OSError.
        """

        def here() -> int:
            writer = BlockWriter(handle, span, self._disk, self._check)
            return write_flush(writer, numbered(shares, span))

        return self._done(handle, lambda scribe: scribe.flush(handle, span, shares), here)

    def merge(self, handle: int, blocks: Sequence[Block], erasures: Erasures) -> int:
        """The same of what blocks hold and nothing hides. Raises DamagedError where damage turned up, and OSError."""

        def here() -> int:
            writer = BlockWriter(handle, span_of(blocks), self._disk, self._check)
            return write_merge(writer, blocks, erasures)

        return self._done(handle, lambda scribe: scribe.merge(handle, blocks, erasures), here)

    def checkpoint(self, handle: int, number: int, items: Callable[[], Iterator[Item]]) -> int:
        """Writes a checkpoint as log segment `number` likewise; returns its bytes. Raises OSError.

        `items` gives what belongs into it, from the beginning each time that it is called.
        """

        def here() -> int:
            return write_checkpoint(handle, number, items(), self._disk, self._check)

        return self._done(handle, lambda scribe: scribe.checkpoint(handle, number, items()), here)

    def rest(self) -> None:
        """To be called once a turn: ends a process that has had nothing to do for some of them."""
        self._idle += 1
        if self._idle > _IDLE_TURNS:
            self.close()

    def interrupt(self) -> None:
        """Breaks off what the process does, if there is one. `check` must raise from now on."""
        scribe = self._scribe
        if scribe is not None:
            scribe.kill()

    def close(self) -> None:
        """Ends the process."""
        scribe, self._scribe = self._scribe, None
        if scribe is not None:
            scribe.close()

    def _done(self, handle: int, apart: Callable[["_Scribe"], int], here: Callable[[], int]) -> int:
        self._idle = 0
        if self._losses < _LOSSES_MAX:
            try:
                done = apart(self._ready())
                self._losses = 0
                return done
            except LostError as error:
                self.close()
                self._check()
                self._losses += 1
                _log.warning("scribe.lost", reason=error.strerror)
            except DamagedError:
                # Found again here, where it is told.
                pass
            except OSError:
                raise
            except BaseException:
                # It may wait for what will never be sent.
                self.close()
                raise
            self._disk.truncate(handle, 0)
        return here()

    def _ready(self) -> "_Scribe":
        if self._scribe is None:
            self._scribe = _Scribe()
        # An interruption that came before there was anything to kill.
        self._check()
        return self._scribe


class _Scribe:
    """The process, and this end of what is said. Raises LostError as soon as it is gone."""

    def __init__(self) -> None:
        self._talk: Talk
        with _lost():
            self._talk, theirs = Pipe()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "meterhall.tsdb.scribe"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                )

    def flush(self, handle: int, span: Span, shares: Sequence[Share]) -> int:
        """See `Workshop.flush`."""
        with _lost():
            self._begin(FlushJob(span), handle)
            for share in shares:
                self._send(share)
            self._talk.send(None)
        return self._answer()

    def merge(self, handle: int, blocks: Sequence[Block], erasures: Erasures) -> int:
        """See `Workshop.merge`."""
        with _lost():
            paths = [(block.number, block.path) for block in blocks]
            self._begin(MergeJob(paths, erasures.contents), handle)
        return self._answer()

    def checkpoint(self, handle: int, number: int, items: Iterator[Item]) -> int:
        """See `Workshop.checkpoint`."""
        with _lost():
            self._begin(CheckpointJob(number), handle)
            for item in items:
                self._talk.send(item)
            self._talk.send(None)
        return self._answer()

    def kill(self) -> None:
        """Whatever it is doing."""
        self._process.kill()

    def close(self) -> None:
        """Ends it, and waits until it has ended."""
        self._talk.close()
        self._process.kill()
        self._process.wait()

    def _begin(self, job: Job, handle: int) -> None:
        self._talk.send(job)
        send_handle(self._talk, handle, self._process.pid)

    def _send(self, share: Share) -> None:
        self._talk.send((share.owner, len(share.views)))
        for labels, view in zip(share.labels, share.views, strict=True):
            self._talk.send(view)
            for first in range(0, len(labels), _LABELS_SENT):
                self._talk.send(labels[first : first + _LABELS_SENT])

    def _answer(self) -> int:
        with _lost():
            answer: int | Exception = self._talk.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def _lost() -> Iterator[None]:
    """What fails in here is talk, not work."""
    try:
        yield
    except (OSError, EOFError) as error:
        raise LostError(errno.EPIPE, f"the process that writes blocks is lost: {error}") from error
