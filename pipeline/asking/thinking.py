"""How a thinking model is told how much to think: one word of ours, and each server's own fields."""

from typing import Any
from urllib.parse import urlsplit

from askonce.pipeline.asking.reply import Reply

OFF, LOW, MEDIUM, HIGH = LEVELS = ("off", "low", "medium", "high")
# The fewest tokens of a completion that leave room for thoughts and an answer.
ROOM = {LOW: 2_048, MEDIUM: 4_096, HIGH: 8_192}


def fields(level: str, address: str | None) -> dict[str, Any]:
    """What a request at this address says; None is a model in this process. By the providers' own documentation:

    OpenAI reasoning_effort, DeepSeek thinking, Alibaba's Qwen enable_thinking and thinking_budget, OpenRouter reasoning;
    vLLM, SGLang and llama.cpp hand chat_template_kwargs to the model's own template, which knows one name or the other.
    """
    host, thinks = (urlsplit(address).hostname or "" if address else ""), level != OFF
    if host.endswith("openai.com"):
        return {"reasoning_effort": level if thinks else "none"}
    if host.endswith("deepseek.com"):
        return {"thinking": {"type": "enabled" if thinks else "disabled"}}
    if host.endswith("aliyuncs.com"):
        return {"enable_thinking": thinks} | ({"thinking_budget": ROOM[level] // 2} if thinks else {})
    if host.endswith("openrouter.ai"):
        return {"reasoning": {"effort": level} if thinks else {"enabled": False}}
    effort = {"reasoning_effort": level} if thinks else {}
    return {"chat_template_kwargs": {"enable_thinking": thinks, "thinking": thinks, **effort}, **effort}


def too_little(level: str | None, max_tokens: int) -> str | None:
    """Why so many tokens would be paid for in vain, if they would."""
    if level in ROOM and max_tokens < ROOM[level]:
        return f"--thinking {level} leaves no room to answer within {max_tokens} tokens: --max-tokens {ROOM[level]} or more"
    return None


def cut_off(replies: list[Reply]) -> str | None:
    """The same, once the first replies show it."""
    thinking = [reply.reasoning and not reply.content.strip() or _only_thoughts(reply.content) for reply in replies]
    if all(thinking) and all(reply.finish_reason == "length" for reply in replies):
        return "the model was cut off while it thought: raise --max-tokens, or ask with --thinking off"
    return None


def with_thoughts(reply: Reply) -> str:
    """The reply as it is stored: what it thought before what it said, in the tags in which most models think."""
    return f"<think>\n{reply.reasoning}\n</think>\n\n{reply.content}" if reply.reasoning else reply.content


def reasoning_tokens(usage: Any) -> int:
    """As the server counts them; 0 where it does not."""
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return count if type(count) is int and 0 < count < 2**40 else 0


def _only_thoughts(content: str) -> bool:
    return content.lstrip().startswith("<think>") and "</think>" not in content
