"""Amounts as people say them."""

import pytest

from denoise_daisy.amounts import core_time, duration, size

HOUR, DAY = 3600, 86400
MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.1 s"),
        (0.0312, "0.1 s"),
        (0.34, "0.3 s"),
        (1.24, "1.2 s"),
        (2.6, "3 s"),
        (45, "45 s"),
        (89, "89 s"),
        (90, "2 min"),
        (12 * 60, "12 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (3.5 * HOUR, "3.5 h"),
        (2 * DAY - 1, "48.0 h"),
        (2 * DAY, "2.0 days"),
        (2.1 * DAY, "2.1 days"),
        (40 * DAY, "40.0 days"),
    ],
)
def test_a_time_span_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 core seconds"),
        (0.1179, "0.12 core seconds"),
        (9.6, "9.6 core seconds"),
        (119, "119 core seconds"),
        (120, "2 core minutes"),
        (7199, "120 core minutes"),
        (2 * HOUR, "2 core hours"),
        (4.27 * HOUR, "4.3 core hours"),
        (248.4 * HOUR, "248 core hours"),
    ],
)
def test_work_is_said_in_a_unit_that_fits(seconds: float, words: str) -> None:
    assert core_time(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (536_000, "0.511 MiB"),
        (10 * MIB, "10 MiB"),
        (0.01 * GIB, "0.01 GiB"),
        (187.5 * GIB, "188 GiB"),
    ],
)
def test_a_size_is_said_in_a_unit_that_fits(number: float, words: str) -> None:
    assert size(int(number) + 1) == words
