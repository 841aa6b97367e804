"""The one exception meant for a person: a line that says what is wrong and what to do."""


class AskonceError(Exception):
    """Shown as one line, without a traceback; `exit_code` becomes the process's own."""

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code
