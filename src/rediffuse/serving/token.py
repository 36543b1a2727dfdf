"""The token that clients show: from a file or the environment, never from the command line, which all users see."""

import os
from pathlib import Path

from rediffuse.errors import UserError

VARIABLE = "REDIFFUSE_TOKEN"
SHORTEST = 16
"""Characters; a shorter one can be tried out."""


def token_of(file: Path | None) -> str | None:
    """The token; None where none is given. It leaves the environment, so that no other process inherits it.

    Raises:
        UserError: the file can't be read, or the token is too short or none that a header can hold.
    """
    given = os.environ.pop(VARIABLE, None)
    where = VARIABLE
    if file is not None:
        where = f"--token-file: {file}"
        try:
            given = file.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"{where} can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UserError(f"{where} is no text") from None
    if given is None:
        return None
    token = given.strip()
    if len(token) < SHORTEST or not all("!" <= sign <= "~" for sign in token):
        # Not what it is: this line ends in logs.
        raise UserError(f"{where} holds no token; at least {SHORTEST} ASCII characters without spaces are one")
    return token
