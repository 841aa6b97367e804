from askonce.cache import store
from askonce.cache.explain import Difference, explain
from askonce.cache.key import answer_key, canonical_json
from tests.cache.example import completion

HERE = "http://localhost:8000/v1"
TEXT = "Agent sees a key, holds nothing."


def body(text: str = TEXT, **fields) -> dict:
    chat = [{"role": "system", "content": "Decide. " * 40}, {"role": "user", "content": text}]
    return {"model": "m", "temperature": 1.0, "messages": chat, **fields}


def stored(directory, asked: dict, text: str = TEXT, endpoint: str = HERE, **fields) -> None:
    store.append(
        directory,
        [
            completion(
                key=answer_key(asked, endpoint),
                request=canonical_json(asked),
                endpoint=endpoint,
                text=text,
                **{"task": "T"} | fields,
            )
        ],
    )


def differences(directory, asked: dict, endpoint: str = HERE) -> dict:
    found = explain(directory, "T", asked, endpoint, asked["messages"][-1]["content"])
    assert found.completions == 0
    return {difference.field: (difference.asked, difference.stored) for difference in found.differences}


def test_what_is_stored_is_a_hit(tmp_path):
    stored(tmp_path, body())
    found = explain(tmp_path, "T", body(n=5, temperature=1), HERE, TEXT)
    assert (found.completions, found.nearest, found.differences) == (1, None, [])
    assert found.key == answer_key(body(), HERE)


def test_a_miss_names_the_fields_in_which_the_nearest_question_differs(tmp_path):
    stored(tmp_path, body(top_p=0.5))
    stored(tmp_path, body("Agent sees nothing, holds nothing.", temperature=0.3), prompt="other")
    assert differences(tmp_path, body(top_p=0.9)) == {"top_p": (0.9, 0.5)}
    assert differences(tmp_path, body()) == {"top_p": (None, 0.5)}
    assert differences(tmp_path, body(top_p=0.5), "http://localhost:9/v1") == {
        "endpoint": ("http://localhost:9/v1", HERE)
    }


def test_the_most_similar_text_is_the_nearest(tmp_path):
    for text in ("Agent sees nothing, holds nothing.", TEXT, "Agent sees a door, holds a key."):
        stored(tmp_path, body(text), text)
    asked = "Agent sees a kee, holds nothing."
    assert differences(tmp_path, body(asked)) == {"messages[1].content": (asked, TEXT)}


def test_of_long_texts_the_place_where_they_part_is_shown(tmp_path):
    other = body()
    other["messages"][0]["content"] = "Decide. " * 20 + "Choose. " * 20
    stored(tmp_path, other)
    ((asked, kept),) = differences(tmp_path, body()).values()
    assert "Decide. Decide." in asked and "Choose." in kept and max(len(asked), len(kept)) < 70


def test_the_same_question_of_another_task_will_be_taken_over(tmp_path):
    stored(tmp_path, body(), task="U")
    found = explain(tmp_path, "T", body(), HERE, TEXT)
    assert (found.completions, found.elsewhere, found.differences) == (0, True, [])


def test_an_empty_cache_has_nothing_near(tmp_path):
    store.create(tmp_path)
    found = explain(tmp_path, "T", body(), HERE, TEXT)
    assert (found.completions, found.nearest, found.differences) == (0, None, [])


def test_an_answer_from_elsewhere_may_have_no_request(tmp_path):
    store.append(tmp_path, [completion(request="", endpoint="recorded", text=TEXT)])
    assert differences(tmp_path, body())["endpoint"] == (HERE, "recorded")
    assert Difference("model", "m", None) in explain(tmp_path, "T", body(), HERE, TEXT).differences
