from dataclasses import replace
import json
from pathlib import Path
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from askonce.pipeline import parse as parsing
from askonce.pipeline.parse import parse
from askonce.pipeline.prompt import messages
from askonce.pipeline.tasks.task import Option
from tests.pipeline.doorkey_prompt import OPTIONS, PROMPT


def decided(completion: str) -> tuple[str, ...] | None:
    return parse(completion, OPTIONS).decision


def answer(decision: tuple[str, ...]) -> str:
    return "Decision: " + ", ".join(decision)


# ---- The messages --------------------------------------------------------------------------------


def test_messages_hold_the_setting_the_options_the_example_and_the_text():
    system, user = messages(PROMPT, "Agent sees nothing, holds nothing.")
    assert system["role"] == "system" and user["role"] == "user"
    assert user["content"] == "Agent sees nothing, holds nothing."
    for part in (PROMPT.setting, PROMPT.example_text, PROMPT.example_observation, PROMPT.example_reasoning):
        assert part in system["content"]
    for option in OPTIONS:
        assert option.help in system["content"]


def test_the_worked_example_ends_on_an_answer_line_that_parses():
    system, _ = messages(PROMPT, "Agent sees nothing, holds nothing.")
    assert decided(system["content"]) == PROMPT.example_decision


def test_only_the_user_message_depends_on_the_text():
    first, second = (messages(PROMPT, text) for text in ("Agent sees a key.", "Agent sees a door."))
    assert first[0] == second[0] and first[1] != second[1]


# ---- What LLMs write -----------------------------------------------------------------------------

KEY = ("go to key", "pick up key")
RED_KEY = ("go to red key", "pick up red key")
DOOR = ("go to door", "open door")

WRITTEN = {
    "the answer line as asked": ("Decision: go to red key, pick up red key", RED_KEY),
    "case and full stop": ("DECISION: Go To Red Key, Pick Up Red Key.", RED_KEY),
    "articles": ("Decision: go to the red key, pick up the red key", RED_KEY),
    "plurals": ("Decision: go to keys, open the boxes", ("go to key", "open box")),
    "no plurals": ("Decision: go to glass, pick up compass", ("go to glass", "pick up compass")),
    "angle brackets": ("Decision: <go to> <red key>, <pick up> <red key>", RED_KEY),
    "square brackets": ("Decision: [go to key], [pick up key]", KEY),
    "braces": ("Action: {go to key, pick up key}", KEY),
    "quotes": ("Decision: 'go to key', “pick up key”", KEY),
    "backticks": ("Decision: `go to key`, `pick up key`", KEY),
    "function calls": ("Decision: go_to(red_key), pick_up(red_key)", RED_KEY),
    "camel case": ("Decision: GoTo(key), PickUp(key)", KEY),
    "full-width punctuation": ("Decision：go to key，pick up key", KEY),
    "bold label": ("**Decision:** go to key, pick up key", KEY),
    "bold label, colon outside": ("**Final Decision**: **go to key**, **pick up key**", KEY),
    "heading and list": ("### Decision\n\n- Go to the *key*\n- Pick up the *key*\n", KEY),
    "list with empty lines": ("Decision:\n\n1. go to key\n\n2. pick up key", KEY),
    "options on lines of their own": ("Decision:\ngo to key\npick up key\n\nThe key opens the door.", KEY),
    "numbers in one line": ("Decision: 1. go to the key 2. pick it up", KEY),
    "numbers in brackets": ("Decision: (1) go to key (2) pick up key", KEY),
    "steps": ("Decision: Step 1: go to key. Step 2: pick up key.", KEY),
    "numbered stages": ("1. It sees a key.\n2. It should take it.\n3. Decision: go to key, pick up key", KEY),
    "then": ("Decision: go to the key, then pick it up", KEY),
    "and then": ("Decision: go to the key and then pick it up", KEY),
    "arrows": ("Decision: go to key -> pick up key", KEY),
    "semicolons": ("Decision: go to key; pick up key", KEY),
    "split verb": ("Decision: go to the key and pick the key up", KEY),
    "synonyms": (
        "Decision: navigate to key, grab key, drop key, unlock door",
        ("go to key", "pick up key", "drop key", "open door"),
    ),
    "participles": ("Decision: going to the key and picking it up", KEY),
    "intentions": ("Final answer: I will first go to the key and then pick it up.", KEY),
    "a whole sentence": ("Answer: The agent should go to the key and pick it up.", KEY),
    "final decision without colon": ("My final decision is to go to the key and pick it up.", KEY),
    "how": ("Decision: go to door, open the door with the key", DOOR),
    "purpose": ("Decision: go to the door to open it", DOOR),
    "two in one": ("Decision: go to the door and open it", DOOR),
    "where": ("Decision: explore the room to find a key", ("explore",)),
    "remark in brackets": ("Decision: go to key (the red one), pick up key", KEY),
    "reason": ("Decision: explore, because the agent sees no key and holds nothing", ("explore",)),
    "explanation after": (
        "Decision: explore\n\nReason: it must find the key before it can open the door.",
        ("explore",),
    ),
    "condition before": ("Decision: Since the agent holds a key, go to the door and open it", DOOR),
    "numbered objects": ("Decision: go to door 1, open door #2", ("go to door1", "open door2")),
    "numbers in words": ("Decision: go to the first door, open door number 2", ("go to door1", "open door2")),
    "number before a full stop": ("Decision: go to door 1. Then open door 1.", ("go to door1", "open door1")),
    "numbered colours": ("Decision: go to color1 key, pick up color 1 key", ("go to color1 key", "pick up color1 key")),
    "the last answer line wins": ("Action: explore\nDecision: go to key, pick up key", KEY),
    "thinking": ("<think>Decision: explore</think>Decision: go to key, pick up key", KEY),
    "only the end of thinking": ("Shall it explore?\nDecision: explore</think>\ngo to key, pick up key", KEY),
    "unended thinking after the answer": ("Decision: go to key, pick up key <think> or", KEY),
    "answer tags": ("<answer>go to key, pick up key</answer>", KEY),
    "LaTeX": (r"Answer: \boxed{\text{go to key, pick up key}}", KEY),
    "no label": ("The agent holds nothing.\n\ngo to the key, pick up the key", KEY),
    "no label, several lines": ("Its hands are free.\n1. Go to the key\n2. Pick it up\nGood luck!", KEY),
    "JSON list": ('{"decision": ["go to key", "pick up key"]}', KEY),
    "JSON string": ('{"reasoning": "explore?", "decision": "go to key, pick up key"}', KEY),
    "JSON step": ('{"action": "go to", "object": "red key"}', ("go to red key",)),
    "JSON steps": ('[{"action": "go_to", "object": "key"}, {"action": "pick_up", "object": "key"}]', KEY),
    "JSON steps in a plan": (
        '{"steps": [{"action": "go to", "target": "key"}, {"action": "pick up", "target": "key"}]}',
        KEY,
    ),
    "JSON tool call": ('{"name": "go to", "arguments": {"object": "key"}}', ("go to key",)),
    "JSON, fenced": ('Here:\n```json\n{\n "decision": [\n  "go to key",\n  "pick up key"\n ]\n}\n```', KEY),
    "JSON after the label": ('Decision: ["go to key", "pick up key"]', KEY),
    "JSON with other lists": ('{"sees": ["key", "door"], "decision": ["explore"]}', ("explore",)),
    "Python's quotes": ("{'decision': ['go to key', 'pick up key']}", KEY),
    "an object that is not there": ("Decision: pick up handle", ("pick up handle",)),
    "an option that is not there": ("Decision: go to the key, use the key on the door", ("go to key", "use key")),
    "an option that is not there, with its purpose": (
        "Decision: use the key to open the door",
        ("use key", "open door"),
    ),
    "a verb without its object": ("Decision: drop", ("drop",)),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_takes_what_llms_write(name):
    completion, decision = WRITTEN[name]
    assert decided(completion) == decision


UNREADABLE = {
    "": parsing.EMPTY,
    " \n": parsing.EMPTY,
    "<think></think>": parsing.EMPTY,
    "<think>The agent sees": parsing.THINKING,
    "Observation: the agent sees a key.\nReasoning: it should": parsing.CUT_OFF,
    "Observation: it sees a key.\nReasoning: it should take it.\nDecision:": parsing.CUT_OFF_AT,
    "The agent sees a key and should go to the key.": parsing.NO_LINE,
    "Decision: none": parsing.NO_OPTION,
    "Decision: the door is locked": parsing.NO_OPTION,
    "I'm sorry, but I can't help with that.": parsing.REFUSED,
    "Decision: I cannot decide this.": parsing.REFUSED,
    "I’m sorry, no.": parsing.REFUSED,
}


@pytest.mark.parametrize("completion", UNREADABLE)
def test_says_why_there_is_no_decision(completion):
    parsed = parse(completion, OPTIONS)
    assert parsed.decision is None and parsed.reason == UNREADABLE[completion]


# Every decision of the option frequencies that the paper's authors recorded from ChatGLM-turbo (LLM4Teach,
# IJCAI 2024), with its normal form where the two differ.
RECORDED = [
    "explore",
    "go to key, pick up key",
    "pick up key",
    "go to door, open door",
    "explore, go to door, open door",
    "explore, go to door",
    "explore, open door",
    "go to door, pick up handle, use key",
    ("go to door, open door with key", "go to door, open door"),
    "go to key, pick up key, go to door, open door",
    "go to key, pick up key, open door",
    "pick up key, go to door, open door",
    "go to key, go to door, use key",
    "go to key, pick up key, explore",
    "go to east",
    "go to color1 key, pick up color1 key",
    "pick up color1 key",
    "go to color1 door, open color1 door",
    "open color1 door",
    "go to color2 key",
    "drop color2 key, go to color1 key, pick up color1 key",
    "drop color2 key, pick up color1 key",
    "go to color2 door, open color2 door",
    "go to color2 key, pick up color2 key",
    "pick up color2 key",
    "go to door1, open door1",
    "go to door2, open door2",
]


@pytest.mark.parametrize("recorded", RECORDED, ids=str)
def test_reads_the_recorded_decisions_of_the_paper(recorded):
    written, normal = recorded if isinstance(recorded, tuple) else (recorded, recorded)
    for completion in (f"Decision: {written}", written, f"**Action:** {written.title()}.", f"<{written}>"):
        assert decided(completion) == tuple(normal.split(", "))


# ---- What is derived from readings -----------------------------------------------------------------

READINGS = Path(__file__).with_name("readings.json")


def test_nothing_is_read_differently_by_the_same_parser():
    recorded = json.loads(READINGS.read_text())
    differing = {
        completion: (before, now) for completion, before in recorded["readings"] if (now := said(completion)) != before
    }
    assert not differing and recorded["parser"] == parsing.PARSER, (
        f"the parser reads differently: raise PARSER in pipeline/parse.py, else indexes built before stay "
        f"in use, and record the new number and readings in {READINGS.name}: {differing}"
    )


def said(completion: str) -> list[str] | str:
    parsed = parse(completion, OPTIONS)
    return parsed.reason if parsed.decision is None else list(parsed.decision)


def test_all_that_decides_how_a_completion_is_read_has_part_in_the_digest(monkeypatch):
    option = Option("open", "open the door", synonyms=("unlock",))
    others = [
        (),
        (option, option),
        *[
            (replace(option, **change),)
            for change in (
                {"name": "close"},
                {"synonyms": ()},
                {"synonyms": ("unlock", "unbar")},
                {"takes_object": False},
            )
        ],
    ]
    digests = {parsing.reading(options) for options in ((option,), *others)}
    assert len(digests) == 1 + len(others)
    assert parsing.reading([replace(option, help="of no matter")]) == parsing.reading((option,))
    monkeypatch.setattr(parsing, "PARSER", parsing.PARSER + 1)
    assert parsing.reading((option,)) not in digests


# ---- Properties ----------------------------------------------------------------------------------

SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprtvz" for vowel in "aou"]
words = st.lists(st.sampled_from(SYLLABLES), min_size=2, max_size=3).map("".join)
objects = st.builds(
    lambda parts, number: " ".join(parts) + number,
    st.lists(words, min_size=1, max_size=3),
    st.sampled_from(["", "", "1", "2", "17"]),
)
decisions = st.lists(
    st.one_of(
        [
            st.builds(f"{option.name} {{}}".format, objects) if option.takes_object else st.just(option.name)
            for option in OPTIONS
        ]
    ),
    min_size=1,
    max_size=5,
).map(tuple)

JOINED = {
    "commas": ", ".join,
    "then": ", then ".join,
    "and then": " and then ".join,
    "arrows": " -> ".join,
    "semicolons": "; ".join,
    "sentences": ". ".join,
    "brackets": lambda steps: ", ".join(f"<{step}>" for step in steps),
    "code": lambda steps: ", ".join(f"`{step}`" for step in steps),
    "numbers": lambda steps: " ".join(f"{i}. {step}" for i, step in enumerate(steps, start=1)),
    "numbered lines": lambda steps: "\n" + "\n".join(f"{i}) {step}" for i, step in enumerate(steps, start=1)),
    "bullets": lambda steps: "\n\n" + "\n".join(f"- **{step}**" for step in steps),
    "JSON": lambda steps: json.dumps(steps),
}
LABELS = [
    "Decision: {}",
    "**Decision:** {}",
    "3. **Final decision**: {}",
    "Action: {}",
    "### Final answer:\n{}",
    '{{"decision": {}}}',
]
AROUND = [
    "{}",
    "Observation: it sees a door.\nReasoning: it should act.\n{}",
    "<think>Decision: explore, maybe</think>{}",
    "thinking\n</think>\n\n{}\n",
    "{}\n\nThis is the best way to the exit.",
]


@st.composite
def renderings(draw) -> tuple[tuple[str, ...], str]:
    decision = draw(decisions)
    label = draw(st.sampled_from(LABELS))
    joined = JOINED["JSON" if label.startswith("{") else draw(st.sampled_from(list(JOINED)))](list(decision))
    if draw(st.booleans()) and not label.startswith("{"):
        joined = draw(st.sampled_from([str.upper, str.title]))(joined)
    return decision, draw(st.sampled_from(AROUND)).format(label.format(joined))


@settings(max_examples=400, deadline=None)
@given(renderings())
def test_every_decision_survives_every_style(rendering):
    decision, completion = rendering
    assert decided(completion) == decision


# Random text rarely looks like an answer; text made of the words that the parser knows does.
fragments = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(
            [
                "decision:",
                "answer",
                "action",
                ":",
                "go",
                "to",
                "pick",
                "up",
                "it",
                "them",
                "drop",
                "explore",
                "opening",
                "the",
                "a",
                "key",
                "keys",
                "door",
                "1",
                "2.",
                "first",
                "(",
                ")",
                "{",
                "}",
                "[",
                "]",
                '"',
                "<think>",
                "</think>",
                "<answer>",
                "```",
                "**",
                "-",
                "->",
                ",",
                ";",
                ".",
                "and",
                "then",
                "because",
                "with",
                "not",
                "is",
                "I",
                "cannot",
                "_",
                "#",
                "'decision'",
                "\n",
            ]
        ),
    ),
    max_size=25,
).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(), fragments, st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_reads_or_gives_a_reason_for_any_text(completion):
    parsed = parse(completion, OPTIONS)
    assert (parsed.decision is None) == bool(parsed.reason)
    assert parsed.decision is None or all(parsed.decision)


@settings(max_examples=400, deadline=None)
@given(st.one_of(fragments, st.text()))
def test_a_decision_is_a_fixed_point(completion):
    decision = decided("Decision: " + completion)
    if decision is not None:
        assert decided(answer(decision)) == decision
        assert all(unicodedata.is_normalized("NFKC", words) for words in decision)


def test_deeply_nested_brackets_are_text_like_any_other():
    assert decided("[" * 5000 + "\nDecision: explore") == ("explore",)
