import hashlib
import threading

from askonce.cache import query, store
from askonce.cache.compact import compact
from askonce.cache.coverage import Coverage, note, noted
from askonce.cache.dataset import export, import_dataset
from askonce.cache.merge import merge
from askonce.cache.verify import verify
from tests.cache.example import completion

WHO, OTHER = ("SimpleDoorKey", "small-model", "b07c91d2"), ("SimpleDoorKey", "other", "b07c91d2")


def test_the_last_build_has_the_last_word_for_its_teacher(tmp_path):
    store.append(tmp_path, [completion(), completion(model="other"), completion(model="third")])
    note(tmp_path, WHO, Coverage(1.0, 10))
    note(tmp_path, OTHER, Coverage(0.5, 10))
    note(tmp_path, WHO, Coverage(0.75, 2000))
    assert noted(tmp_path) == {WHO: Coverage(0.75, 2000), OTHER: Coverage(0.5, 10)}
    assert [entry.coverage for entry in query.stats(tmp_path).teachers] == [
        Coverage(0.5, 10),
        Coverage(0.75, 2000),
        None,
    ]
    compact(tmp_path)
    assert len(noted(tmp_path)) == 2 and verify(tmp_path).findings == ()


def test_a_union_has_the_greater_coverage_whichever_way_it_came(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for directory, share in ((one, 0.9), (two, 0.4)):
        store.append(directory, [completion()])
        note(directory, WHO, Coverage(share, 100))
    note(two, OTHER, Coverage(0.25, 7))
    export(two, tmp_path / "dataset")
    import_dataset(tmp_path / "dataset", tmp_path / "back")
    assert noted(tmp_path / "back") == noted(two)
    merge(one, two)
    merge(two, one)
    assert noted(one) == noted(two) == {WHO: Coverage(0.9, 100), OTHER: Coverage(0.25, 7)}


def test_builders_that_end_together_leave_one_sound_estimate(tmp_path):
    store.create(tmp_path)
    estimates = [Coverage(share / 10, share) for share in range(10)]
    threads = [threading.Thread(target=note, args=(tmp_path, WHO, estimate)) for estimate in estimates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert noted(tmp_path)[WHO] in estimates and verify(tmp_path).findings == ()


def test_what_a_dataset_says_that_is_no_coverage_is_passed_over(tmp_path):
    (tmp_path / "coverage").mkdir()
    for number, content in enumerate((b"{}", b"null", b'["a", "b", "c", "much", 1]', b"[1, 2]")):
        digest = hashlib.sha256(content).hexdigest().encode()
        (tmp_path / "coverage" / f"{number}.json").write_bytes(digest + b"\n" + content)
    assert noted(tmp_path) == {}
