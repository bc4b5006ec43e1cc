"""The rules for what users and operators may write into a field, as `contract/system-api.md` has them.

Each function returns the value to store or raises ControlError BAD_INPUT_VALUE with a sentence that
names field and value. Nothing here looks into the database.
"""

import ipaddress
import re

from meterhall.model.errors import ControlError
from meterhall.model.limits import INTERVAL_MS_MAX, INTERVAL_MS_MIN

JOB_NAME_CHARS_MAX = 64
METRICS_PATH_CHARS_MAX = 1024
DESCRIPTION_CHARS_MAX = 1024
NAME_CHARS_MAX = 255
PORT_MAX = 65535

_VALUE_CHARS_SHOWN = 80
# Our own patterns, none of which can backtrack.
_JOB_NAME = re.compile(r"[A-Za-z0-9_-]+")  # noqa: TID251
_DNS_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")  # noqa: TID251
_NUMBER_LIKE = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # noqa: TID251
_DNS_NAME_CHARS_MAX = 253


def shown(value: object) -> str:
    """A value as error texts quote it: escaped, and cut where it is long."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= _VALUE_CHARS_SHOWN else text[:_VALUE_CHARS_SHOWN] + "…"


def bad_input(detail: str) -> ControlError:
    """-40002 with its sentence."""
    return ControlError("BAD_INPUT_VALUE", detail)


def job_name(value: str) -> str:
    """A workspace's name as a user may choose it."""
    if value.startswith("@"):
        raise bad_input(f"jobName {shown(value)} begins with '@', which the system reserves")
    if not _JOB_NAME.fullmatch(value):
        raise bad_input(f"jobName {shown(value)} may hold only letters, digits, '-' and '_'")
    if len(value) > JOB_NAME_CHARS_MAX:
        raise bad_input(f"jobName {shown(value)} is longer than {JOB_NAME_CHARS_MAX} characters")
    return value


def metrics_path(value: str) -> str:
    """The path that is fetched from each target, with its query string if any.

    It is pasted behind `http://HOST:PORT`, so it must be unable to name another host or to end the
    request line.
    """
    if not value.startswith("/"):
        raise bad_input(f"metricsPath {shown(value)} must begin with '/'")
    if value.startswith("//") or "\\" in value:
        raise bad_input(f"metricsPath {shown(value)} must not name a host")
    if "#" in value:
        raise bad_input(f"metricsPath {shown(value)} must not have a fragment")
    if " " in value or not value.isprintable():
        raise bad_input(f"metricsPath {shown(value)} holds a space or a control character")
    if len(value) > METRICS_PATH_CHARS_MAX:
        raise bad_input(f"metricsPath is longer than {METRICS_PATH_CHARS_MAX} characters")
    return value


def description(value: str | None) -> str | None:
    """Free text; the empty text and null both mean that there is none."""
    if not value:
        return None
    if len(value) > DESCRIPTION_CHARS_MAX:
        raise bad_input(f"description is longer than {DESCRIPTION_CHARS_MAX} characters")
    if "\0" in value or not _is_unicode(value):
        raise bad_input("description holds a NUL or half of a surrogate pair")
    return value


def port(value: int) -> int:
    """A TCP port."""
    if not 1 <= value <= PORT_MAX:
        raise bad_input(f"port {shown(value)} is not in 1-{PORT_MAX}")
    return value


def interval_ms(value: int | None) -> int | None:
    """Time between two collections; None leaves it to the server."""
    if value is not None and not INTERVAL_MS_MIN <= value <= INTERVAL_MS_MAX:
        raise bad_input(f"interval {value} ms is not in {INTERVAL_MS_MIN}-{INTERVAL_MS_MAX} ms")
    return value


def name(field: str, value: str) -> str:
    """The name of a project, a key or a host: one line of printable text."""
    if not value.strip() or not value.isprintable():
        raise bad_input(f"{field} {shown(value)} must be printable text, not empty")
    if len(value) > NAME_CHARS_MAX:
        raise bad_input(f"{field} {shown(value)} is longer than {NAME_CHARS_MAX} characters")
    return value


def address(value: str) -> str:
    """An IP address or a host name, without scheme, user, port or path.

    Names that some resolvers read as numbers (`2852039166`, `0x7f.1`, `0177.0.0.1`) are refused: what
    they mean depends on who reads them.
    """
    try:
        if "%" not in value:
            return str(ipaddress.ip_address(value))
    except ValueError:
        if _is_dns_name(value):
            return value
    raise bad_input(f"address {shown(value)} is neither an IP address nor a host name")


def _is_dns_name(value: str) -> bool:
    labels = value.removesuffix(".").split(".")
    return (
        len(value) <= _DNS_NAME_CHARS_MAX
        and all(_DNS_LABEL.fullmatch(label) for label in labels)
        and not _NUMBER_LIKE.fullmatch(labels[-1])
    )


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
