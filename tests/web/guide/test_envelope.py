"""The envelope's codes agree with the guide's tables."""

import typing
from pathlib import Path

from meterhall.model.errors import ControlCode
from meterhall.web.guide import envelope

GUIDE = (Path(__file__).parent / "data" / "api-guide.md").read_text()


def test_every_code_of_the_guide_is_ours() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in GUIDE.splitlines()
        if line.startswith("| 200")
    ]
    assert rows
    ours = dict(envelope.RESULT_CODES) | {"INTERNAL_SERVER_ERROR": envelope.INTERNAL_SERVER_ERROR}
    assert {(int(row[2]), row[3]) for row in rows} == {
        (code, message) for message, code in ours.items() if message != "LIMIT_EXCEEDED"
    }


def test_every_refusal_of_the_control_plane_has_a_code() -> None:
    assert set(envelope.RESULT_CODES) == set(typing.get_args(ControlCode))


def test_keys_stand_in_the_guides_order() -> None:
    answer = bytes(envelope.success({"b": 1, "a": 2}).body)
    expected = b'{"header":{"isSuccessful":true,"resultCode":0,"resultMessage":"SUCCESS"},"body":{"b":1,"a":2}}'
    assert answer == expected
