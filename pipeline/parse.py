"""A completion → the decision that it holds.

`parse` is pure and total: it raises on no string, and what it cannot read it returns with a reason. A
decision is in normal form (lower case, the verbs as the task names them, no articles, singular) and
a fixed point: `"Decision: " + ", ".join(decision)` parses to itself. Whether a thing or an option exists is
not judged here: "use key" and "go to east" are decisions like any other, and the task's affair.

The way of a completion: thinking removed → JSON spelled out as text → the answer's lines →
clauses → options. What a word means for this is in the tables below.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
import hashlib
import json
import re
from typing import NamedTuple
import unicodedata

from askonce.cache.key import canonical_json
from askonce.pipeline.tasks.task import Decision, Option

# To be raised with every change by which any completion is read differently, or counts differently: what
# was derived from the cache with another is then derived anew. A test guards it (`readings.json`).
PARSER = 1

EMPTY = "empty completion"
THINKING = "cut off while thinking"
CUT_OFF = "cut off before the decision line"
CUT_OFF_AT = "cut off at the decision line"
NO_LINE = "no decision line, and no line that reads as options"
NO_OPTION = "the decision line holds no option"
REFUSED = "refused"


@dataclass(frozen=True)
class Parsed:
    """`decision` is None where the completion holds none; `reason` then says why, else it is empty."""

    decision: Decision | None
    reason: str = ""


def parse(completion: str, options: Sequence[Option]) -> Parsed:
    """The decision of one raw LLM answer, for a task with these options."""
    verbs, visible = _verbs(tuple(options)), without_thoughts(completion)
    answer, *unfinished_thought = THOUGHT_START.split(visible, maxsplit=1)
    if not answer.strip():
        return Parsed(None, THINKING if unfinished_thought else EMPTY)
    lines = _lines(_spell_out_json(answer, verbs))
    labelled = _labelled_lines(lines, verbs)
    chosen = _closing_lines(lines, verbs) if labelled is None else labelled
    decision = tuple(step.option for step in _options(chosen, verbs))
    return Parsed(decision) if decision else Parsed(None, _why_none(answer, labelled))


def without_thoughts(completion: str) -> str:
    """What comes after the thinking, where that has ended."""
    visible = THOUGHT.sub(" ", completion)
    return visible[max((tag.end() for tag in THOUGHT_END.finditer(visible)), default=0) :]


def reading(options: Sequence[Option]) -> str:
    """16 hex digits that stand for all that decides what `parse` reads for a task with these options."""
    verbs = [[option.name, option.takes_object, *option.synonyms] for option in options]
    return hashlib.sha256(canonical_json([PARSER, verbs]).encode()).hexdigest()[:16]


# ---- What words mean -----------------------------------------------------------------------------

_THINK = r"(?:think|thinking|thought|thoughts|reasoning|scratchpad)"
THOUGHT = re.compile(rf"<\s*{_THINK}\s*>.*?<\s*/\s*{_THINK}\s*>", re.DOTALL | re.IGNORECASE)
THOUGHT_START = re.compile(rf"<\s*{_THINK}\s*>", re.IGNORECASE)
THOUGHT_END = re.compile(rf"<\s*/\s*{_THINK}\s*>", re.IGNORECASE)

_LABEL = r"(?:decision|action|answer)s?"
ANSWER_TAG = re.compile(rf"<\s*(?:final[ _]?)?{_LABEL}\s*>", re.IGNORECASE)
ANSWER_TAG_END = re.compile(rf"<\s*/\s*(?:final[ _]?)?{_LABEL}\s*>", re.IGNORECASE)
FENCE = re.compile(r"^[ \t]*(?:```|~~~)\w*[ \t]*$", re.MULTILINE)
LATEX = re.compile(r"\\(?:boxed|text\w*|mathrm)\b")

# "Decision:", "**Final answer**:", "3. Action -", "My decision (in order) is:"
LABEL = re.compile(
    rf".*\b(?:{_LABEL}\b(?:\s*\([^)]*\))?\W*?(?:\b(?:is|are)\b\W*?)?(?:[:=]>?|->|\s[-–—]\s)"
    rf"|(?:final|my)\s+{_LABEL}\s+(?:is|are)\b)(?P<rest>.*)"
)
HEADING = re.compile(rf"\W*(?:(?:stage|step)\b\W*)?(?:\d+\b\W*)?(?:(?:the|my|final)\s+)*{_LABEL}\W*")
LIST_ITEM = re.compile(r"\s*(?:[-*+•]|\(?(?:step\s+)?\d{1,2}\s*[.):])\s")
NUMBER = re.compile(r"(?<!\S)\(?(?:step\s+)?([0-9]{1,2})\s*[.):-](?![0-9])")
REFUSAL = re.compile(
    r"\b(?:i(?: am|'m) (?:sorry|unable|not able)|i (?:cannot|can't|can not|won't|will not)|as an ai"
    r"|unable to)\b"
)
ENDING = re.compile(r"[.!?:\"'`)\]}>*]\s*$")

TOKEN = re.compile(
    r"(?P<word>\w+(?:['-]\w+)*)|(?P<remark>\()"
    r"|(?P<clause>[-=]>|[,;|&+→⇒–—]|(?<!\S)-(?!\S))|(?P<sentence>[.!?](?!\w))"
)
CONJUNCTIONS = {"and", "then", "so", "afterwards", "followed", "thereafter"}
# What follows gives a reason: nothing in it is an option unless it starts with a verb of the task.
REASONS = {"because", "since", "as", "given", "considering"}
# What follows says how, where, when or which: "open the door with the key" is "open door".
DETAILS = set(
    [
        "(",
        "with",
        "using",
        "by",
        "via",
        "in",
        "inside",
        "into",
        "on",
        "onto",
        "at",
        "near",
        "from",
        "for",
        "of",
        "until",
        "till",
        "when",
        "while",
        "if",
        "unless",
        "once",
        "before",
        "after",
        "without",
        "toward",
        "towards",
        "that",
        "which",
        "who",
        "where",
        "this",
        "these",
        "those",
        "there",
        "here",
        "not",
        "no",
        "but",
        "or",
        "otherwise",
        "else",
        "to",
    ]
)
FILLERS = set(
    [
        "(",
        "agent",
        "it",
        "i",
        "we",
        "you",
        "he",
        "she",
        "they",
        "my",
        "your",
        "our",
        "its",
        "let",
        "let's",
        "lets",
        "us",
        "i'll",
        "we'll",
        "i'd",
        "should",
        "would",
        "will",
        "shall",
        "must",
        "can",
        "could",
        "may",
        "might",
        "needs",
        "need",
        "wants",
        "want",
        "has",
        "have",
        "is",
        "are",
        "be",
        "to",
        "try",
        "tries",
        "attempt",
        "please",
        "just",
        "simply",
        "now",
        "next",
        "first",
        "firstly",
        "second",
        "secondly",
        "third",
        "thirdly",
        "finally",
        "lastly",
        "also",
        "again",
        "therefore",
        "thus",
        "hence",
        "option",
        "options",
    ]
)
# A clause of an unknown verb with one of these is a statement, not an option.
STATEMENTS = set(
    [
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "has",
        "have",
        "had",
        "does",
        "do",
        "did",
        "sees",
        "see",
        "seen",
        "holds",
        "hold",
        "holding",
        "cannot",
        "can't",
        "won't",
        "don't",
        "sorry",
        "unable",
        "help",
        "note",
        "hope",
        "nothing",
        "none",
        "unknown",
        "n",
        "a",
        "null",
        "undefined",
        "i'm",
    ]
)
ARTICLES = {"the", "a", "an", "its", "your", "my"}
PRONOUNS = {"it", "them"}
PARTICLES = ("up", "down", "away", "off")
ORDINALS = {
    word: str(number)
    for number, words in enumerate((("first", "1st"), ("second", "2nd"), ("third", "3rd"), ("fourth", "4th")), start=1)
    for word in words
}
INVARIANT = set(
    [
        "lens",
        "gas",
        "bus",
        "canvas",
        "atlas",
        "pants",
        "jeans",
        "shorts",
        "scissors",
        "stairs",
        "tongs",
        "pliers",
        "glasses",
        "headphones",
        "binoculars",
        "news",
        "series",
    ]
)
DECISION_KEYS = (
    "decision",
    "final decision",
    "decisions",
    "answer",
    "final answer",
    "action",
    "actions",
    "options",
    "option",
    "plan",
    "steps",
    "name",
)
OBJECT_KEYS = ("object", "objects", "target", "item", "argument", "arguments", "args", "parameters")
# More words after an unknown verb are prose.
LONGEST_UNKNOWN = 4
LONGEST_VERB = 4
# No option is this long; a model that repeats itself without end must not cost a square of its words.
LONGEST_CLAUSE = 100

# Words of a verb in one of its forms → the option that it stands for.
Verbs = Mapping[tuple[str, ...], Option]


@lru_cache(maxsize=64)
def _verbs(options: tuple[Option, ...]) -> Verbs:
    verbs: dict[tuple[str, ...], Option] = {}
    phrases = [(option.name, option) for option in options]
    phrases += [(synonym, option) for option in options for synonym in option.synonyms]
    for phrase, option in phrases:
        first, *others = phrase.lower().split()
        for form in _inflected(first):
            verbs.setdefault((form, *others), option)
            verbs.setdefault(("".join((form, *others)),), option)
            verbs.setdefault(("-".join((form, *others)),), option)
    return verbs


def _inflected(verb: str) -> tuple[str, ...]:
    """go → goes, going; explore → explores, exploring; drop → drops, dropping."""
    stem = verb[:-1] if verb.endswith("e") else verb
    return (verb, verb + "s", verb + "es", stem + "ing", verb + verb[-1] + "ing")


# ---- From a completion to the lines of its answer ------------------------------------------------


def _spell_out_json(text: str, verbs: Verbs) -> str:
    """Replaces every JSON value that holds a decision by a decision line."""
    decoder, spelled, done = json.JSONDecoder(), [], 0
    for opening in re.finditer(r"[{\[]", text):
        if opening.start() < done:
            continue
        try:
            value, end = decoder.raw_decode(text, opening.start())
        except ValueError:
            continue
        except RecursionError:  # thousands of brackets; whatever comes, it is no answer in JSON
            break
        said = _said(value, lambda words: _reads_as_options(words, verbs))
        if said:
            spelled += [text[done : opening.start()], f"\nDecision: {said}\n"]
            done = end
    return "".join(spelled) + text[done:]


def _said(value: object, is_option: Callable[[str], bool]) -> str:
    """What a JSON value decides, in words; empty if it decides nothing."""
    match value:
        case list():
            said = [item if isinstance(item, str) and is_option(item) else _said(item, is_option) for item in value]
            return ", ".join(said) if all(said) else ""
        case dict():
            fields = {name.lower().replace("_", " ").replace("-", " "): item for name, item in value.items()}
            for key in DECISION_KEYS:
                if key in fields and (words := _words(fields[key], is_option)):
                    return " ".join([words, *_object_words(fields)])
            return next(filter(None, (_said(item, is_option) for item in fields.values())), "")
    return ""


def _words(value: object, is_option: Callable[[str], bool]) -> str:
    """The same for what stands under a key that announces a decision, where every string counts."""
    if isinstance(value, list):
        return ", ".join(filter(None, (_words(item, is_option) for item in value)))
    return value if isinstance(value, str) else _said(value, is_option)


def _object_words(fields: Mapping[str, object]) -> list[str]:
    """The object that a JSON step names beside its verb: "red key", ["red key"] or {"object": "red key"}."""
    value = next((fields[key] for key in OBJECT_KEYS if key in fields), None)
    if isinstance(value, list | dict):
        value = next(iter(value.values() if isinstance(value, dict) else value), None)
    return [value] if isinstance(value, str) else []


def _lines(text: str) -> list[str]:
    text = ANSWER_TAG_END.sub("\n", ANSWER_TAG.sub("\nDecision: ", text))
    text = LATEX.sub(" ", FENCE.sub("", text))
    # Twice, because lower case letters of some scripts compose further.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    text = text.replace("’", "'").replace("_", " ")
    return re.sub(r"(?<=[a-z])-(?=[0-9])", "", text).splitlines()


def _labelled_lines(lines: Sequence[str], verbs: Verbs) -> list[str] | None:
    """The lines of the last answer that is announced as one; None where none is."""
    for at in reversed(range(len(lines))):
        if label := LABEL.fullmatch(lines[at]):
            return _answer_block(label["rest"].lstrip(" *`\"'>"), lines[at + 1 :], verbs)
        if HEADING.fullmatch(lines[at]):
            return _answer_block("", lines[at + 1 :], verbs)
    return None


def _answer_block(first: str, others: Sequence[str], verbs: Verbs) -> list[str]:
    """An answer goes on as long as its list does, or its options, or the last line ended on a comma."""
    own_lines = not _has_words(first)
    block = [] if own_lines else [first]
    for line in others:
        if not block:
            block = [line] if _has_words(line) else []
        elif (
            LIST_ITEM.match(block[0])
            and LIST_ITEM.match(line)
            or own_lines
            and _reads_as_options(line, verbs)
            or _has_words(line)
            and block[-1].rstrip().endswith((",", ";", "->", "→", " then", " and"))
        ):
            block.append(line)
        elif _has_words(line):
            break
    return block


def _closing_lines(lines: Sequence[str], verbs: Verbs) -> list[str]:
    """Without an announced answer: a single line that starts with an option, or the last lines of options."""
    spoken = [line for line in lines if _has_words(line)]
    if len(spoken) == 1:
        return spoken if _starts_with_option(spoken, verbs) else []
    closing: list[str] = []
    for line in reversed(lines):
        if _reads_as_options(line, verbs):
            closing.insert(0, line)
        elif closing and _has_words(line):
            break
    return closing


def _has_words(line: str) -> bool:
    return re.search(r"\w", line) is not None


def _reads_as_options(text: str, verbs: Verbs) -> bool:
    """Whether it starts with an option and holds nothing else; "it should go to the key" does not."""
    lines = _lines(text)
    return _starts_with_option(lines, verbs) and all(step.known for step in _options(lines, verbs))


def _starts_with_option(lines: Iterable[str], verbs: Verbs) -> bool:
    clauses = (words for line in lines for words, _ in _clauses(_without_numbers(line)) if words)
    return _verb(next(clauses, []), verbs) is not None


def _why_none(answer: str, labelled: Sequence[str] | None) -> str:
    text = answer.lower().replace("’", "'")
    if REFUSAL.search(text):
        return REFUSED
    if labelled is not None:
        return NO_OPTION if labelled else CUT_OFF_AT
    return NO_LINE if ENDING.search(text) else CUT_OFF


# ---- From lines to options -----------------------------------------------------------------------


class Step(NamedTuple):
    """One option in normal form (empty if there is none), whether its verb is one of the task's, the object
    that it names, and the words left over for a further option."""

    option: str = ""
    known: bool = False
    thing: str = ""
    rest: list[str] = []


def _options(lines: Iterable[str], verbs: Verbs) -> Iterator[Step]:
    named = ""
    for line in lines:
        for words, in_reason in _clauses(_without_numbers(line)):
            words = words[:LONGEST_CLAUSE]
            while words:
                step = _first_option(words, verbs, named)
                if step.option and (step.known or not in_reason):
                    yield step
                if step.thing and step.thing not in PRONOUNS:
                    named = step.thing
                words = step.rest


def _without_numbers(line: str) -> str:
    """ "1. go to the key 2. pick it up" → "go to the key ; pick it up".

    Only numbers in sequence count: "door 1." stays.
    """
    line = line.lstrip(" \t*-+•\"'`>#")
    expected = -1

    def mark(number: re.Match[str]) -> str:
        nonlocal expected
        if number.start() > 0 and int(number[1]) != expected:
            return number[0]
        expected = int(number[1]) + 1
        return " ; "

    return NUMBER.sub(mark, line)


def _clauses(line: str) -> Iterator[tuple[list[str], bool]]:
    """The words of each clause, and whether it belongs to a reason given before in its sentence."""
    words: list[str] = []
    in_reason = False
    for token in TOKEN.finditer(line):
        word = token[0]
        if token.lastgroup in ("clause", "sentence") or word in CONJUNCTIONS or word in REASONS:
            yield words, in_reason
            words = []
            in_reason = token.lastgroup != "sentence" and (in_reason or word in REASONS)
        elif word not in ARTICLES:
            words.append(word)
    yield words, in_reason


def _first_option(clause: list[str], verbs: Verbs, named: str) -> Step:
    words = clause
    while words and words[0] in FILLERS and _verb(words, verbs) is None:
        words = words[1:]
    found = _verb(words, verbs)
    if found is None:
        return Step() if _is_prose(clause, words) else _unknown_option(words, verbs, named)
    option, rest = found
    if not option.takes_object:
        return Step(option.name, known=True)
    if words[0].endswith("ing") and _verb(rest, verbs):  # "going to pick up the key"
        return Step(rest=rest)
    thing, rest = _object(rest, verbs, named)
    return Step(f"{option.name} {thing}".strip(), True, thing, rest)


def _is_prose(clause: list[str], words: list[str]) -> bool:
    """`words`: the clause without what leads it in."""
    return not words or words[0] in DETAILS or words[0].isdecimal() or not STATEMENTS.isdisjoint(clause)


def _unknown_option(words: list[str], verbs: Verbs, named: str) -> Step:
    thing, rest = _object(words[1:], verbs, named)
    option = f"{words[0]} {thing}".strip()
    return Step(option, False, thing, rest) if len(option.split()) <= LONGEST_UNKNOWN else Step()


def _verb(words: Sequence[str], verbs: Verbs) -> tuple[Option, list[str]] | None:
    """The option that `words` start with, and the words after it; "pick the key up" is "pick up the key"."""
    for size in range(min(len(words), LONGEST_VERB), 0, -1):
        for particle in PARTICLES:
            if particle in words[size:] and (option := verbs.get((*words[:size], particle))):
                at = words.index(particle, size)
                return option, [*words[size:at], *words[at + 1 :]]
        if option := verbs.get(tuple(words[:size])):
            return option, list(words[size:])
    return None


def _object(words: list[str], verbs: Verbs, named: str) -> tuple[str, list[str]]:
    """The object in normal form, and what follows "to" if that is an option too ("use key to open door")."""
    words = words[1:] if words[:1] == ["("] else words
    end = next((at for at, word in enumerate(words) if word in DETAILS), len(words))
    further = words[end + 1 :] if words[end : end + 1] == ["to"] else []
    found = _verb(further, verbs)
    thing = " ".join(_normal_noun(words[:end]))
    return named if thing in PRONOUNS and named else thing, further if found and found[0].takes_object else []


def _normal_noun(words: list[str]) -> list[str]:
    """doors → door; door 1, door number 1, first door → door1; color 1 key → color1 key."""
    if len(words) > 1 and words[0] in ORDINALS and not words[-1][-1].isdigit():
        words = [*words[1:], ORDINALS[words[0]]]
    noun: list[str] = []
    for word in words:
        if word.isdecimal() and noun and noun[-1] == "number":
            noun.pop()
        if word.isdecimal() and noun and not noun[-1][-1].isdigit():
            noun[-1] += word
        else:
            noun.append(word)
    return [*noun[:-1], _singular(noun[-1])] if noun else []


def _singular(word: str) -> str:
    if len(word) < 4 or word in INVARIANT or word.endswith(("ss", "us", "is", "'s")):
        return word
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word.removesuffix("s")
