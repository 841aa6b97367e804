"""A local folder in this process, by Hugging Face's transformers; of its weights only safetensors, and no code of its own."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.abilities import without_system
from askonce.pipeline.asking.function import Chat, Said
from askonce.pipeline.asking.reply import of_last_line
from askonce.pipeline.models import Folder

# Chats that are answered together.
TOGETHER = 16
# Tokens from the end of a chat in which its last line is looked for.
MOST_ANSWER = 96


class Transformers(Folder):
    def __call__(self, chats: list[Chat], terms: dict[str, Any]) -> list[Said]:
        if "response_format" in terms:
            raise AskonceError("transformers heeds no JSON schema: use --estimator text or scored")
        answer = self._letters if terms.get("logprobs") else self._completions
        if "prompt_logprobs" in terms:
            answer = self._likelihoods
        parts = (chats[first : first + TOGETHER] for first in range(0, len(chats), TOGETHER))
        return [said for part in parts for said in answer(part, terms)]

    def _completions(self, chats: list[Chat], terms: dict[str, Any]) -> list[Said]:
        tokenizer, model = self._loaded
        given, temperature = self._tokens(chats), terms.get("temperature", 1.0)
        drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": terms.get("top_p", 1.0)}
        found = model.generate(
            **given,
            **(drawn if temperature else {"do_sample": False}),
            max_new_tokens=terms.get("max_tokens", 512),
            pad_token_id=tokenizer.pad_token_id,
        )[:, given["input_ids"].shape[1] :]
        asked, ends = given["attention_mask"].sum(1).tolist(), set(self._ends)
        return [_said(tokenizer, tokens, ends, count) for tokens, count in zip(found.tolist(), asked)]

    def _letters(self, chats: list[Chat], terms: dict[str, Any]) -> list[Said]:
        """Each chat's next token, with the log-probabilities of the likeliest."""
        import torch

        tokenizer, model = self._loaded
        given = self._tokens(chats)
        with torch.inference_mode():
            logprobs = model(**given).logits[:, -1].float().log_softmax(-1)
        drawn = logprobs.argmax(-1) if not terms.get("temperature") else logprobs.exp().multinomial(1)[:, 0]
        likely = logprobs.topk(terms.get("top_logprobs") or 1)
        word: Callable[[int], str] = lambda token: str(tokenizer.decode([token]))
        said = []
        for row, token in enumerate(drawn.tolist()):
            listed = zip(likely.indices[row].tolist(), likely.values[row].tolist())
            entry = {"token": word(token), "logprob": float(logprobs[row, token])}
            top = [{"token": word(one), "logprob": value} for one, value in listed]
            count = int(given["attention_mask"][row].sum())
            said.append(Said(word(token), "length", count, 1, {"content": [{**entry, "top_logprobs": top}]}))
        return said

    def _likelihoods(self, chats: list[Chat], terms: dict[str, Any]) -> list[Said]:
        """How likely the tokens of each chat's last line are."""
        import torch

        tokenizer, model = self._loaded
        given = self._tokens(chats, answers=False)
        most = min(MOST_ANSWER, given["input_ids"].shape[1] - 1)
        with torch.inference_mode():
            logprobs = model(**given, logits_to_keep=most + 1).logits[:, -most - 1 : -1].float().log_softmax(-1)
        tokens = given["input_ids"][:, -most:]
        known = logprobs.gather(-1, tokens[..., None])[..., 0].tolist()
        said = []
        for row, chat in enumerate(chats):
            listed = [(str(tokenizer.decode([token])), value) for token, value in zip(tokens[row].tolist(), known[row])]
            count = int(given["attention_mask"][row].sum())
            said.append(Said("", "length", count, 0, of_last_line(listed, chat)))
        return said

    def _tokens(self, chats: list[Chat], answers: bool = True) -> Any:
        """`answers`: whether the model is to go on from them, or has said the last."""
        tokenizer, model = self._loaded
        if self._refuses_system:
            chats = [without_system(chat) for chat in chats]
        filled = tokenizer.apply_chat_template(
            chats, add_generation_prompt=answers, tokenize=True, padding=True, return_dict=True, return_tensors="pt"
        )
        return filled.to(model.device)

    @cached_property
    def _refuses_system(self) -> bool:
        from jinja2 import TemplateError

        tokenizer, _ = self._loaded
        chat = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
        try:
            tokenizer.apply_chat_template(chat, tokenize=False)
        except TemplateError:
            return True
        return False

    @property
    def _ends(self) -> list[int]:
        ends = self._loaded[1].generation_config.eos_token_id
        return ends if isinstance(ends, list) else [] if ends is None else [ends]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError:
            raise AskonceError("a model's folder needs transformers: pip install 'askonce[transformers]'") from None
        # Nothing is looked up in the network, and nothing of the folder is carried out.
        safely = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path, padding_side="left", **safely)
            model = AutoModelForCausalLM.from_pretrained(self.path, use_safetensors=True, dtype="auto", **safely)
        except (OSError, ValueError, KeyError) as error:
            raise AskonceError(f"{self.path} cannot be loaded: {error}") from None
        if tokenizer.chat_template is None:
            raise AskonceError(f"{self.path} has no chat template: it is no model to chat with")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        loaded: Any = model
        return tokenizer, loaded.eval()


def _said(tokenizer: Any, tokens: list[int], ends: set[int], asked: int) -> Said:
    """What was generated, up to the first token that ends it."""
    end = next((at for at, token in enumerate(tokens) if token in ends), None)
    content = tokenizer.decode(tokens[:end], skip_special_tokens=True)
    spent = len(tokens) if end is None else end + 1
    return Said(content, "length" if end is None else "stop", asked, spent)
