"""A text → the messages that ask about it, by a template: the built-in ones are files in `prompts/`.

A template is Jinja2. A line "=== system", "=== user" or "=== assistant" begins a message. It may use

    setting      the task's own words: where the agent is, what it must do, by which rules
    options      each with name, signature ("go to <object>") and help
    examples     worked examples, each with text, observation, reasoning, decision, and `answer`: all three as they
                 are to be answered
    pattern      what the first example's decision looks like: "go to <object>, pick up <object>"
    text         what is asked about
    decisions    the single options that make sense in this text
    form         how it is to be answered: "text", "json" or "letter"

`{% set reasoning = false %}` says that the LLM is not to think before it decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
import json
from pathlib import Path
import re
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2 import Template as Compiled
from jinja2.sandbox import ImmutableSandboxedEnvironment

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import Decision, Example, Option, Prompt

SUFFIX = ".jinja"
BUILT_IN = Path(__file__).parent / "prompts"
THREE_STAGES = "three-stages"
# How an answer is to look like.
TEXT, JSON, LETTER = "text", "json", "letter"
VARIABLES = {"setting", "options", "examples", "pattern", "text", "decisions", "form"}
# Stands for "===" while a template is filled in, so that no text of a task can begin a message.
_MARK = "\x00"
# Stands for the text in a chat that serves all texts.
_TEXT = "\x01"
_ROLE = re.compile(r"^=== *(system|user|assistant) *$", re.MULTILINE)
_MESSAGE = re.compile(rf"^{_MARK}(\w+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Template:
    """`name` is for messages to the user."""

    name: str
    source: str

    @cached_property
    def reasons(self) -> bool:
        """Whether the LLM is to think before it decides."""
        assigned = _parsed(self).find_all(nodes.Assign)
        return all(
            one.node.value
            for one in assigned
            if isinstance(one.target, nodes.Name)
            and one.target.name == "reasoning"
            and isinstance(one.node, nodes.Const)
        )

    @cached_property
    def lists_decisions(self) -> bool:
        return "decisions" in _used(self)

    @cached_property
    def prints_text(self) -> bool:
        """Whether the text is printed as it is, and nothing else depends on it: then one chat serves all texts."""
        parsed = _parsed(self)
        printed = sum(node.nodes.count(nodes.Name("text", "load")) for node in parsed.find_all(nodes.Output))
        named = [node.name for node in parsed.find_all(nodes.Name)]
        return not self.lists_decisions and named.count("text") == printed


def find(prompt: str | Path) -> Template:
    """A built-in template by its name, or the one in a file. AskonceError where it cannot be used."""
    path = BUILT_IN / f"{prompt}{SUFFIX}" if str(prompt) in names() else Path(prompt)
    try:
        return _checked(str(prompt), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise AskonceError(
            f"no prompt at {str(prompt)!r} ({error}): name a file, or one of {', '.join(names())}", 2
        ) from None


def names() -> list[str]:
    """The built-in templates."""
    return sorted(path.stem for path in BUILT_IN.glob(f"*{SUFFIX}"))


def messages(
    prompt: Prompt, text: str, decisions: Sequence[Decision] = (), form: str = TEXT, template: Template | None = None
) -> list[dict[str, str]]:
    """The chat that asks about `text`. AskonceError where the template cannot be filled in."""
    template = template or _usual()
    if template.prints_text:
        return [
            {"role": role, "content": content.replace(_TEXT, text)}
            for role, content in _filled(template, prompt, _TEXT, (), form)
        ]
    return [
        {"role": role, "content": content} for role, content in _filled(template, prompt, text, tuple(decisions), form)
    ]


def signature(option: Option) -> str:
    """How an option is written in a prompt: "explore", "go to <object>"."""
    return f"{option.name} <object>" if option.takes_object else option.name


@lru_cache(maxsize=64)
def _checked(name: str, source: str) -> Template:
    template = Template(name, source)
    used = _used(template)
    if unknown := used - VARIABLES:
        raise AskonceError(f"{name} uses {min(unknown)}; a prompt knows {', '.join(sorted(VARIABLES))}", 2)
    if "text" not in used or not _ROLE.search(source):
        raise AskonceError(f"{name} must have a message (a line '=== user') and use {{{{ text }}}} in it", 2)
    return template


@lru_cache(maxsize=1)
def _usual() -> Template:
    return find(THREE_STAGES)


_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _parsed(template: Template) -> nodes.Template:
    return _read(template)[0]


def _used(template: Template) -> set[str]:
    """The variables that it names."""
    return _read(template)[1]


@lru_cache(maxsize=64)
def _read(template: Template) -> tuple[nodes.Template, set[str]]:
    try:
        parsed = _ENVIRONMENT.parse(template.source)
        # That compiles it, and so finds what is no filter or test.
        return parsed, meta.find_undeclared_variables(parsed)
    except TemplateSyntaxError as error:
        raise AskonceError(f"{template.name}, line {error.lineno}: {error.message}", 2) from None
    except RecursionError:
        raise AskonceError(f"{template.name} is nested too deep", 2) from None


@lru_cache(maxsize=64)
def _compiled(template: Template) -> Compiled:
    return _ENVIRONMENT.from_string(_ROLE.sub(rf"{_MARK}\1", template.source))


@lru_cache(maxsize=256)
def _filled(
    template: Template, prompt: Prompt, text: str, decisions: tuple[Decision, ...], form: str
) -> list[tuple[str, str]]:
    """(role, content) of each message."""
    parts = _parts(prompt, form, template.reasons)
    try:
        filled = _compiled(template).render(**parts, text=text, decisions=[", ".join(one) for one in decisions])
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise AskonceError(f"the prompt {template.name} cannot be filled in: {error}", 2) from None
    _, *pieces = _MESSAGE.split(filled + "\n")
    chat = [(role, content.strip("\n")) for role, content in zip(pieces[::2], pieces[1::2])]
    if not chat or chat[-1][0] != "user":
        raise AskonceError(f"the last message of the prompt {template.name} must be the user's", 2)
    return chat


@lru_cache(maxsize=256)
def _parts(prompt: Prompt, form: str, reasons: bool) -> dict[str, Any]:
    options = [{"name": one.name, "signature": signature(one), "help": one.help} for one in prompt.options]
    first = Example(prompt.example_text, prompt.example_observation, prompt.example_reasoning, prompt.example_decision)
    examples = [
        {
            "text": one.text,
            "observation": one.observation,
            "reasoning": one.reasoning,
            "decision": ", ".join(one.decision),
            "answer": _answer(one, form, reasons),
        }
        for one in (first, *prompt.more_examples)
    ]
    pattern = ", ".join(map(signature, _example_options(prompt)))
    return {"setting": prompt.setting, "options": options, "examples": examples, "pattern": pattern, "form": form}


def _answer(example: Example, form: str, reasons: bool) -> str:
    stages: dict[str, Any] = {"observation": example.observation, "reasoning": example.reasoning} if reasons else {}
    if form == JSON:
        return json.dumps(stages | {"decision": list(example.decision)}, ensure_ascii=False)
    lines = [f"{stage.capitalize()}: {words}" for stage, words in stages.items()]
    return "\n".join([*lines, f"Decision: {', '.join(example.decision)}"])


def _example_options(prompt: Prompt) -> list[Option]:
    """The example's options in its order, so that the pattern of the answer line is one that the task has."""
    named = (
        option
        for words in prompt.example_decision
        for option in prompt.options
        if words == option.name or words.startswith(option.name + " ")
    )
    return list(named) or list(prompt.options[:1])
