"""Request bodies: bytes to a JSON object, and its fields to values of the right type.

Sans-I/O. Everything that is wrong is ControlError BAD_INPUT_VALUE (-40002) and names the culprit. Keys that
nobody asks for are ignored; what the values may say is the control plane's business (`control.fields`).
"""

import json
import math
from collections.abc import Mapping
from email.message import Message
from typing import Any, NoReturn

from meterhall.control.fields import bad_input, shown

Body = Mapping[str, Any]

# "65535" with a few leading zeros; a longer run of digits is no port.
_PORT_DIGITS_MAX = 16


def parse_object(content_type: str | None, content: bytes) -> Body:
    """The JSON object of a body whose Content-Type must be application/json, as the guide requires."""
    _check_content_type(content_type)
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise bad_input("the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise bad_input("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise bad_input(f"the body is not JSON: {error}") from None
    except ValueError as error:
        # int() refuses thousands of digits; our own hooks say what they refuse.
        reason = str(error) if isinstance(error, _Refused) else "a number has too many digits"
        raise bad_input(f"the body is not acceptable JSON: {reason}") from None
    if not isinstance(value, dict):
        raise bad_input("the body is not a JSON object")
    return value


def required_text(body: Body, key: str) -> str:
    """A string that must be there."""
    value = body.get(key)
    if value is None:
        raise bad_input(f"{key} is required")
    if not isinstance(value, str):
        raise bad_input(f"{key} {shown(value)} is not a string")
    return value


def optional_text(body: Body, key: str) -> str | None:
    """A string, null, or nothing."""
    return None if body.get(key) is None else required_text(body, key)


def required_port(body: Body, key: str) -> int:
    """A whole number, or a string of ASCII digits as the guide's own curl line sends it."""
    value = body.get(key)
    if value is None:
        raise bad_input(f"{key} is required")
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value[: _PORT_DIGITS_MAX + 1])
    # bool is a kind of int to Python, and 9100.0 the same number as 9100 to JSON.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise bad_input(f"{key} {shown(value)} is neither a whole number nor a string of digits")


class _Refused(ValueError):
    """JSON by its grammar, but with no meaning that everyone would agree on."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Refused("an object has the same key twice")
    return made


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _Refused(f"the number {shown(digits)} is too large")
    return number


def _refuse_constant(word: str) -> NoReturn:
    raise _Refused(f"{word} is not JSON")


def _check_content_type(content_type: str | None) -> None:
    if content_type is None:
        raise bad_input("the header Content-Type is missing; it must be application/json")
    parsed = Message()
    parsed["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    charset = parsed.get_content_charset("utf-8")
    if parsed.get_content_type() != "application/json" or charset not in ("utf-8", "us-ascii"):
        raise bad_input(f"Content-Type {shown(content_type)} is not application/json in UTF-8")
