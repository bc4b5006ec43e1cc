"""Ids and keys."""

import itertools
import uuid

import pytest

from meterhall.control.identifiers import Identifiers, digest_of, is_code, is_uuid


def test_shapes() -> None:
    made = Identifiers()
    assert len(made.project_id()) == 8
    assert made.project_id().isalpha()
    appkey = made.appkey()
    # 62 ** 43 is just above 2 ** 256.
    assert (len(appkey), appkey.isalnum(), appkey.isascii()) == (43, True, True)
    assert uuid.UUID(made.uuid()).version == 4
    assert is_uuid(made.uuid())


def test_nothing_comes_twice() -> None:
    made = Identifiers()
    assert len({made.appkey() for _ in range(1000)}) == 1000


def test_every_letter_is_equally_likely() -> None:
    """All 256 bytes once: each letter comes equally often, and the unfair rest is thrown away."""
    bytes_in_turn = itertools.cycle(range(256))
    made = Identifiers(lambda n: bytes(next(bytes_in_turn) for _ in range(n)))
    text = "".join(made.project_id() for _ in range(26))
    assert {text.count(letter) for letter in set(text)} == {4}


@pytest.mark.parametrize(
    "text", ["", "x", "6F9619FF-8B86-4D11-B42D-00C04FC964FF", "{6f9619ff-8b86-4d11-b42d-00c04fc964ff}",
             "6f9619ff-8b86-4d11-b42d-00c04fc964ff\n", "\uff16f9619ff-8b86-4d11-b42d-00c04fc964ff", "\0"],
)  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    assert not is_uuid(text)


def test_codes() -> None:
    assert all(map(is_code, ("aOpreudC", "kr", "us-1", Identifiers().project_id())))
    assert not any(map(is_code, ("", "kr\n", "\0", "\ud800", "a/b", "..", "x" * 33, "\u0430")))


def test_the_digest_is_sha_256() -> None:
    assert digest_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(digest_of("\ud800")) == 64
