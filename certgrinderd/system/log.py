"""One line per record, safe to show, on standard error and, when configured, to syslog."""

from __future__ import annotations

import logging
import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import Any

from certgrinderd.errors import ConfigurationError
from certgrinderd.settings.table import Settings
from certgrinderd.text import printable

# The mark of records that a client must not see at any level: command lines and paths.
FOR_ADMIN = {"for_admin": True}

# A client that does not read must not keep us waiting for ever: others wait for our locks, and for
# our challenges to be taken away.
_PATIENCE_SECONDS = 10.0

# A longer record does not fit into UDP, and would be lost as a whole.
_LONGEST_DATAGRAM = 60000

_LOGGER = logging.getLogger("certgrinderd")
_handlers: list[logging.Handler] = []


class _Formatter(logging.Formatter):
    """`YYYY-MM-DD HH:MM:SS +ZZZZ certgrinderd LEVEL message`, one line, printable characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Never with a traceback: it has lines, and paths of this host."""
        text = f"{record.levelname} {record.getMessage()}"
        return printable(f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S %z')} certgrinderd {text}")


class _SyslogFormatter(logging.Formatter):
    """`certgrinderd[PID]: LEVEL message`: syslog adds the time by itself."""

    def format(self, record: logging.LogRecord) -> str:
        """Also one printable line."""
        text = f"{record.levelname} {record.getMessage()}"
        data = printable(f"certgrinderd[{os.getpid()}]: {text}").encode()
        return data[:_LONGEST_DATAGRAM].decode(errors="ignore")


def _not_for_admin_only(record: logging.LogRecord) -> bool:
    return not getattr(record, "for_admin", False)


class _ToClient:
    """Standard error, as far as the client reads it; what it lets stand for too long is lost."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._left = _PATIENCE_SECONDS  # for all of a run, however it drips out

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        # So much never blocks where poll() says that one can write (pipe(7)).
        for start in range(0, len(data), select.PIPE_BUF):
            if not self._is_read():
                return
            os.write(self._descriptor, data[start : start + select.PIPE_BUF])

    def flush(self) -> None:
        """Nothing is held back."""

    def _is_read(self) -> bool:
        if self._left <= 0:
            return False
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        start = time.monotonic()
        found = poll.poll(self._left * 1000)
        self._left = self._left - (time.monotonic() - start) if found else 0.0
        return bool(found)


def _stream(*, client: bool) -> Any:  # noqa: ANN401 - what StreamHandler takes
    try:
        return _ToClient(sys.stderr.fileno()) if client else sys.stderr
    except (AttributeError, OSError, ValueError):
        return sys.stderr  # no real file: somebody calls us from Python


def configure(settings: Settings, *, client: bool = False, syslog_level: str | None = None) -> None:
    """Send this package's records to standard error, and to syslog if both its settings are given.

    Args:
        settings: For the least level that is shown, and syslog.
        client: Whether a client reads standard error.
        syslog_level: The least level for syslog, if it is another one: what a client wants to see
            does not decide what is kept about it.

    Raises:
        ConfigurationError: Only one of the two is given, or syslog can't be reached.
    """
    # The stream may be gone (the client hung up): that must not end the run.
    logging.raiseExceptions = False
    if hasattr(sys.stderr, "reconfigure"):
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    stream = logging.StreamHandler(_stream(client=client))
    stream.setLevel(settings.log_level)
    stream.setFormatter(_Formatter())
    if client:
        stream.addFilter(_not_for_admin_only)
    close()
    _add(stream)
    _LOGGER.setLevel(settings.log_level)
    _LOGGER.propagate = False
    where, facility = settings.syslog_socket, settings.syslog_facility
    if where is not None or facility is not None:
        if where is None or facility is None:
            missing = "syslog-facility" if facility is None else "syslog-socket"
            raise ConfigurationError(f"{missing} is not set: syslog needs that too")
        handler = _syslog_handler(where, facility)
        handler.setLevel(syslog_level or settings.log_level)
        _LOGGER.setLevel(min(handler.level, stream.level))
        _add(handler)


def is_configured() -> bool:
    """Whether records go anywhere yet."""
    return bool(_handlers)


def close() -> None:
    """Send records nowhere again."""
    while _handlers:
        handler = _handlers.pop()
        _LOGGER.removeHandler(handler)
        handler.close()


def _add(handler: logging.Handler) -> None:
    _handlers.append(handler)
    _LOGGER.addHandler(handler)


def _syslog_handler(socket: str, facility: str) -> logging.Handler:
    from logging.handlers import SysLogHandler

    number: Any = getattr(SysLogHandler, facility, None)
    if not isinstance(number, int):
        names = (f"LOG_{name.upper()}" for name in SysLogHandler.facility_names)
        raise ConfigurationError(
            f"syslog-facility: there is no {facility}; there are {', '.join(sorted(names))}"
        )
    address: str | tuple[str, int] = socket
    if not socket.startswith("/"):
        host, colon, port = socket.rpartition(":")
        if not colon or not host or not (port.isascii() and port.isdigit()):
            raise ConfigurationError(
                f"syslog-socket: expected the path of a socket or HOST:PORT, not {socket!r}"
            )
        address = (host.strip("[]"), int(port))
    try:
        # The handler itself, like openlog(3), says nothing when there is no socket.
        if isinstance(address, str) and not stat.S_ISSOCK(Path(address).stat().st_mode):
            raise ConfigurationError(f"syslog-socket: {address} is not a socket")
        handler = SysLogHandler(address, number)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"syslog-socket: cannot reach {socket}: {reason}") from error
    handler.append_nul = False
    handler.setFormatter(_SyslogFormatter())
    return handler
