"""Errors that the user can fix, and how other errors are reported to the user."""


class UserError(Exception):
    """Something the user can fix: a path, a config field, a corpus file.

    The message is one line: where (file, row or field), what was found, what was expected and how to fix it. The
    command line prints it without a traceback and exits with a non-zero status.
    """


class Unavailable(UserError):
    """Something external that is missing, such as pretrained weights; a run can continue without an optional member."""


def reason(error: BaseException) -> str:
    """Return the first line of the message with text, cut to 200 characters, or else the type of the error."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def refusal(error: OSError) -> str:
    """Return file and reason of an error of the operating system; of a failed renaming, the new name."""
    where = f"{error.filename2 or error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
