import signal

import pytest

from tests.called import called
from tests.command import files_with_secret

# A suite that a script starts in the background is deaf to Ctrl-C, and so would be all processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def run(tmp_path):
    """`called`, which leaves the API key nowhere."""
    yield called
    assert files_with_secret(tmp_path) == []
