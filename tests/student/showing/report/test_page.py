"""What a report says, read by a parser: all of the cache, the audit and the runs, and nothing that could run."""

from dataclasses import replace
from pathlib import Path
import shutil

import pyarrow.parquet as pq
import pytest

from askonce.cache import query, store
from askonce.cache.errors import AskonceError
from askonce.cache.layout import AUDIT
from askonce.pipeline import tasks
from askonce.pipeline.asking.prices import Price
from askonce.student.showing.report import audits, page
from askonce.student.showing.report.gather import gather
from tests.cache.example import completion
from tests.student.showing.report import example
from tests.student.showing.report.conftest import EPISODES, TASK
from tests.student.showing.report.reader import read

HOSTILE = (
    """</script><img src="x" onerror='window.hacked = 1'>{{ 7 * 7 }} "' onload=alert(1) &lt; ]]> """
    "\u202eabc\x1b[2J"
)


@pytest.fixture(scope="module")
def found(made):
    """All about it."""
    return report(made, made.run)


@pytest.fixture
def copied(made, tmp_path):
    """The same, to be written."""
    return replace(made, cache=Path(shutil.copytree(made.cache, tmp_path / "cache")))


def report(made, *runs: Path, **changes):
    return gather(made.cache, runs, **{"episodes": EPISODES} | changes)


def html(made, *runs: Path, **changes) -> str:
    return page.render(report(made, *runs, **changes))


def test_says_all_that_is_known_of_the_cache_its_audit_and_its_students(made, found):
    shown = read(page.render(found))
    (entry,) = query.stats(made.cache).teachers
    (held,) = found.held
    assert held.unparsable == 0 and held.cost == 0 and held.coverage == entry.coverage.share > 0.9
    for words in (entry.name, f"{entry.completions:,}", f"{entry.prompt_tokens:,}", f"{entry.completion_tokens:,}"):
        assert words in shown.words
    # Side by side with nobody: there is no agreement.
    assert held.told.estimator == "text" and held.told.agreement is None and "Teachers side by side" in shown.words
    alone, student = found.evaluated
    for evaluated in alone, student:
        assert f"{evaluated.figures.success_rate:.1%}" in shown.words and evaluated.figures.episodes == EPISODES
    # One chart of success and one of return, with the student's curve and the level of its teacher.
    assert len(shown.all("svg", **{"class": "chart"})) == len(shown.all("polyline")) == 2
    assert len([path for path in shown.all("path") if path.get("class") == "level c0"]) == 3
    decisions, _ = audits.read(made.cache)
    rows = [one for one in shown.all("li") if "data-verdict" in one]
    assert sorted((row["data-verdict"], row["data-decision"]) for row in rows) == sorted(
        (one.verdict, one.decision or "") for one in decisions
    )
    # Two pictures for each decision that is not sound, and the LLM's own words for all.
    pictured = [one for one in decisions if one.verdict != "sound" and one.example]
    assert len(shown.all("svg", **{"class": "room"})) == 2 * len(pictured) > 0
    contents = query.contents(made.cache, [one.completion for one in decisions])
    assert len(contents) == len(decisions) and all(said in shown.words for said in contents.values())
    assert {row["data-status"] for row in rows} == {"", "unlearned", "kept"}
    assert found.notes == [] and "What students made of the mistakes" in shown.words


def test_the_costliest_over_all_visits_come_first(found):
    rows = [row for row in read(page.render(found)).all("li") if "data-lost" in row]
    lost = [float(row["data-lost"] or 0) for row in rows]
    assert lost == sorted(lost, reverse=True) and lost[0] > 0


def test_same_inputs_same_bytes(made, found):
    assert html(made, made.run) == page.render(found)


def test_asks_for_nothing_and_runs_nothing_but_its_own_script(found):
    shown = read(page.render(found))
    (policy,) = [found["content"] for found in shown.all("meta") if "http-equiv" in found]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert len(shown.all("script")) == len(shown.all("style")) == 1 and shown.all("script") == [{}]
    given = [pair for _, found in shown.elements for pair in found.items()]
    links = [value for name, value in given if name in ("src", "href", "action")]
    assert links and all(link.startswith("#") for link in links)
    assert not [name for name, _ in given if name.startswith("on") or name == "style"]


def test_what_others_wrote_is_shown_and_never_obeyed(copied):
    hostile = completion(HOSTILE, model=f"model{HOSTILE}", task=TASK, prompt="b07c91d2", content=HOSTILE)
    store.append(copied.cache, [hostile])
    decisions, _ = audits.read(copied.cache)
    example.rewrite(
        example.place(copied.cache, copied.teacher),
        {
            "text": HOSTILE,
            "decision": HOSTILE,
            "rule": HOSTILE,
            "reason": HOSTILE,
            "best": HOSTILE,
            "model": HOSTILE,
            "completion": hostile.completion_id,
            "path_end": HOSTILE,
        },
    )
    shown = read(html(copied, episodes=0))
    assert not shown.all("img") and len(shown.all("script")) == 1
    allowed = HOSTILE.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")
    # As text, decision, rule, reason, best decision and words of each, and in the lists to choose from.
    assert shown.words.count(allowed) > 5 * len(decisions) and "\u202e" not in shown.words
    assert {row["data-decision"] for row in shown.all("li") if "data-verdict" in row} == {allowed}
    assert not [name for _, found in shown.elements for name in found if name.startswith("on")]


def test_without_an_audit_it_says_by_which_command_one_comes(copied):
    shutil.rmtree(copied.cache / AUDIT)
    shown = read(html(copied, copied.run))
    assert f"cli audit --task {TASK} --cache {copied.cache} --model {copied.teacher.name}" in shown.words
    assert shown.all("svg", **{"class": "chart"}) and not shown.all("form")


def test_an_audit_that_lacks_completions_is_named_with_its_command(copied):
    same = {"task": TASK, "model": copied.teacher.model, "prompt": copied.teacher.prompt}
    store.append(copied.cache, [completion(**same, text="Agent sees nothing, holds nothing.")])
    (note,) = report(copied, episodes=0).notes
    assert "fewer completions" in note.words and note.command.endswith(f"--model {copied.teacher.name}")


def test_a_student_that_was_not_audited_is_named_with_its_command(copied):
    for path in (copied.cache / AUDIT).glob("*--student-*"):
        path.unlink()
    shown = read(html(copied, copied.run))
    assert f"--model {copied.teacher.name} --run {copied.run}" in shown.words


def test_only_the_runs_that_are_named_are_reported_on(made):
    shown = read(html(made))
    assert str(made.run) not in shown.words and not shown.all("svg", **{"class": "chart"})


@pytest.mark.parametrize("damage", ["bytes", "columns", "verdict"])
def test_a_damaged_audit_is_one_line(copied, damage):
    path = example.place(copied.cache, copied.teacher)
    if damage == "bytes":
        path.write_bytes(b"PAR1" + bytes(100))
    elif damage == "columns":
        pq.write_table(pq.read_table(path).drop(["reason"]), path)
    else:
        example.rewrite(path, {"verdict": "<b>"})
    with pytest.raises(AskonceError, match="make it again with `cli audit`") as failed:
        report(copied)
    assert str(path) in str(failed.value) and "\n" not in str(failed.value)


def test_a_run_of_another_task_and_a_cache_without_answers_are_refused(made, tmp_path):
    run = Path(shutil.copytree(made.run, tmp_path / "run"))
    about = (run / "run.json").read_text()
    (run / "run.json").write_text(about.replace(f'"{TASK}"', '"SimpleDoorKey"'))
    with pytest.raises(AskonceError, match=f"{run} is a run of SimpleDoorKey.*{TASK}") as refused:
        report(made, run)
    assert refused.value.exit_code == 2
    with pytest.raises(AskonceError, match="no answers for LavaDoorKey"):
        report(made, task=tasks.find("LavaDoorKey"))


def test_a_coverage_that_no_build_has_kept_is_estimated(copied):
    shutil.rmtree(copied.cache / "coverage")
    (held,) = report(copied, episodes=0).held
    assert held.entry.coverage is None and 0.9 < held.coverage <= 1


def test_what_is_no_built_in_task_is_reported_without_being_played(made, copied):
    store.append(copied.cache, [completion(task="Mine", model="gpt-4o-mini")])
    found = report(copied)
    mine = found.held[-1]
    assert (mine.entry.task, mine.unparsable, mine.coverage) == ("Mine", None, None)
    assert mine.cost == Price(0.15, 0.6).of(300, 40)
    assert found.evaluated[-1].figures is None
    shown = read(page.render(found))
    assert "Mine is no built-in task" in shown.words and "unparsable" in shown.words
    # Prices of one's own come before those that are known.
    assert report(copied, prices={"gpt-4o-mini": Price(1e6, 0)}, episodes=0).held[-1].cost == 300


def test_hundreds_of_decisions_stay_a_small_file_and_the_costliest_are_kept(found, monkeypatch):
    monkeypatch.setattr(page, "MOST_DECISIONS", 300)
    many = [replace(one, text=f"{one.text} {number}") for one in found.decisions for number in range(20)]
    shown = page.render(replace(found, decisions=many))
    assert len(many) > page.MOST_DECISIONS
    assert len([row for row in read(shown).all("li") if "data-verdict" in row]) == page.MOST_DECISIONS
    assert f"{len(many) - page.MOST_DECISIONS:,} more are in" in shown
    assert len(shown) < 5000 * page.MOST_DECISIONS


def test_words_without_end_are_cut(found):
    one = found.decisions[0]
    long = replace(found, contents={(one.task, one.completion): "a" * (page.MOST_LETTERS + 1234)})
    assert "1,234 more letters" in read(page.render(long)).words
