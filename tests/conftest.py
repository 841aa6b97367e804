import signal
import sys

import pytest

from askonce import cli
from tests.command import SECRET, Result, files_with_secret

# A suite that a script starts in the background is deaf to Ctrl-C, and so would be all processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """The entry point of the console script, called in this process."""

    def run(*arguments: object) -> Result:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["cli", *map(str, arguments)])
            patch.setattr(sys, "path", [*sys.path])
            patch.setenv("OPENAI_API_KEY", SECRET)
            patch.delenv("OPENAI_BASE_URL", raising=False)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                cli.main()
        return Result(ended.value.code or 0, *capsys.readouterr())

    yield run
    assert files_with_secret(tmp_path) == []
