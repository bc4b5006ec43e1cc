"""Log lines: one event a line, harmless to a terminal, without secrets."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from meterhall.telemetry.log import MASK, configure, one_line

KEY = "aOpreudC-Zk3v9QmXw7LsT2nYb5Hc8Rd"


@pytest.fixture(autouse=True)
def restored():
    root, library = logging.getLogger(), logging.getLogger("uvicorn")
    before, level, passes_on = root.handlers[:], root.level, library.propagate
    # A server that an earlier test began with uvicorn's own settings has changed that.
    library.propagate = True
    yield
    library.propagate = passes_on
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def logged(log_format, write, level="info"):
    out = io.StringIO()
    configure(log_format, level, out)
    write(structlog.get_logger("meterhall.test"))
    return out.getvalue()


def test_json_is_one_object_a_line():
    text = logged("json", lambda log: log.warning("it happened", target="t1", count=3, ok=True))
    (line,) = text.splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "it happened",
        "level": "warning",
        "logger": "meterhall.test",
        "target": "t1",
        "count": 3,
        "ok": True,
    }


HOSTILE = [
    "a\nlevel=error event=forged",
    "a\r\nb",
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "bell\x07 back\x08",
    "\u2028 line \u2029 paragraph",
    "\u202e right to left",
    "nul\x00",
    "\x7f",
    "\ud800 lone surrogate",
]


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_field_can_forge_or_colour_lines(log_format, text):
    def write(log):
        log.info(text, field=text, nested={text: [text, {"deep": (text,)}]})

    out = logged(log_format, write)
    assert out.count("\n") == 1
    assert out.endswith("\n")
    assert out[:-1].isprintable()
    out.encode()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nor_can_an_exception(log_format):
    def write(log):
        try:
            raise ValueError("a\nforged line \x1b[31m")
        except ValueError:
            log.exception("failed")

    out = logged(log_format, write)
    assert out.count("\n") == 1
    assert "ValueError" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nor_can_the_standard_library(log_format):
    out = logged(
        log_format, lambda _: logging.getLogger("uvicorn").warning("GET %s", "/a\nforged\x1b")
    )
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert "/a\\nforged" in out.replace("\\\\n", "\\n")


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "name",
    [
        "key",
        "appkey",
        "app_key",
        "appKey",
        "X-TC-APP-KEY",
        "x-tc-app-key",
        "token",
        "Authorization",
    ],
)
def test_secrets_are_masked_by_name_wherever_they_are(log_format, name):
    def write(log):
        log.info("event", **{name: KEY})
        log.info("event", headers={name: KEY, "accept": "*/*"})
        log.info("event", deep=[{"a": ({name: [KEY]},)}])
        logging.getLogger("x").warning("event", extra={name: KEY})

    out = logged(log_format, write)
    assert KEY not in out
    assert out.count(MASK) >= 4


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "text",
    [
        f"X-TC-APP-KEY: {KEY}",
        f"x-tc-app-key:{KEY}",
        f"curl -H 'X-TC-APP-KEY: {KEY}' http://h/",
        f"GET /x?appkey={KEY}&a=b",
        f"Authorization: Bearer {KEY}",
        f'{{"token": "{KEY}"}}',
    ],
)
def test_secrets_spelt_out_in_texts_are_masked(log_format, text):
    def write(log):
        log.info(text, url=text)
        logging.getLogger("x").warning("said %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("failed")

    assert KEY not in logged(log_format, write)


def test_what_is_no_secret_is_not_masked():
    out = logged("json", lambda log: log.info("event", key_id="k1", keys=3, monkeys=2))
    event = json.loads(out)
    assert (event["key_id"], event["keys"], event["monkeys"]) == ("k1", 3, 2)


def test_the_level_holds_for_both_ways_in():
    def write(log):
        log.info("quiet")
        logging.getLogger("x").info("quiet")
        log.warning("loud")

    assert logged("json", write, "warning").count("\n") == 1


def test_odd_values_do_not_break_a_line():
    loop = []
    loop.append(loop)
    out = logged("json", lambda log: log.info("event", a=b"\xff\n", b=loop, c=object, d={1: 2}))
    assert out.count("\n") == 1
    json.loads(out)


@given(st.text())
def test_one_line_is_printable_and_keeps_what_was(text):
    line = one_line(text)
    assert line.isprintable()
    if text.isprintable():
        assert line == text
