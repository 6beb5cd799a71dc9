"""The one kind of error that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend: a path, a config field, a corpus file.

    The message is one line that says what was found, where (file, row or field), what was expected and how to
    mend it. The launcher prints it without a traceback and exits with a non-zero status.
    """


class Unavailable(UserError):
    """Something from outside that cannot be had here and now; a run can go on without an optional member."""


def reason(error: BaseException) -> str:
    """What another's error says, as a part of one line: its first line that is not empty, or else its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def refusal(error: OSError) -> str:
    """Which file the system refused, and why; of a renaming, the file that it was to become."""
    where = f"{error.filename2 or error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
