"""The ways a stage may end without a result; everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """The user's input can't be used. The message says what was found, where, and what is allowed. Exit code 2."""

    exit_code = 2


class VerdictError(UserError):
    """The stage has done its work, and what it found is not what was asked for; its outs are whole. Exit code 2."""


class TryAgainError(Exception):
    """Nothing is wrong with the input, but not now (a lock is held, say). Exit code 75, EX_TEMPFAIL."""

    exit_code = 75


class LeavingError(KeyboardInterrupt):
    """The process was asked to leave (a signal, or DVC has died); the same command goes on. Exit code 75.

    It can come at any moment, as Ctrl-C does, and so is no `Exception`: what takes any exception for a damaged image
    or a server that does not answer must not take this one.
    """

    exit_code = TryAgainError.exit_code
