from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from askonce.pipeline.asking.retry import seconds_asked


@pytest.mark.parametrize(
    "text, seconds",
    [("3", 3), ("0.25", 0.25), ("0", 0), ("-1", None), ("inf", None), ("nan", None), ("", None), ("soon", None)],
)
def test_retry_after_in_seconds(text, seconds):
    assert seconds_asked({"retry-after": text}) == seconds


def test_retry_after_as_a_date_is_read_by_the_server_s_clock():
    # A clock that is hours off.
    now = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    headers = {
        "date": format_datetime(now, usegmt=True),
        "retry-after": format_datetime(now + timedelta(seconds=90), usegmt=True),
    }
    assert seconds_asked(headers) == 90
    assert seconds_asked(headers | {"retry-after": headers["date"]}) == 0


def test_without_the_server_s_clock_the_own_one_counts():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < seconds_asked({"retry-after": later}) <= 60
    assert seconds_asked({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
