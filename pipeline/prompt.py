"""A text → the messages that ask about it: three stages of thought and one worked example (section 4.1.1)."""

from askonce.pipeline.tasks.task import Option, Prompt


def messages(prompt: Prompt, text: str) -> list[dict[str, str]]:
    """The chat that asks about `text`: three stages of thought and one worked example (section 4.1.1)."""
    return [{"role": "system", "content": _instructions(prompt)}, {"role": "user", "content": text}]


def signature(option: Option) -> str:
    """How an option is written in a prompt: "explore", "go to <object>"."""
    return f"{option.name} <object>" if option.takes_object else option.name


def _instructions(prompt: Prompt) -> str:
    listed = "\n".join(f"- {signature(option)}: {option.help}" for option in prompt.options)
    return f"""\
{prompt.setting}

The agent acts by options. There are these and no others:
{listed}

You are told what the agent sees and holds now. Answer in three stages:
Observation: what the agent sees and what it holds.
Reasoning: what the agent should do now, and why.
Decision: one option, or several in the order in which to carry them out, separated by commas.

The last line is the Decision line, with nothing but options on it, for instance \
"Decision: {", ".join(map(signature, _example_options(prompt)))}". Name every object as the description does.

Example
{prompt.example_text}
Observation: {prompt.example_observation}
Reasoning: {prompt.example_reasoning}
Decision: {", ".join(prompt.example_decision)}"""


def _example_options(prompt: Prompt) -> list[Option]:
    """The example's options in its order, so that the pattern of the answer line is one that the task has."""
    named = (
        option
        for words in prompt.example_decision
        for option in prompt.options
        if words == option.name or words.startswith(option.name + " ")
    )
    return list(named) or list(prompt.options[:1])
