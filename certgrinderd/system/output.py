"""Standard output: it carries the answer and nothing else, and this alone writes to it."""

from __future__ import annotations

import logging
import os
import sys

from certgrinderd.errors import OutputFailed

logger = logging.getLogger(__name__)


def write_answer(data: bytes, *, label: str = "the answer") -> None:
    """Write an answer, or the next part of one, and hand it on at once.

    Programs that use the class may have put a stream of text in the place of sys.stdout, such as
    io.StringIO: it gets UTF-8, and what is not UTF-8 (DER) as os.fsdecode() has it.

    Args:
        data: All bytes.
        label: What is lost if nobody gets them, for messages.

    Raises:
        OutputFailed: It can't be written.
        BrokenPipeError: Nobody reads it any more; the log has the label, if one was given.
    """
    try:
        if sys.stdout is None:
            raise OutputFailed(f"cannot write {label}: standard output is closed")
        sys.stdout.flush()  # what an embedding program has printed before
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:
            sys.stdout.write(data.decode("utf-8", "surrogateescape"))
        else:
            rest = memoryview(data)
            while rest:  # python -u writes no more than fits
                rest = rest[stream.write(rest) or 0 :]
        sys.stdout.flush()
    except BrokenPipeError:
        if label != "the answer":
            logger.error("cannot write %s: nobody reads standard output any more", label)  # noqa: TRY400 - for people, who get no traceback
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputFailed(f"cannot write {label} to standard output: {reason}") from error


def give_up() -> None:
    """Drop what could not be written: Python would try again, and complain, when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
