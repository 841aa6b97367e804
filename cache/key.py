"""What an answer depends on → its address.

Two requests share a key exactly when a server could not tell them apart, the number of samples
aside. Every field of the wire body counts, also those that nobody has thought of yet: a list of
the fields that matter would one day hand out another prompt's answer.
"""

from collections.abc import Mapping
import hashlib
import json
import math
from typing import Any
from urllib.parse import urlsplit

from askonce.cache.errors import AskonceError

SCHEME = "v1-sha256"
DEFAULT_PORTS = {"http": 80, "https": 443}


def canonical_json(value: Any) -> str:
    """The one way to write a JSON value: keys sorted by code point, no white space, no needless escapes.

    Integral floats are written as integers, so that 0, 0.0 and -0.0 are one value. ValueError for
    what JSON cannot hold: NaN, an infinity, a key that is no string.
    """
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def answer_key(body: Mapping[str, Any], endpoint: str) -> str:
    """The key of every answer to the wire `body` at `endpoint`: "v1-sha256:" and 64 hex digits.

    `endpoint` is `endpoint_identity(base_url)`, or a name for one model served under several
    addresses. The field `n` is left out: how many samples were asked for in one request changes
    no sample, and a sample's index is part of its row.
    """
    asked = {name: value for name, value in body.items() if name != "n"}
    canonical = canonical_json({"body": asked, "endpoint": endpoint})
    return f"{SCHEME}:{hashlib.sha256(canonical.encode()).hexdigest()}"


def endpoint_identity(base_url: str) -> str:
    """`base_url` without what does not say which server it is: user, password, query, default port.

    AskonceError where it is no http or https address; the message never repeats the address,
    which may hold a password.
    """
    try:
        parts = urlsplit(base_url.strip())
        port = parts.port
    except ValueError:
        raise _bad_address() from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise _bad_address()
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}{parts.path.rstrip('/')}"


def _bad_address() -> AskonceError:
    return AskonceError("the base URL is no web address; write https://HOST/v1 or http://HOST:PORT/v1", 2)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("a JSON object's keys are strings")
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
