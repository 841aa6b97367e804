"""LLMs without a server: functions with and without terms, and models in this process, through the same cache and key."""

import json
import os
from pathlib import Path

import pytest

import askonce
from askonce.cache import query
from askonce.cache.errors import AskonceError
from askonce.pipeline import models, tasks
from askonce.pipeline.asking.function import Said, address
from askonce.pipeline.build import answered, build_cache
from askonce.pipeline.llm import LLM
from askonce.pipeline.questions import Wanted, questions
from tests.called import called

TASK = tasks.find("ColoredDoorKey")
HERE = "tests.pipeline.models.test_models"
asked: list[dict] = []


def with_terms(chats: list, terms: dict) -> list[Said]:
    """Decides by what it is asked for: JSON, a letter, or text."""
    asked.append(terms)
    if "response_format" in terms:
        allowed = terms["response_format"]["json_schema"]["schema"]["properties"]["decision"]["items"]["enum"]
        return [Said(json.dumps({"decision": allowed[:1]}), "stop", 100, 10) for _ in chats]
    if terms.get("logprobs"):
        entry = {"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": -0.1}]}
        return [Said("A", "length", 100, 1, {"content": [entry]}) for _ in chats]
    return [Said("Decision: explore", "stop", 100, 10) for _ in chats]


def broken(chats: list) -> list[str]:
    raise ZeroDivisionError("no weights")


@pytest.mark.parametrize(
    "estimator, prompt", [("text", "three-stages"), ("json", "three-stages"), ("scored", "few-shot")]
)
def test_a_function_is_asked_in_every_way_and_its_tokens_are_counted(tmp_path, estimator, prompt):
    llm = LLM("mine", estimator=estimator, prompt=prompt, function=with_terms)
    report = build_cache(TASK, tmp_path, llm, 30, Wanted(3))
    assert report.unparsable == 0 and report.prompt_tokens == 100 * report.completions > 0
    assert all(found for found in answered(TASK, tmp_path, llm)[0].values())
    assert build_cache(TASK, tmp_path, llm, 30, Wanted(3)).asked == 0
    assert {"temperature", "max_tokens", "model"} <= set(asked[-1]) and "messages" not in asked[-1]


def test_the_command_line_asks_a_function_by_its_name(tmp_path):
    arguments = ("build-cache", "--task", TASK.name, "--episodes", 30, "--cache", tmp_path, "--json")
    found = called(*arguments, "--llm", f"{HERE}:with_terms", "--samples", 2, "--estimator", "auto").figures
    assert found["estimator"] == "json" and found["completions"] == 2 * found["texts"]
    assert query.stats(tmp_path).teachers[0].model == "with_terms"


@pytest.mark.parametrize(
    "name, said",
    [
        (f"{HERE}:nothing", "no LLM at"),
        ("no.such.module:f", "no LLM at"),
        ("nothing", "no LLM at"),
        (f"{HERE}:TASK", "no function"),
        ("llama:/nowhere.gguf", "no GGUF file"),
        ("transformers:/nowhere", "no config.json"),
        (f"{HERE}:broken", "ZeroDivisionError: no weights"),
    ],
)
def test_what_cannot_be_asked_is_one_line(tmp_path, name, said):
    ended = called("build-cache", "--task", TASK.name, "--episodes", 3, "--cache", tmp_path / "cache", "--llm", name)
    assert ended.code in (1, 2) and said in ended.err and ended.err.count("error: ") == 1, ended.err
    assert "Traceback" not in ended.err


def test_an_llm_is_in_this_process_or_behind_a_server():
    ended = called(
        *("build-cache", "--task", TASK.name, "--cache", "c", "--llm", f"{HERE}:broken", "--base-url", "http://a/v1")
    )
    assert ended.code == 2 and "leave one out" in ended.err


def test_a_model_s_address_is_the_digest_of_its_weights(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in one, other:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")
    assert address(models.find(f"transformers:{one}")) == address(models.find(f"vllm:{other}"))
    (other / "model.safetensors").write_bytes(b"others")
    assert address(models.find(f"transformers:{one}")) != address(models.find(f"transformers:{other}"))


# ---- With the libraries ----------------------------------------------------------------------------------------------


def tiny_model(folder: Path) -> Path:
    """Random weights over single characters, with a chat template that has no role for the system."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = ["<end>", "<pad>", *map(chr, range(32, 127)), "\n"]
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: at for at, word in enumerate(words)}, "<pad>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{{ m.content }}{% endfor %}"
    )
    config = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=4096, eos_token_id=0, pad_token_id=1, bos_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.real
def test_a_folder_of_transformers_answers_and_its_letters_have_probabilities(tmp_path):
    model = models.find(f"transformers:{tiny_model(tmp_path / 'tiny')}")
    text = TASK.describe(["red key"], None)
    (body, *_) = questions(TASK, LLM(estimator="scored", prompt="without-reasoning"), text)
    chats = [body["messages"]] * 3
    said = model(chats, {"temperature": 1.0, "max_tokens": 1, "logprobs": True, "top_logprobs": 20})
    assert all(len(one.logprobs["content"][0]["top_logprobs"]) == 20 and one.prompt_tokens > 100 for one in said)
    # The same chat has the same probabilities, whatever it is batched with.
    alone = model([*chats[:1], [{"role": "user", "content": "hi"}]], {"temperature": 0, "logprobs": True})
    assert alone[0].logprobs["content"][0]["logprob"] == pytest.approx(
        said[0].logprobs["content"][0]["top_logprobs"][0]["logprob"], abs=1e-3
    )
    written = model(chats, {"temperature": 1.0, "max_tokens": 7})
    assert all(one.completion_tokens <= 7 and one.finish_reason in ("stop", "length") for one in written)
    with pytest.raises(AskonceError, match="--estimator text"):
        model(chats, {"response_format": {}})


@pytest.mark.real
@pytest.mark.skipif("GGUF" not in os.environ, reason="GGUF names no file")
@pytest.mark.parametrize("estimator, prompt", [("scored", "without-reasoning"), ("json", "three-stages")])
def test_a_gguf_file_is_asked_once_and_decides_by_what_each_text_allows(tmp_path, estimator, prompt):
    pytest.importorskip("llama_cpp")
    llm = askonce.LLM("small", estimator=estimator, prompt=prompt, function=models.find(f"llama:{os.environ['GGUF']}"))
    report = build_cache(TASK, tmp_path, llm, 30, Wanted(2))
    assert report.prompt_tokens > report.completions > 0
    for text, distribution in answered(TASK, tmp_path, llm)[0].items():
        allowed = {option for decision in TASK.decisions(text) for option in decision}
        assert all(set(decision) <= allowed for decision in distribution)
    assert build_cache(TASK, tmp_path, llm, 30, Wanted(2)).asked == 0


@pytest.mark.real
@pytest.mark.skipif("FOLDER" not in os.environ, reason="FOLDER names no model's folder")
@pytest.mark.parametrize("kind, library", [("transformers", "transformers"), ("vllm", "vllm")])
def test_a_folder_says_how_likely_each_decision_is(tmp_path, kind, library):
    pytest.importorskip(library)
    model = models.find(f"{kind}:{os.environ['FOLDER']}")
    llm = askonce.LLM("small", estimator="likelihood", prompt="without-reasoning", function=model)
    report = build_cache(TASK, tmp_path, llm, 30, Wanted(2))
    assert report.unparsable == 0 and report.prompt_tokens > 0
    for text, distribution in answered(TASK, tmp_path, llm)[0].items():
        assert set(distribution) == set(TASK.candidates(text)) and sum(distribution.values()) == pytest.approx(1)
    # Longer reasonings shift where the decision stands, not what is read of it.
    (body, *_) = questions(TASK, llm, TASK.describe(["red key"], None))
    terms = {name: value for name, value in body.items() if name != "messages"}
    chat = body["messages"]
    longer = [*chat[:-1], {"role": "assistant", "content": f"{'It looks. ' * 50}\n{chat[-1]['content']}"}]
    for one in model([chat, longer], terms):
        words = "".join(token["token"] for token in one.logprobs["prompt"])
        assert "".join(chat[-1]["content"].split()) in "".join(words.split())
        assert len(one.logprobs["prompt"]) < 40 and all(token["logprob"] <= 0 for token in one.logprobs["prompt"])
