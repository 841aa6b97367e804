"""The entry point of the console script, called in this process, which spares its start."""

from io import BytesIO, TextIOWrapper
import sys

import pytest

from askonce import cli
from tests.command import SECRET, Result


def called(*arguments: object) -> Result:
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cli", *map(str, arguments)])
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setenv("OPENAI_API_KEY", SECRET)
        patch.delenv("OPENAI_BASE_URL", raising=False)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return Result(ended.value.code or 0, *(stream.buffer.getvalue().decode() for stream in (out, err)))
