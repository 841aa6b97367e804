"""A GGUF file in this process, by llama-cpp-python.

What a chat has in common with the one before is not read again, so questions about one text are cheap after the first.
"""

from dataclasses import dataclass
from functools import cached_property
import os
from pathlib import Path
import random
from typing import Any

import numpy as np

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.abilities import without_system
from askonce.pipeline.asking.function import Chat, Said
from askonce.pipeline.asking.reply import of_last_line
from askonce.pipeline.models import digest

# Tokens of a chat with its answer, as far as the model was trained for so many.
CONTEXT = 4096


@dataclass(frozen=True)
class LlamaCpp:
    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise AskonceError(f"there is no GGUF file at {self.path}", 2)

    @property
    def __name__(self) -> str:
        return self.path.stem

    @cached_property
    def address(self) -> str:
        return digest([self.path])

    def __call__(self, chats: list[Chat], terms: dict[str, Any]) -> list[Said]:
        answer = self._letter if terms.get("logprobs") else self._completion
        if "prompt_logprobs" in terms:
            answer = self._likelihood
        return [answer(chat, terms) for chat in chats]

    def _completion(self, chat: Chat, terms: dict[str, Any]) -> Said:
        asked: dict[str, Any] = {name: terms[name] for name in ("temperature", "max_tokens") if name in terms}
        match terms.get("response_format"):
            case {"type": "json_schema", "json_schema": {"schema": schema}}:
                asked["response_format"] = {"type": "json_object", "schema": schema}
        # Not top_k and top_p as the library sets them: a sample is one of the model's own distribution.
        answer = self._model.create_chat_completion(
            messages=self._understood(chat),
            top_k=0,
            top_p=terms.get("top_p", 1.0),
            min_p=0.0,
            repeat_penalty=1.0,
            seed=random.getrandbits(31),
            **asked,
        )
        choice, usage = answer["choices"][0], answer["usage"]
        return Said(
            choice["message"]["content"] or "",
            choice["finish_reason"],
            usage["prompt_tokens"],
            usage["completion_tokens"],
        )

    def _letter(self, chat: Chat, terms: dict[str, Any]) -> Said:
        """The next token, with the log-probabilities of the likeliest."""
        tokens = self._tokens(chat)
        logits = self._logits(tokens)
        logprobs = logits - np.logaddexp.reduce(logits)
        likely = np.argsort(-logprobs)[: terms.get("top_logprobs") or 1].tolist()
        drawn = likely[0] if not terms.get("temperature") else int(np.random.choice(len(logprobs), p=np.exp(logprobs)))
        entry = {"token": self._word(drawn), "logprob": float(logprobs[drawn])}
        listed = [{"token": self._word(token), "logprob": float(logprobs[token])} for token in likely]
        logprob = {"content": [{**entry, "top_logprobs": listed}]}
        return Said(self._word(drawn), "length", len(tokens), 1, logprob)

    def _likelihood(self, chat: Chat, terms: dict[str, Any]) -> Said:
        """How likely the tokens of the chat's last line are: what comes before it is read once for all its answers."""
        tokens = self._tokens(chat, answers=False)
        words = [self._word(token) for token in tokens]
        if (line := of_last_line([(word, 0.0) for word in words], chat)) is None:
            return Said("", "length", len(tokens))
        listed = []
        for at in range(len(tokens) - len(line["prompt"]), len(tokens)):
            logits = self._logits(tokens[:at])
            listed.append((words[at], float(logits[tokens[at]] - np.logaddexp.reduce(logits))))
        return Said("", "length", len(tokens), 0, of_last_line(listed, chat))

    def _logits(self, tokens: list[int]) -> np.ndarray:
        """(V,) of the token that follows."""
        model, held = self._model, self._model._input_ids
        same = int(np.argmin(np.append(held[: len(tokens)] == tokens[: len(held)], False)))
        # The last one is always read: its logits are wanted.
        model.n_tokens = min(same, len(tokens) - 1)
        model.eval(tokens[model.n_tokens :])
        pointer = model._ctx.get_logits_ith(-1)
        return np.ctypeslib.as_array(pointer, shape=(model.n_vocab(),)).astype(np.float64)

    def _word(self, token: int) -> str:
        return str(self._model.detokenize([token]).decode("utf-8", "replace"))

    def _tokens(self, chat: Chat, answers: bool = True) -> list[int]:
        """`answers`: whether the model is to go on from them, or has said the last."""
        formatter = self._formatter
        formatter.add_generation_prompt = answers
        filled = formatter(messages=self._understood(chat))
        # A template that begins with the token of beginning needs no second one.
        adds = not filled.prompt.startswith(self._formatter.bos_token or "\0")
        found: list[int] = self._model.tokenize(filled.prompt.encode(), add_bos=adds, special=True)
        return found

    def _understood(self, chat: Chat) -> Chat:
        """Some models' templates refuse the role of the system."""
        return without_system(chat) if self._refuses_system else chat

    @cached_property
    def _refuses_system(self) -> bool:
        from jinja2 import TemplateError

        try:
            self._formatter(messages=[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
        except (TemplateError, ValueError):
            return True
        return False

    @cached_property
    def _formatter(self) -> Any:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        model = self._model
        if not (template := model.metadata.get("tokenizer.chat_template")):
            raise AskonceError(f"{self.path} has no chat template: it is no model to chat with")
        ends, begins = (model._model.token_get_text(token) for token in (model.token_eos(), model.token_bos()))
        return Jinja2ChatFormatter(template=template, eos_token=ends, bos_token=begins)

    @cached_property
    def _model(self) -> Any:
        try:
            from llama_cpp import Llama
        except ImportError:
            raise AskonceError("a GGUF file needs llama-cpp-python: pip install 'askonce[llama]'") from None
        try:
            return Llama(str(self.path), n_ctx=CONTEXT, n_threads=os.cpu_count(), verbose=False)
        except ValueError as error:
            raise AskonceError(f"{self.path} cannot be loaded: {error}") from None
