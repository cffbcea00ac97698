"""The kinds of failure that minloro reports in one line, without a traceback."""


class UserError(ValueError):
    """Say what is wrong with an argument, a file or a setting, and what to do. Exit status 2."""

    def __init__(self, message: str):
        super().__init__(message.replace("\n", " "))  # arrays and spaces may print several lines


class SettingsError(UserError):
    """A UserError that other settings would avoid.

    A resumed run keeps its settings, so resuming it would end in the same error.
    """


class RunError(RuntimeError):
    """Say why a run could not go on although it was set up correctly. Exit status 1.

    What was finished stays on disk.
    """
