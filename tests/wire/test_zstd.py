"""zstd frames: bombs are refused by what they declare, and rubbish with typed errors."""

import contextlib
import subprocess
import sys

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.errors import BadInput, TooLarge
from meterhall.wire import zstd

LIMIT = 32 << 20
MAGIC = b"\x28\xb5\x2f\xfd"


@given(st.binary(max_size=300), st.integers(1, 50))
def test_what_was_compressed_comes_back(data, times):
    assert zstd.decompress(zstd.compress(data * times), LIMIT) == data * times


@pytest.mark.parametrize("size", [0, 255, 256, 257, 65_791, 65_792, 1 << 20, LIMIT])
def test_sizes_around_every_width_of_their_field(size):
    assert zstd.decompress(zstd.compress(bytes(size)), LIMIT) == bytes(size)


REFUSED = {
    "empty": b"",
    "rubbish": b"rubbish rubbish",
    "magic alone": MAGIC,
    "cut in the header": MAGIC + b"\xe0\x01",
    "no size declared": MAGIC + b"\x00\x58\x01\x00\x00",
    "a dictionary": MAGIC + b"\x21\x01\x00\x01\x00\x00",
    "a reserved bit": MAGIC + b"\x28\x00\x01\x00\x00",
    "a skippable frame": b"\x50\x2a\x4d\x18\x00\x00\x00\x00",
    "a lie about the size": MAGIC + b"\x20\x05\x19\x00\x00abc",
    "truncated": zstd.compress(b"whole")[:-3],
    "two frames": zstd.compress(b"one") * 2,
    "gzip": b"\x1f\x8b\x08\x00",
}


@pytest.mark.parametrize("frame", REFUSED.values(), ids=REFUSED.keys())
def test_refused(frame):
    with pytest.raises(BadInput):
        zstd.decompress(frame, LIMIT)


@pytest.mark.parametrize("size", [LIMIT + 1, 1 << 30, (1 << 32) - 1, (1 << 64) - 1])
def test_a_bomb_is_refused_by_what_it_declares(size):
    header = MAGIC + b"\xe0" + size.to_bytes(8, "little")
    with pytest.raises(TooLarge):
        zstd.decompress(header + b"\x01\x00\x00", LIMIT)


BOMBS = """
import resource, sys
from meterhall.model.errors import BadInput
from meterhall.wire.zstd import decompress
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for bomb in {bombs!r}:
    try:
        decompress(bomb, {limit})
    except BadInput:
        continue
    sys.exit("taken")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def bombs():
    """Frames that would inflate to far more than they, or we, say."""
    zeros = bytes(cramjam.zstd.compress(bytes(512 << 20), level=1))
    declared_small = MAGIC + b"\xa0" + (1 << 20).to_bytes(4, "little")
    # RLE blocks of 128 KiB each, behind a window of 128 MiB (exponent 17) and a small declaration.
    rle = (0x2 | (1 << 17) << 3).to_bytes(3, "little") + b"\x00"
    wide = MAGIC + b"\x80" + bytes([17 << 3]) + (1 << 20).to_bytes(4, "little")
    return [zeros, declared_small + rle * 4000, wide + rle * 4000, zstd.compress(b"small") + zeros]


def test_bombs_cost_no_memory():
    script = BOMBS.format(bombs=bombs(), limit=4 << 20)
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16 << 10, "KiB grown"


@given(st.binary(max_size=200))
def test_nothing_but_the_typed_errors(rubbish):
    for frame in (rubbish, MAGIC + rubbish):
        with contextlib.suppress(BadInput):
            zstd.decompress(frame, 1 << 16)
