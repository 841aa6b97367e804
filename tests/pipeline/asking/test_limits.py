from collections import deque
import heapq
import math
import random

from hypothesis import given
from hypothesis import strategies as st
import pytest

from askonce.pipeline.asking.limits import FIRST_LIMIT, Concurrency, Pace, Window, duration, told_by


@given(st.integers(1, 5000), st.lists(st.floats(0, 30), min_size=1, max_size=300))
def test_no_minute_has_more_requests_than_allowed(per_minute, pauses):
    pace, now, times = Pace(per_minute), 0.0, []
    for pause in pauses:
        now += pause
        now += pace.wait(now)
        pace.take(1, now)
        times.append(now)
    for start in times:
        assert sum(start <= time < start + 60 - 1e-6 for time in times) <= per_minute


def test_what_was_taken_too_much_is_given_back():
    pace = Pace(per_minute=60)
    pace.take(100, 0.0)
    pace.correct(-90)
    assert pace.wait(0.0) == pytest.approx(10)


def test_a_window_is_waited_for_until_it_is_reset():
    window = Window()
    assert window.wait(1, 0.0, in_flight=True) == 0
    window.told(limit=10, remaining=3, reset_at=5.0, on_the_way=2)
    assert window.wait(1, 1.0, in_flight=True) == 0
    window.take(1)
    assert window.wait(1, 1.0, in_flight=True) == 4.0
    assert window.wait(10, 5.0, in_flight=True) == 0
    window.take(10)
    # The new window's end is not known yet: an answer in flight will tell, and without one a request must.
    assert window.wait(1, 6.0, in_flight=True) == math.inf
    assert window.wait(1, 6.0, in_flight=False) == 0


def test_a_request_beyond_the_whole_limit_waits_for_a_full_window_alone():
    window = Window()
    window.told(limit=100, remaining=50, reset_at=2.0, on_the_way=0)
    assert window.wait(500, 1.0, in_flight=False) == 1.0
    assert window.wait(500, 2.0, in_flight=False) == 0


def ask_server(concurrency: Concurrency, slots: int, answers: int, seed: int = 0) -> tuple[float, float]:
    """A server that answers so many at a time, each in about a second, and queues the rest: its answers a second, and
    the mean limit, over the second half."""
    draw, now, sent = random.Random(seed), 0.0, 0
    busy: list[tuple[float, float]] = []
    queue: deque[float] = deque()
    half, limits = (0.0, 0), []
    for number in range(answers):
        while len(busy) + len(queue) < int(concurrency.limit):
            queue.append(now)
        while queue and len(busy) < slots:
            heapq.heappush(busy, (now + draw.uniform(0.5, 1.5), queue.popleft()))
        in_flight = len(busy) + len(queue)
        now, sent = heapq.heappop(busy)
        concurrency.answered(in_flight, 100, sent, now)
        limits.append(concurrency.limit)
        half = (now, number) if number == answers // 2 else half
    return (answers - half[1]) / (now - half[0]), sum(limits[answers // 2 :]) / (answers - answers // 2)


@pytest.mark.parametrize("slots", [1, 4, 16, 100])
@pytest.mark.parametrize("seed", range(5))
def test_more_are_in_flight_only_as_long_as_that_brings_more(slots, seed):
    concurrency = Concurrency(most=256)
    rate, limit = ask_server(concurrency, slots, 4000, seed)
    assert rate >= 0.85 * slots and limit <= 4 * max(slots, FIRST_LIMIT)


def test_a_server_that_takes_all_gets_as_many_as_allowed_and_soon():
    concurrency = Concurrency(most=64)
    ask_server(concurrency, 1000, 200)
    assert concurrency.limit == 64


def test_concurrency_is_halved_once_for_each_overload_and_then_grows_in_small_steps():
    concurrency = Concurrency(most=64)
    ask_server(concurrency, 1000, 200)
    before = concurrency.limit
    for _ in range(5):  # all were sent before the first of them failed
        concurrency.overloaded(sent_at=1.0, now=2.0)
    assert concurrency.limit == before / 2
    for _ in range(int(concurrency.limit)):
        concurrency.answered(int(concurrency.limit), 1, 3.0, 4.0)
    assert before / 2 < concurrency.limit <= before / 2 + 1


@given(st.integers(1, 100), st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=200))
def test_concurrency_stays_between_one_and_the_most(most, events):
    concurrency, now = Concurrency(most), 0.0
    for answered, pause in events:
        now += pause
        if answered:
            concurrency.answered(int(concurrency.limit), 1, now, now)
        else:
            concurrency.overloaded(now, now)
        assert 1 <= concurrency.limit <= most


def test_a_limit_that_is_not_reached_does_not_grow():
    concurrency = Concurrency(most=64)
    for now in range(100):
        concurrency.answered(2, 1, now - 1, now)
    assert concurrency.limit == FIRST_LIMIT


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("6m0s", 360),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("12", 12),
        ("1.5", 1.5),
        ("1d", 86400),
        ("", None),
        ("soon", None),
        ("1x", None),
        ("-1s", None),
        ("nan", None),
    ],
)
def test_durations(text, seconds):
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


def test_rate_limit_headers_are_read_where_they_say_enough():
    headers = {
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
        "x-ratelimit-remaining-requests": "3",
    }
    assert told_by(headers, "tokens") == (150000, 149984, 360)
    assert told_by(headers, "requests") is None
    assert told_by({**headers, "x-ratelimit-reset-requests": "1s"}, "requests") == (math.inf, 3, 1)
    assert told_by({**headers, "x-ratelimit-remaining-tokens": "many"}, "tokens") is None
