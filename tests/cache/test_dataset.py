from datetime import timedelta
import random
import socket

from huggingface_hub import DatasetCard
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from askonce.cache import coverage, query, store
from askonce.cache.completion import SCHEMA
from askonce.cache.coverage import Coverage
from askonce.cache.dataset import export, import_dataset
from askonce.cache.errors import AskonceError
from tests.cache.example import completion
from tests.cache.test_journal import left_behind


@pytest.fixture
def cache(tmp_path):
    """Several tasks, models and segments, odd characters, missing values, a journal, numbers given twice."""
    directory = tmp_path / "cache"
    first, odd = completion().asked_at, 'a "quoted: text", | piped\n---\nand \u4e16\u754c'
    for number in range(3):
        store.append(
            directory,
            [
                completion(f"{row}", sample=row, asked_at=first + timedelta(hours=number), content=f"{number}")
                for row in range(4)
            ],
        )
    store.append(
        directory,
        [
            completion(odd, "org/model: new | x", task="Lava | Door", content=odd, latency=None, logprobs="[1]"),
            completion("bare", finish_reason=None, prompt_tokens=None, completion_tokens=None, served_model=None),
        ],
    )
    left_behind(directory, ["in a journal"])
    return directory


def stored_rows(directory):
    return query.connect(directory).sql("FROM completions_rows ORDER BY ALL").fetchall()


def test_what_is_exported_is_imported_exactly(cache, tmp_path):
    exported = export(cache, tmp_path / "dataset")
    assert exported.completions == 15
    imported = import_dataset(tmp_path / "dataset", tmp_path / "back")
    assert (imported.added, imported.held) == (15, 0)
    assert stored_rows(tmp_path / "back") == stored_rows(cache)
    assert query.show(tmp_path / "back", "") == query.show(cache, "")
    assert import_dataset(tmp_path / "dataset", tmp_path / "back").added == 0
    assert import_dataset(tmp_path / "dataset", cache).added == 0


def test_hugging_face_opens_it(cache, tmp_path, monkeypatch):
    from datasets import load_dataset

    def forbidden(*_):
        raise AssertionError("a dataset on this machine needs no network")

    export(cache, tmp_path / "dataset", license="mit")
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    loaded = load_dataset(str(tmp_path / "dataset"), split="train", cache_dir=str(tmp_path / "downloads"))
    assert loaded.column_names == SCHEMA.names
    everything = query.connect(cache).sql("FROM completions_rows").to_arrow_table().to_pylist()
    in_order = lambda rows: sorted(rows, key=repr)
    assert in_order(list(loaded)) == in_order(everything)


def test_the_card_says_what_is_in_it(cache, tmp_path):
    coverage.note(cache, ("SimpleDoorKey", "small-model", "b07c91d2"), Coverage(0.9876, 12_345))
    export(cache, tmp_path / "dataset", license="cc-by-4.0")
    card = DatasetCard.load(tmp_path / "dataset" / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.size_categories == ["n<1K"]
    assert card.data.task_categories == ["text-generation", "reinforcement-learning"]
    assert "org/model: new | x" in card.data.tags
    rows = [line for line in card.text.splitlines() if line.startswith("| ") and "b07c91d2" in line]
    assert len(rows) == 2
    assert (
        "| SimpleDoorKey | small-model | b07c91d2 | 6 | 14 |" in rows[1]
        and "98.76% of 12,345 visits" in rows[1]
        and "%" not in rows[0]
    )
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == ["README.md", "coverage", "data"]


def test_a_dataset_written_again_by_others_is_imported(cache, tmp_path):
    export(cache, tmp_path / "dataset")
    [file] = (tmp_path / "dataset" / "data").iterdir()
    table = pq.read_table(file)
    table = table.take(random.Random(0).sample(range(len(table)), len(table)))
    table = table.cast(
        pa.schema(
            [field.with_type(pa.large_string()) if field.type == pa.string() else field for field in table.schema]
        )
    )
    (tmp_path / "theirs").mkdir()
    table = table.select(sorted(table.column_names))
    pq.write_table(table, tmp_path / "theirs" / "train-00000-of-00001.parquet")
    import_dataset(tmp_path / "theirs", tmp_path / "back")
    assert stored_rows(tmp_path / "back") == stored_rows(cache)


def test_what_is_no_dataset_of_a_cache_is_refused_and_adds_nothing(cache, tmp_path):
    before = stored_rows(cache)
    export(cache, tmp_path / "damaged")
    [file] = (tmp_path / "damaged" / "data").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    (tmp_path / "empty").mkdir()
    table = query.connect(cache).sql("FROM completions").to_arrow_table()
    lacking = table.drop_columns("content")
    without_sample = table.drop_columns("sample")
    mistyped = without_sample.append_column("sample", pa.array(["x"] * len(table)))
    nulls = lacking.append_column("content", pa.nulls(len(table), pa.string()))
    for name, wrong in (("lacking", lacking), ("mistyped", mistyped), ("nulls", nulls)):
        (tmp_path / name).mkdir()
        pq.write_table(wrong, tmp_path / name / "a.parquet")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.parquet").write_text("no Parquet")
    for name in ("damaged", "empty", "lacking", "mistyped", "nulls", "text", "absent"):
        with pytest.raises(AskonceError) as refusal:
            import_dataset(tmp_path / name, cache)
        assert str(tmp_path / name) in str(refusal.value) and "\n" not in str(refusal.value)
    assert stored_rows(cache) == before


def test_where_something_is_already_nothing_is_exported(cache, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for to in (tmp_path / "mine", tmp_path / "mine" / "notes.txt"):
        with pytest.raises(AskonceError, match="is there already"):
            export(cache, to)
    (tmp_path / "empty").mkdir()
    export(cache, tmp_path / "empty")
    store.create(tmp_path / "nothing")
    with pytest.raises(AskonceError, match="no answers to export"):
        export(tmp_path / "nothing", tmp_path / "to")
    with pytest.raises(AskonceError, match="no cache"):
        export(tmp_path / "absent", tmp_path / "to")
    assert not list(tmp_path.glob("to*"))
