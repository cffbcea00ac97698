"""The kinds of failure that minloro reports in one line instead of a traceback."""


class UserError(ValueError):
    """Say what is wrong with an argument, a file or a server's settings, and what to do. Exit status 2."""

    def __init__(self, message: str):
        super().__init__(message.replace("\n", " "))  # one line, whatever arrays or spaces it shows


class SettingsError(UserError):
    """A UserError that other settings would avoid: a resumed run, which keeps its settings, ends in it again."""


class RunError(RuntimeError):
    """Say why a run that was set up correctly could not go on. Exit status 1; what was finished stays on disk."""
