"""A process that writes blocks and checkpoints for the service, so that no query waits for the interpreter's lock meanwhile.

It is started by `workshop`, at the other end of the socket that is its standard input. What it is told, and may write
to, comes through there; it knows no path to write to, so one whose service was killed can spoil nothing. It ends with the
socket. Messages are those of `multiprocessing.connection`: values of one program in two processes, on no disk and no network.

    →  a job, then the descriptor of an empty file
    →  of a flush, for each tenant: its owner and how many groups it has; for each group its view, and the labels of
       its series, some at a time; at the end None
    →  of a checkpoint: definitions and groups, at the end None
    ←  how many samples, or bytes of a checkpoint, are durable in the file; or the OSError or DamagedError that was raised

What else is raised ends it: the service then does the work itself, and meets the same.
"""

import gc
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any, TypeAlias

from meterhall.model.labels import Labels
from meterhall.tsdb.block import Block, Caches
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.block_works import Part, span_of, unnamed, write_flush, write_merge
from meterhall.tsdb.block_writer import BlockWriter, Span
from meterhall.tsdb.cache import ByteCache, reading_once
from meterhall.tsdb.checkpoint_works import Item, write_checkpoint
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.group_view import GroupView
from meterhall.tsdb.label_numbers import LabelNumbers
from meterhall.tsdb.memory import give_back
from meterhall.tsdb.tombstones import Contents, Erasures

Talk: TypeAlias = "Connection[Any, Any]"

_STDIN = 0


@dataclass(frozen=True, slots=True)
class FlushJob:
    """Samples that follow, of a span."""

    span: Span

    def run(self, handle: int, talk: Talk) -> int:
        """Returns how many were written. Everything that was sent has been taken then, and where it raises."""
        parts = _received(talk, self.span)
        try:
            return write_flush(_writer(handle, self.span), parts)
        finally:
            for _ in parts:
                pass


@dataclass(frozen=True, slots=True)
class MergeJob:
    """Blocks, by number and path, and what hides some of their samples."""

    blocks: Sequence[tuple[int, Path]]
    hidden: Contents

    def run(self, handle: int, _talk: Talk) -> int:
        """Returns how many samples were written. Raises DamagedError."""
        nothing = ByteCache(0)
        caches = Caches(nothing, nothing, nothing)
        with reading_once():
            blocks = [Block(number, path, caches, _left) for number, path in self.blocks]
            return write_merge(_writer(handle, span_of(blocks)), blocks, Erasures(self.hidden))


@dataclass(frozen=True, slots=True)
class CheckpointJob:
    """Definitions and what groups hold, which follow, as a log segment with this number."""

    number: int

    def run(self, handle: int, talk: Talk) -> int:
        """Returns the bytes written. Everything that was sent has been taken then, and where it raises."""
        items: Iterator[Item] = iter(talk.recv, None)
        try:
            return write_checkpoint(handle, self.number, items, Disk(), _go_on)
        finally:
            for _ in items:
                pass


Job = FlushJob | MergeJob | CheckpointJob


def serve(talk: Talk) -> None:
    """Does one job after the other. Raises EOFError or ConnectionError when the other end is closed."""
    while True:
        job: Job = talk.recv()
        handle = recv_handle(talk)
        reply: int | Exception
        try:
            reply = job.run(handle, talk)
        except (OSError, DamagedError) as error:
            reply = error.with_traceback(None)
        finally:
            os.close(handle)
        talk.send(reply)
        gc.collect()
        give_back()


def _writer(handle: int, span: Span) -> BlockWriter:
    return BlockWriter(handle, span, Disk(), _go_on)


def _go_on() -> None:
    """Whoever wants the work to stop ends the process."""


def _left(_file: str, _offset: int, _data: bytes, _reason: str) -> None:
    """Damage is found again, and told, by the service itself."""


def _received(talk: Talk, span: Span) -> Iterator[Part]:
    while (announced := talk.recv()) is not None:
        owner, groups = announced
        views: list[GroupView] = []
        labels = LabelNumbers.of(_runs(talk, groups, views))
        yield owner, unnamed(views, span), labels


def _runs(talk: Talk, groups: int, views: list[GroupView]) -> Iterator[Sequence[Labels]]:
    """Labels of groups one after the other; their views are put into `views`."""
    for _ in range(groups):
        view: GroupView = talk.recv()
        views.append(view)
        missing = len(view.slots)
        while missing:
            run: Sequence[Labels] = talk.recv()
            missing -= len(run)
            yield run


def main() -> None:
    """What `python -m` runs."""
    # Ctrl-C and a service manager's SIGTERM are meant for the service, which may still want the work in hand.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Label sets by the million are made here, and none is ever part of a cycle: one look after each job is enough.
    gc.disable()
    gc.freeze()
    with Connection(_STDIN) as talk, suppress(EOFError, ConnectionError):
        serve(talk)


if __name__ == "__main__":
    main()
