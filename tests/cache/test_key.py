import hashlib
import json
import string

from hypothesis import assume, given, settings
from hypothesis import strategies as st
import pytest

from askonce.cache.errors import AskonceError
from askonce.cache.key import answer_key, canonical_json, endpoint_identity

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "n"), JSON, max_size=5)

# A busy machine is no failure.
untimed = settings(deadline=None)

BODY = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "You guide an agent.\n"},
        {"role": "user", "content": 'Agent sees "clé", 门, holds <nothing>.'},
    ],
    "temperature": 0.0,
    "top_p": 0.95,
    "max_tokens": 512,
    "n": 10,
    "logprobs": False,
    "stop": None,
}


def reversed_order(value):
    if isinstance(value, dict):
        return {name: reversed_order(value[name]) for name in reversed(list(value))}
    if isinstance(value, list):
        return [reversed_order(item) for item in value]
    return value


def as_floats(value):
    """Every integer that a float can hold, written as one; zero as the negative one."""
    if isinstance(value, dict):
        return {name: as_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    if type(value) is int and abs(value) <= 2**53:
        return float(value) if value else -0.0
    return value


def test_golden_key_of_a_chat_request():
    canonical = (
        r'{"body":{"logprobs":false,"max_tokens":512,"messages":[{"content":"You guide an agent.\n",'
        r'"role":"system"},{"content":"Agent sees \"clé\", 门, holds <nothing>.","role":"user"}],'
        r'"model":"gpt-4o-mini","stop":null,"temperature":0,"top_p":0.95},'
        r'"endpoint":"https://api.openai.com/v1"}'
    )
    key = answer_key(BODY, endpoint_identity("https://API.openai.com:443/v1/"))
    assert key == "v1-sha256:" + hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    assert key == "v1-sha256:7163c6d81c80fdd0d1abdfc2d64dd7159c9e96fd00386da50fb0dda2a06df822"


def test_golden_key_of_an_empty_request():
    key = answer_key({}, "simulated")
    assert key == "v1-sha256:" + hashlib.sha256(b'{"body":{},"endpoint":"simulated"}').hexdigest()
    assert key == "v1-sha256:0b19e5e84c0eb874095795d589ec6d5fcf5608553f4d612b145874b0c4434de7"


@untimed
@given(JSON)
def test_canonical_json_says_the_same_as_the_value(value):
    written = canonical_json(value)
    assert json.loads(written) == value
    assert canonical_json(json.loads(written)) == written


@untimed
@given(BODIES)
def test_key_does_not_depend_on_order_or_on_how_a_whole_number_is_written(body):
    assert answer_key(reversed_order(body), "e") == answer_key(body, "e")
    assert answer_key(as_floats(body), "e") == answer_key(body, "e")


@untimed
@given(BODIES, st.integers())
def test_the_number_of_samples_is_not_part_of_the_key(body, n):
    assert answer_key(body | {"n": n}, "e") == answer_key(body, "e")


def test_n_counts_anywhere_but_at_the_top():
    assert answer_key({"extra": {"n": 1}}, "e") != answer_key({"extra": {"n": 2}}, "e")


@untimed
@given(BODIES, st.text(max_size=8), JSON)
def test_every_field_of_the_body_counts(body, name, value):
    assume(name != "n" and name not in body)
    assert answer_key(body | {name: value}, "e") != answer_key(body, "e")


@pytest.mark.parametrize("name", sorted(set(BODY) - {"n"}))
def test_every_change_of_a_field_changes_the_key(name):
    assert answer_key(BODY | {name: "changed"}, "e") != answer_key(BODY, "e")


def test_values_that_python_holds_equal_but_json_does_not():
    keys = {answer_key({"field": value}, "e") for value in (0, False, "0", None, [], {}, [0])}
    assert len(keys) == 7


def test_the_endpoint_counts():
    assert answer_key(BODY, "http://a/v1") != answer_key(BODY, "http://b/v1")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {1: "a"}])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError):
        canonical_json({"field": [value]})


@pytest.mark.parametrize(
    ("base_url", "identity"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        (" HTTPS://API.OpenAI.com:443/v1/ ", "https://api.openai.com/v1"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:443/", "http://localhost:443"),
        ("http://user:pass@host:8000/Path/v1?api-version=1#top", "http://host:8000/Path/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_endpoint_identity(base_url, identity):
    assert endpoint_identity(base_url) == identity
    assert endpoint_identity(identity) == identity


@pytest.mark.parametrize(
    "base_url", ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http://user:s3cret@host:port/v1"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(base_url):
    with pytest.raises(AskonceError) as refusal:
        endpoint_identity(base_url)
    assert refusal.value.exit_code == 2
    assert "s3cret" not in str(refusal.value)


@untimed
@given(st.text(string.ascii_letters + string.digits, min_size=1), st.text(string.ascii_letters, min_size=1))
def test_no_password_is_part_of_an_identity(user, password):
    assert endpoint_identity(f"https://{user}:{password}@host/v1") == "https://host/v1"
