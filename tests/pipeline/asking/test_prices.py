import json

from hypothesis import given
from hypothesis import strategies as st
import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.budget import Budget, Tally, affords
from askonce.pipeline.asking.prices import Price, forecast, price_of, prompt_tokens, read_prices
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.llm import LLM, request
from askonce.pipeline.simulated.serve import tokens
from tests.pipeline.doorkey_prompt import PROMPT


def test_a_price_is_known_by_the_model_s_name_and_by_its_dated_name():
    assert price_of("gpt-4o-mini-2024-07-18") == price_of("gpt-4o-mini") != price_of("gpt-4o")
    assert price_of("my-model") is None
    assert price_of("simulated") == Price(0, 0)


def test_a_price_is_that_of_the_provider_who_is_asked():
    at_groq = price_of("llama-3.1-8b-instant", address="https://api.groq.com/openai/v1")
    assert at_groq and at_groq.output > 0
    # A server of one's own may pass a known model on.
    assert price_of("gpt-4o", address="http://127.0.0.1:4000/v1") == price_of("gpt-4o")
    assert price_of("Qwen2.5-Coder-1.5B", address="http://127.0.0.1:8080/v1") is None


def test_a_user_s_own_prices_go_first(tmp_path):
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"gpt-4o": {"input": 1, "output": 2}, "mine": {"input": 0, "output": 0.5}}))
    own = read_prices(file)
    assert price_of("gpt-4o", own) == Price(1, 2) and price_of("mine", own).of(10, 2_000_000) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"m": 1}',
        '{"m": {"input": 1}}',
        '{"m": {"input": -1, "output": 1}}',
        '{"m": {"input": NaN, "output": 1}}',
        '{"m": {"input": "x", "output": 1}}',
    ],
)
def test_a_file_without_prices_is_refused_in_one_line(tmp_path, text):
    file = tmp_path / "prices.json"
    file.write_text(text)
    with pytest.raises(AskonceError, match="holds no prices") as raised:
        read_prices(file)
    assert raised.value.exit_code == 2 and "\n" not in str(raised.value)


def test_a_limit_on_cost_needs_a_price():
    with pytest.raises(AskonceError, match="--prices"):
        Terms(budget=Budget(max_cost=1))


def test_a_forecast_counts_without_asking():
    teacher = LLM("gpt-4o", "http://localhost:1/v1", max_tokens=100)
    body = request(teacher, PROMPT, "Agent sees a key, holds nothing.")
    found = forecast(((body, 10) for _ in range(5)), Price(1, 10))
    assert (found.requests, found.completion_tokens) == (5, 5000)
    assert found.cost == pytest.approx((found.prompt_tokens + 10 * 5000) / 1e6)
    assert forecast([(body, 10)], None, per_completion=7.5).completion_tokens == 75
    assert forecast([(body, 10)], None).cost is None


def test_the_estimate_of_a_prompt_is_on_the_high_side():
    body = request(LLM(), PROMPT, "Agent sees a key, holds nothing.")
    assert prompt_tokens(body) >= sum(tokens(turn["content"]) for turn in body["messages"])


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10), st.floats(0.001, 20))
def test_a_request_that_could_exceed_the_budget_is_not_afforded(cost, lost, reserved, following):
    afforded = affords(Budget(max_cost=10), Tally(cost=cost, lost=lost), following, reserved)
    assert afforded == (cost + lost + reserved + following <= 10)
