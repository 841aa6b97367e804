"""A prompt like those of the DoorKey tasks, for tests of what depends on a prompt alone."""

from askonce.pipeline.tasks.task import Option, Prompt

OPTIONS = (
    Option("explore", "look for what is not yet seen", False, synonyms=("search", "look around")),
    Option("go to", "walk up to the object", synonyms=("move to", "walk to", "navigate to", "approach")),
    Option("pick up", "take the object in front", synonyms=("pickup", "pick", "grab", "take", "get")),
    Option("drop", "put down what is held", synonyms=("put down", "release")),
    Option("open", "open the door in front", synonyms=("unlock",)),
)

PROMPT = Prompt(
    setting="An agent is in a room and has to unlock the door with a key of the door's colour.",
    options=OPTIONS,
    example_text="Agent sees a green key, holds nothing.",
    example_observation="The agent sees a green key and holds nothing.",
    example_reasoning="A key will be needed, so it should fetch it.",
    example_decision=("go to green key", "pick up green key"),
)
