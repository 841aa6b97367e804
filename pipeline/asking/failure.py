"""An error in asking → one line for a person.

Only the server's own words may hold the API key; there it is struck out.
"""

from typing import Any

import openai

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.reply import NoAnswer
from askonce.pipeline.asking.retry import Patience, is_passing

STORED = "everything obtained so far is stored"
RUN_AGAIN = "check --base-url and the network, then run the same command again"


def explained(error: Exception, server: Endpoint, patience: Patience) -> str:
    """Why the run ends, and what to do."""
    if isinstance(error.__cause__, AskonceError):
        return str(error.__cause__)
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return f"the server refused the API key ({error.status_code}): set OPENAI_API_KEY"
        case openai.NotFoundError():
            return (
                f"{server.name} knows no such model or path (404): check --model and --base-url"
                f"{_in_brackets(words(error, server))}"
            )
        case openai.APIStatusError():
            again = "; try again later" if is_passing(error) else ""
            return f"{server.name} {reason(error, server, patience)}; {STORED}{again}"
        case NoAnswer():
            return (
                f"{server.name} {reason(error, server, patience)}; {STORED}; check that it speaks the OpenAI protocol"
            )
    return f"{server.name} {reason(error, server, patience)}; {STORED}; {RUN_AGAIN}"


def reason(error: Exception, server: Endpoint, patience: Patience) -> str:
    """What the server did, without its name."""
    match error:
        case openai.APIStatusError():
            return f"answered with status {error.status_code}{_in_brackets(words(error, server))}"
        case NoAnswer():
            return cleaned(str(error), server)
        case TimeoutError() | openai.APITimeoutError():
            return f"did not answer within {patience.timeout:g} s" if patience.timeout else "did not answer in time"
    return "cannot be reached"


def kind(error: Exception) -> str:
    """In a word, for counting."""
    match error:
        case openai.APIStatusError():
            return str(error.status_code)
        case NoAnswer():
            return "no answer"
        case TimeoutError() | openai.APITimeoutError():
            return "timeout"
    return "connection"


def words(error: openai.APIStatusError, server: Endpoint) -> str:
    """By OpenAI's protocol, or as FastAPI has it, on which many servers are built."""
    body: Any = error.body if isinstance(error.body, dict) else {}
    return cleaned(str(body.get("message") or body.get("detail") or ""), server)


def cleaned(text: str, server: Endpoint) -> str:
    return " ".join(text.replace(server.api_key, "***").split())[:200]


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
