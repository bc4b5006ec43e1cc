"""Answers made piece by piece stop where they must."""

import pytest

from meterhall.model.errors import QueryCanceled
from meterhall.web.reply import STREAMED_BYTES_MIN, json_reply


def pieces_of(size: int, count: int, made: list[int]):
    for number in range(count):
        made.append(number)
        yield b"x" * size


def test_encoding_stops_at_the_first_check_that_raises():
    made, checks = [], []

    def check() -> None:
        checks.append(len(made))
        if len(made) == 3:
            raise QueryCanceled("query was canceled")

    with pytest.raises(QueryCanceled):
        json_reply(pieces_of(10, 1000, made), False, check)
    assert made == [0, 1, 2]
    assert checks == [1, 2, 3]


@pytest.mark.parametrize("gzip", [False, True])
def test_a_long_answer_is_made_no_further_than_what_is_sent(gzip):
    made = []
    reply = json_reply(pieces_of(STREAMED_BYTES_MIN // 2, 100, made), gzip)
    assert len(made) == 2
    assert reply.rest is not None
    for _ in range(3):
        next(reply.rest)
    assert len(made) <= 5
