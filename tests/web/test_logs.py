"""What a server writes to its log, whoever asks it for what."""

from __future__ import annotations

import logging

from serupa.web.logs import Few, OneLine


def record(message: str, *values: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("serupa.error", logging.ERROR, "f", 1, message, values, info)


def test_a_record_is_one_line_that_drives_no_terminal() -> None:
    line = OneLine("%(levelname)s %(message)s").format(record("failed: %s", "/a\nERROR forged\x1b[2J\u202e"))
    assert line == "ERROR failed: /a\\nERROR forged\\x1b[2J\\u202e"
    lines = OneLine("%(levelname)s %(message)s").format(record("failed", error=ValueError("a\nERROR b\x07")))
    assert "\x07" not in lines and "\nERROR" not in lines


def test_the_same_message_does_not_fill_the_log() -> None:
    now = [0.0]
    few = Few(3, clock=lambda: now[0])
    written = [few.filter(record("bad request of %s", n)) for n in range(100)]
    assert written == [True] * 3 + [False] * 97
    assert few.filter(record("something else"))
    now[0] = 61.0
    later = record("bad request of %s", 7)
    assert few.filter(later)
    assert later.getMessage() == "bad request of 7 (97 messages of the last minute were left out)"
