"""The options that several commands take."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ASKING = "Asking the LLM"


def _task_names(incomplete: str) -> list[str]:
    from askonce.pipeline import tasks

    return [name for name in (*tasks.names(), *tasks.registered_names()) if name.startswith(incomplete)]


TaskName = Annotated[
    str, typer.Option("--task", help="A task's name, or package.module:NAME for your own.", autocompletion=_task_names)
]
Simulator = Annotated[Literal["mujoco", "habitat"] | None, typer.Option(help="What steps NavPick; default mujoco.")]
CacheDir = Annotated[Path, typer.Option("--cache", help="The cache's directory.")]
Model = Annotated[str | None, typer.Option(help="The LLM's name, NAME or NAME@PROMPT where a cache holds several.")]
BaseUrl = Annotated[
    str | None, typer.Option(rich_help_panel=ASKING, help="An OpenAI-compatible server; default OPENAI_BASE_URL.")
]
Samples = Annotated[
    str, typer.Option(rich_help_panel=ASKING, help="Completions a text, or auto: until its distribution is known.")
]
MaxTv = Annotated[
    float, typer.Option(rich_help_panel=ASKING, help="With --samples auto: known to this total-variation distance …")
]
Confidence = Annotated[float, typer.Option(rich_help_panel=ASKING, help="… with this confidence.")]
Thinking = Annotated[
    Literal["off", "low", "medium", "high"] | None,
    typer.Option(rich_help_panel=ASKING, help="How much a thinking model thinks; default as it does of itself."),
]
LlmFunction = Annotated[
    str | None,
    typer.Option(
        "--llm",
        rich_help_panel=ASKING,
        help="Ask without a server: llama:FILE.gguf, transformers:FOLDER, vllm:FOLDER, or package.module:FUNCTION.",
    ),
]
ModelId = Annotated[
    str | None, typer.Option(rich_help_panel=ASKING, help="A name of yours for a model served under several addresses.")
]
Extra = Annotated[
    str | None, typer.Option(rich_help_panel=ASKING, help="Further fields of the request, as JSON: '{\"top_p\": 0.9}'.")
]
Estimator = Annotated[
    Literal["auto", "text", "json", "scored", "likelihood", "hard", "sampling", "logprobs"],
    typer.Option(
        rich_help_panel=ASKING,
        help="How the LLM is asked: for free text; for JSON over the text's own options; for a letter, whose "
        "log-probability counts; for that of each decision's own words, likelihood; for the best of these that the "
        "server can, auto; or for one text at temperature 0, "
        "hard. sampling and logprobs are earlier names of text and scored.",
    ),
]
PromptFile = Annotated[
    str,
    typer.Option(
        "--prompt",
        rich_help_panel=ASKING,
        help="three-stages, few-shot, without-reasoning, or a file of your own (docs/asking.md).",
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(
        rich_help_panel=ASKING,
        min=1,
        help="The most requests at once; fewer until the server shows that it takes more.",
    ),
]
Rpm = Annotated[float | None, typer.Option(rich_help_panel=ASKING, help="The most requests a minute.")]
Tpm = Annotated[float | None, typer.Option(rich_help_panel=ASKING, help="The most tokens a minute.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=ASKING,
        min=0.1,
        help="Seconds for one request; default 120, and more for a server that needs it.",
    ),
]
MaxCost = Annotated[
    float | None, typer.Option(rich_help_panel=ASKING, min=0, help="Stop before more USD would be spent.")
]
MaxRequests = Annotated[
    int | None, typer.Option(rich_help_panel=ASKING, min=0, help="Stop before more requests would be sent.")
]
Prices = Annotated[
    Path | None,
    typer.Option(rich_help_panel=ASKING, help="A JSON file: {MODEL: {input: USD, output: USD}}, a million tokens."),
]
Transport = Annotated[
    Literal["online", "batch"],
    typer.Option(
        rich_help_panel=ASKING,
        help="One request at a time, or files of requests by the OpenAI Batch API: half the price, within a day.",
    ),
]
Retry = Annotated[
    list[str],
    typer.Option(
        rich_help_panel=ASKING,
        help="Ask again for completions that were truncated, refused or filtered; those stay, but do not count.",
    ),
]
Temperature = Annotated[float, typer.Option(rich_help_panel=ASKING, min=0, help="The LLM's sampling temperature.")]
MaxTokens = Annotated[
    int, typer.Option(rich_help_panel=ASKING, min=1, help="The longest completion; reasoning models need thousands.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same result.")]
Episodes = Annotated[
    int | None,
    typer.Option(
        min=1, help="Episodes to play; default 500 for a cache and 1000 for an evaluation, less where steps are costly."
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Take nothing where a row cannot be a server's answer.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RunDir = Annotated[Path, typer.Option("--run", help="The run's directory.")]
TaskOfRun = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="The run's task where it is your own, as package.module:NAME, or without a run.",
        autocompletion=_task_names,
    ),
]
Preset = Annotated[
    Literal["default", "paper"],
    typer.Option(help="The defaults, or the paper's own hyperparameters and schedule of λ."),
]
TeacherForm = Annotated[
    Literal["soft", "hard", "audited"],
    typer.Option(
        rich_help_panel="The teacher",
        help="The whole distribution, its most probable decision, or what `cli audit` left of it.",
    ),
]
