"""The two ways vocablab stops: the user must change something, or a run did not pass."""


class UserError(Exception):
    """The user must change a file, field or flag. One sentence that names it; exit status 2, no traceback."""

    exit_status = 2


class RunError(Exception):
    """A run failed or a gate is red: nothing was published. One sentence; exit status 1, no traceback."""

    exit_status = 1
