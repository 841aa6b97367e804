"""The exceptions meant for a person: a line that says what is wrong and what to do."""

from collections.abc import Sequence


class AskonceError(Exception):
    """Shown as one line, without a traceback; `exit_code` becomes the process's own."""

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


class Unfinished(AskonceError):
    """Part of the work is done and stored; `missing` lists the rest."""

    def __init__(self, message: str, missing: Sequence[str]):
        super().__init__(message, exit_code=3)
        self.missing = tuple(missing)
