import json
import time

import openai
import pytest

from askonce.pipeline.simulated.serve import serve

ENDPOINT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def client():
    with serve() as url:
        yield openai.OpenAI(
            base_url=url, api_key="any", max_retries=0, http_client=openai.DefaultHttpxClient(trust_env=False)
        )


def line(name: str, **changes) -> dict:
    body = {"model": "simulated", "messages": [{"role": "user", "content": "What now?"}]}
    return {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body} | changes


def submitted(client: openai.OpenAI, lines: list[dict]) -> str:
    data = "".join(json.dumps(one) + "\n" for one in lines).encode()
    file = client.files.create(file=("lines.jsonl", data), purpose="batch")
    assert client.files.content(file.id).content == data
    return client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h").id


def ended(client: openai.OpenAI, name: str):
    while (batch := client.batches.retrieve(name)).status not in ("completed", "failed", "cancelled"):
        time.sleep(0.01)
    return batch


def answers(client: openai.OpenAI, file: str | None) -> list[dict]:
    return [json.loads(one) for one in client.files.content(file).content.splitlines()] if file else []


def test_sound_lines_and_others_come_in_two_files(client):
    broken = line("b", body={"model": "another", "messages": [{"role": "user", "content": "What now?"}]})
    batch = ended(client, submitted(client, [line("a"), broken]))
    (sound,), (failed,) = answers(client, batch.output_file_id), answers(client, batch.error_file_id)
    assert sound["custom_id"] == "a" and len(sound["response"]["body"]["choices"]) == 1
    assert failed["custom_id"] == "b" and failed["response"]["status_code"] == 404
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)


@pytest.mark.parametrize(
    "lines, wrong",
    [
        ([line("a"), line("a")], [2]),
        ([line("a", method="GET"), line("b", url="/v1/embeddings")], [1, 2]),
        ([line("a", body=None)], [1]),
        ([], [None]),
    ],
)
def test_a_file_of_other_lines_is_refused_before_any_is_answered(client, lines, wrong):
    batch = ended(client, submitted(client, lines))
    assert batch.status == "failed" and not batch.output_file_id
    assert [error.line for error in batch.errors.data] == wrong


def test_a_cancelled_batch_says_of_every_line_what_became_of_it(client):
    name = submitted(client, [line(f"request-{number}") for number in range(3000)])
    client.batches.cancel(name)
    batch = ended(client, name)
    parts = answers(client, batch.output_file_id), answers(client, batch.error_file_id)
    assert batch.status == "cancelled" and sum(map(len, parts)) == 3000
    assert all(one["error"]["code"] == "batch_cancelled" for one in parts[1])


def test_batches_are_listed_page_by_page_the_latest_first(client):
    made = [submitted(client, [line("a")]) for _ in range(3)]
    assert [batch.id for batch, _ in zip(client.batches.list(limit=2), range(3))] == made[::-1]


def test_what_there_is_not_is_not_found(client):
    for call in (client.batches.retrieve, client.batches.cancel, client.files.retrieve, client.files.content):
        with pytest.raises(openai.NotFoundError):
            call("nothing")
    with pytest.raises(openai.BadRequestError):
        client.batches.create(input_file_id="nothing", endpoint=ENDPOINT, completion_window="24h")
