import pytest

from tests.command import SECRET
from tests.pipeline.asking import faulty_process


@pytest.fixture(scope="session")
def faulty_llm(tmp_path_factory):
    with faulty_process.started("faulty_server", tmp_path_factory.mktemp("faulty") / "requests.jsonl") as server:
        yield server


@pytest.fixture
def server(faulty_llm, monkeypatch):
    """An LLM without faults until `set` says otherwise; its API key is `SECRET`."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    faulty_llm.set()
    return faulty_llm
