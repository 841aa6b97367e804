"""`cli prompt show`: the messages by which a text is asked about."""

from typing import Annotated

import typer

from askonce.commands.flags import Estimator, Json, PromptFile, TaskName
from askonce.commands.show import out, print_json


def show(
    task: TaskName,
    text: Annotated[str | None, typer.Option(help="The text to ask about; default the task's own example.")] = None,
    prompt: PromptFile = "three-stages",
    estimator: Estimator = "text",
    json: Json = False,
) -> None:
    """Print the very messages that an LLM is sent about a text."""
    import askonce

    world, name = askonce.find_task(task), "text" if estimator == "hard" else estimator
    body = askonce.first_request(world, text or world.prompt.example_text, askonce.LLM(estimator=name, prompt=prompt))
    if json:
        return print_json(body)
    for message in body["messages"]:
        out.rule(message["role"], align="left")
        out.print(message["content"], soft_wrap=True)
    if schema := body.get("response_format"):
        out.rule("response_format", align="left")
        print_json(schema)
