"""A local folder in this process, by vLLM's offline engine, which answers all chats of a call together."""

from functools import cached_property
from typing import Any

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.function import Chat, Said
from askonce.pipeline.asking.reply import of_last_line
from askonce.pipeline.models import Folder


class Vllm(Folder):
    def __call__(self, chats: list[Chat], terms: dict[str, Any]) -> list[Said]:
        # The engine keeps what chats begin with alike, so samples of one text cost one reading of it.
        answers = terms.get("add_generation_prompt", True)
        answered = self._engine.chat(chats, self._sampling(terms), use_tqdm=False, add_generation_prompt=answers)
        return [_said(one, terms, chat) for one, chat in zip(answered, chats)]

    def _sampling(self, terms: dict[str, Any]) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        asked: dict[str, Any] = {name: terms[name] for name in ("temperature", "max_tokens", "top_p") if name in terms}
        if terms.get("logprobs"):
            asked["logprobs"] = terms.get("top_logprobs") or 1
        if "prompt_logprobs" in terms:
            asked["prompt_logprobs"] = terms["prompt_logprobs"]
        match terms.get("response_format"):
            case {"type": "json_schema", "json_schema": {"schema": schema}}:
                asked["structured_outputs"] = StructuredOutputsParams(json=schema)
        return SamplingParams(**asked)

    @cached_property
    def _engine(self) -> Any:
        try:
            from vllm import LLM
        except ImportError:
            raise AskonceError("vLLM's engine is not installed: pip install 'askonce[vllm]'") from None
        return LLM(str(self.path), enable_prefix_caching=True, max_logprobs=20)


def _said(answered: Any, terms: dict[str, Any], chat: Chat) -> Said:
    output = answered.outputs[0]
    logprobs = None
    if terms.get("logprobs") and output.logprobs:
        # Token → what is known of it, the drawn one among them; of equals the likeliest first.
        ranked = sorted(output.logprobs[0].values(), key=lambda known: -known.logprob)
        top = [{"token": known.decoded_token, "logprob": known.logprob} for known in ranked]
        drawn = output.logprobs[0][output.token_ids[0]]
        entry = {"token": drawn.decoded_token, "logprob": drawn.logprob, "top_logprobs": top}
        logprobs = {"content": [entry]}
    if "prompt_logprobs" in terms:
        # Of the first token nothing is known.
        known = [one[token] for token, one in zip(answered.prompt_token_ids, answered.prompt_logprobs) if one]
        logprobs = of_last_line([(one.decoded_token, one.logprob) for one in known], chat)
    asked, said = len(answered.prompt_token_ids or ()), len(output.token_ids)
    return Said(output.text, output.finish_reason or "", asked, said, logprobs)
