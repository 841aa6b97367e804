import signal

from hypothesis import HealthCheck, settings
import pytest

from tests.called import called
from tests.command import files_with_secret

# A suite that a script starts in the background is deaf to Ctrl-C, and so would be all processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


# The long search, by hand: --hypothesis-profile study.
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("study", max_examples=4000, **QUIET)
settings.register_profile("suite", **QUIET)
settings.load_profile("suite")


@pytest.fixture
def run(tmp_path):
    """`called`, which leaves the API key nowhere."""
    yield called
    assert files_with_secret(tmp_path) == []
