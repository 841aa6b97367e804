"""Who is asked: a model, where it is, and the words in which it is asked.

What answers depend on (`key`) is the request and the endpoint; how they are asked for (`Terms`) is not.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from askonce.cache.errors import AskonceError
from askonce.cache.key import answer_key, endpoint_identity
from askonce.pipeline import estimators
from askonce.pipeline import prompt as prompts
from askonce.pipeline.asking import asker as asking
from askonce.pipeline.asking import batch, thinking
from askonce.pipeline.asking.abilities import Abilities
from askonce.pipeline.asking.asker import Asker
from askonce.pipeline.asking.batch import BatchAsker
from askonce.pipeline.asking.budget import Tally
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.function import Function, FunctionAsker
from askonce.pipeline.asking.function import address as function_address
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.prompt import Template, messages
from askonce.pipeline.simulated import llm as simulated
from askonce.pipeline.simulated import serve
from askonce.pipeline.simulated.llm import Errors
from askonce.pipeline.simulated.response import SETTINGS
from askonce.pipeline.tasks.task import Decision, Prompt

OPENAI_URL = "https://api.openai.com/v1"
# A server without accounts takes any key, but the client insists on sending one.
NO_KEY = "no-key-needed"
# The simulated LLM in this process computes its answers, so more at once would only wait for each other.
IN_PROCESS_CONCURRENCY = 8
# Fields of the body that askonce sets itself.
RESERVED = {"model", "messages", "n", "stream", "temperature", "max_tokens", "max_completion_tokens"}


@dataclass(frozen=True)
class LLM:
    """An LLM and how it is asked.

    `base_url` None: OPENAI_BASE_URL, else OpenAI's own; for the model "simulated" a server within this
    process, whose `errors` and `seed` mean nothing to others. `model_id` names a model that is served
    under several addresses, and stands for them in the key. `extra` are further fields of the wire body,
    such as top_p or response_format. `estimator` is the way of asking, a name in `estimators.ESTIMATORS`; `prompt` a
    template, one of the built-in ones by name or a file (`pipeline.prompt`); `thinking` how much a model that can is to
    think, one of `thinking.LEVELS`, None: as it does of itself. A `function` of this process is asked in
    the place of a server.
    """

    model: str = simulated.MODEL
    base_url: str | None = None
    temperature: float = 1.0
    max_tokens: int = 512
    errors: Errors = Errors()
    seed: int = 0
    model_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    estimator: str = estimators.TEXT
    prompt: str | Path = prompts.THREE_STAGES
    thinking: str | None = None
    function: Function | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "estimator", estimators.ALIASES.get(self.estimator, self.estimator))
        if self.estimator not in (*estimators.ESTIMATORS, estimators.AUTO):
            known = ", ".join(sorted([*estimators.ESTIMATORS, estimators.AUTO]))
            raise AskonceError(f"there is no estimator {self.estimator!r}: it is one of {known}", 2)
        if self.thinking not in (None, *thinking.LEVELS):
            raise AskonceError(f"thinking is one of {', '.join(thinking.LEVELS)}, not {self.thinking!r}", 2)
        if why := thinking.too_little(self.thinking, self.max_tokens):
            raise AskonceError(why, 2)
        if self.model_id is not None and (not self.model_id.strip() or "://" in self.model_id):
            raise AskonceError("--model-id is a name of your own for the model, not an address", 2)
        if reserved := sorted(RESERVED & set(self.extra)):
            raise AskonceError(f"further fields of the request cannot be {', '.join(reserved)}", 2)

    @cached_property
    def template(self) -> Template:
        """AskonceError where there is none, or it cannot be used."""
        return prompts.find(self.prompt)

    @property
    def in_process(self) -> bool:
        return self.model == simulated.MODEL and self.base_url is None and self.function is None


def assumed(llm: LLM) -> LLM:
    """The same, and for "auto", before the server has been seen, the best way of asking."""
    best = estimators.JSON if llm.template.reasons else estimators.SCORED
    return replace(llm, estimator=best) if llm.estimator == estimators.AUTO else llm


def request(llm: LLM, prompt: Prompt, text: str, decisions: Sequence[Decision] = ()) -> dict[str, Any]:
    """The wire body that asks about `text`, without the number of samples and what the estimator adds.

    `decisions` are the single options that make sense in this text, for prompts that list them.
    """
    form = estimators.ESTIMATORS[llm.estimator].form(llm.template.reasons)
    return body(llm, messages(prompt, text, decisions, form, llm.template))


def body(llm: LLM, chat: list[dict[str, str]]) -> dict[str, Any]:
    """The wire body of any chat with `llm`, without the number of samples."""
    # OpenAI's newer models refuse the field's old name, which other servers still go by.
    at_openai = not llm.in_process and not llm.function and endpoint_identity(_address(llm)) == OPENAI_URL
    return {
        "model": llm.model,
        "messages": chat,
        "temperature": llm.temperature,
        "max_completion_tokens" if at_openai else "max_tokens": llm.max_tokens,
        **(thinking.fields(llm.thinking, None if llm.function else _address(llm)) if llm.thinking else {}),
        **llm.extra,
    }


def endpoint(llm: LLM) -> str:
    """Who answers, for the key: the given name, the settings of the simulated LLM, or the address."""
    if llm.model_id:
        return llm.model_id.strip()
    if llm.function:
        return function_address(llm.function)
    if llm.in_process:
        return simulated.identity(llm.errors, llm.seed)
    return endpoint_identity(_address(llm))


def prompt_digest(llm: LLM, prompt: Prompt) -> str:
    """8 hex digits that stand for all that the answers to any text depend on, the text aside."""
    asked = estimators.ESTIMATORS[llm.estimator].stands_for(request(llm, prompt, ""), llm.template.reasons)
    return answer_key(asked, endpoint(llm)).rpartition(":")[2][:8]


@contextmanager
def connect(
    llm: LLM,
    terms: Terms = Terms(),
    tally: Tally | None = None,
    batches: Path | None = None,
    can: Abilities = Abilities(),
) -> Iterator[Asker | BatchAsker | FunctionAsker]:
    """A connection to the LLM, which is known to be able to so much, for any number of runs: online, or, where
    `batches` is given, by batches, which stand in that folder while they are under way."""
    if llm.function:
        yield FunctionAsker(llm.function, llm.model, terms, tally or Tally(), can)
        return
    with ExitStack() as stack:
        if llm.in_process:
            terms = replace(terms, concurrency=min(terms.concurrency, IN_PROCESS_CONCURRENCY))
            headers = {SETTINGS: simulated.identity(llm.errors, llm.seed)}
            server = Endpoint(stack.enter_context(serve.serve()), NO_KEY, headers)
            if batches:
                # They end with the server, and so must what is kept of them.
                batches = Path(stack.enter_context(TemporaryDirectory()))
        else:
            server = Endpoint(_address(llm), _api_key())
            endpoint_identity(server.address)  # refuses what is no web address
        if batches:
            yield stack.enter_context(batch.connect(server, terms, batches, tally))
        else:
            yield stack.enter_context(asking.connect(server, terms, tally, can))


def _address(llm: LLM) -> str:
    return llm.base_url or os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL


def _api_key() -> str:
    api_key = os.environ.get("OPENAI_API_KEY", "").strip() or NO_KEY
    if not (api_key.isascii() and api_key.isprintable()):
        raise AskonceError("OPENAI_API_KEY holds characters that no API key has: set it anew")
    return api_key
