"""What an LLM is told of NavPick: the task, its two options, and a worked example."""

from askonce.pipeline.tasks.task import Option, Prompt

NAVIGATE, PICK = "navigate to", "pick up"

OPTIONS = (
    Option(
        NAVIGATE,
        "drive to the table on which the object is, until it is ahead of the robot and near",
        synonyms=(
            "navigate",
            "navigate towards",
            "go to",
            "goto",
            "go towards",
            "drive to",
            "drive towards",
            "move to",
            "move towards",
            "walk to",
            "head to",
            "head towards",
            "travel to",
            "approach",
            "return to",
            "turn to",
            "turn towards",
            "face",
        ),
    ),
    Option(
        PICK,
        "take the object, which has to be ahead and near, lift it, and bring it back to the body; goes on until "
        "that is done, also once the object is held",
        synonyms=(
            "pickup",
            "pick",
            "grasp",
            "grip",
            "take",
            "grab",
            "get",
            "lift",
            "lift up",
            "collect",
            "retrieve",
            "fetch",
            "carry",
        ),
    ),
)

PROMPT = Prompt(
    setting="A robot with wheels, an arm and a gripper is in a home. It has to pick up the one object that the "
    "description names first, and to bring it back to its body; then its task is done. To take any other object is a "
    "failure, and so is to drop the right one. The robot knows where that object is even where it does not see it. "
    "It sees what is before it alone, and the arm may hide the object that it reaches for.",
    options=OPTIONS,
    example_text="Agent is to pick up a mug. It sees a mug on a table ahead, far. It holds nothing.",
    example_observation="The robot sees the mug on a table ahead, but far away. It holds nothing.",
    example_reasoning="The arm does not reach the mug from here, so the robot should first drive up to it, and then "
    "take it.",
    example_decision=("navigate to mug", "pick up mug"),
)
