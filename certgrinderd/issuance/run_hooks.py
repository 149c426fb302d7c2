"""Running the hooks as certbot does: once per challenge before the CA looks, once afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certgrinderd.errors import HookFailed
from certgrinderd.issuance.hooks import Challenge, environment, hook_command
from certgrinderd.settings.table import Settings
from certgrinderd.system import process
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.parallel import defer_signals, each

logger = logging.getLogger(__name__)

# For all cleanup hooks together: whoever asked us to end is waiting.
CLEANUP_SECONDS = process.GRACE_SECONDS
# What a hook says goes into an environment variable, which Linux limits to 128 KiB.
_LONGEST_OUTPUT = 65536


@dataclass(frozen=True)
class Task:
    """One challenge to publish.

    Attributes:
        challenge: How the name is proved.
        domain: The name, without "*.", or the IP address.
        validation: What to publish (RFC 8555 sections 8.3 and 8.4).
        token: HTTP-01: the name of the file.
    """

    challenge: Challenge
    domain: str
    validation: str
    token: str


@contextlib.contextmanager
def published(tasks: Sequence[Task], settings: Settings, deadline: Deadline) -> Iterator[None]:
    """Publish challenges by the auth hook, and take them away in the end by the cleanup hook.

    When cleanup runs: docs/acme.md, "What the cleanup hook does".

    Args:
        tasks: In the order in which the hooks start, `hook-concurrency` at a time.
        settings: The hooks and their zone or web root.
        deadline: For the auth hooks; the cleanup hooks have CLEANUP_SECONDS.

    Raises:
        HookFailed: An auth hook failed.
        ConfigurationError: A hook can't be found.
    """
    auth = hook_command(settings.auth_hook, label="auth-hook")
    cleanup = hook_command(settings.cleanup_hook, label="cleanup-hook")
    started: dict[Task, dict[str, str]] = {}

    def publish(task: Task) -> None:
        variables = _variables(task, tasks, settings)
        started[task] = variables
        said = _run(auth, variables, task, label="auth-hook", deadline=deadline)
        started[task] = {**variables, "CERTBOT_AUTH_OUTPUT": said}

    try:
        each(publish, tasks, at_once=settings.hook_concurrency, deadline=deadline)
        yield
    finally:
        with defer_signals():
            _clean_up(cleanup, started, settings)


def _clean_up(
    command: Sequence[str], started: dict[Task, dict[str, str]], settings: Settings
) -> None:
    deadline = Deadline(CLEANUP_SECONDS, for_client=False)

    def take_away(task: Task) -> None:
        try:
            _run(command, started[task], task, label="cleanup-hook", deadline=deadline)
        except HookFailed as error:
            logger.warning("%s", error)

    each(take_away, list(started), at_once=settings.hook_concurrency, deadline=deadline)


def _variables(task: Task, tasks: Sequence[Task], settings: Settings) -> dict[str, str]:
    """What certbot's manual plugin sets (certbot._internal.plugins.manual)."""
    everybody = ",".join(each.domain for each in tasks)
    variables = {
        **environment(settings, task.challenge, os.environ),
        "CERTBOT_DOMAIN": task.domain,
        "CERTBOT_IDENTIFIER": task.domain,
        "CERTBOT_VALIDATION": task.validation,
        "CERTBOT_ALL_DOMAINS": everybody,
        "CERTBOT_ALL_IDENTIFIERS": everybody,
        "CERTBOT_REMAINING_CHALLENGES": str(len(tasks) - tasks.index(task) - 1),
    }
    if task.challenge is Challenge.HTTP_01:
        variables["CERTBOT_TOKEN"] = task.token
    return variables


def _run(
    command: Sequence[str],
    variables: dict[str, str],
    task: Task,
    *,
    label: str,
    deadline: Deadline,
) -> str:
    """Run a hook, log what it says on standard error, and return what it says on standard output.

    Raises:
        HookFailed: It failed or took too long.
    """
    output = bytearray()
    errors: list[str] = []

    def on_error_line(line: str) -> None:
        errors.append(line)
        logger.info("%s for %s: %s", label, task.domain, line)

    try:
        process.run(
            command,
            environment=variables,
            deadline=deadline,
            on_line=output,
            on_error_line=on_error_line,
            # As with certbot: the hook sees to the modes of what others must read.
            umask=0o022,
        )
    except process.ProgramFailed as error:
        # The label says which program it was.
        reason = str(error).removeprefix(f"{Path(command[0]).name} ")
        said = f": {errors[-1]}" if errors else ""
        raise HookFailed(f"the {label} for {task.domain} {reason}{said}") from error
    # An environment variable can't hold a NUL.
    return output[:_LONGEST_OUTPUT].decode("utf-8", "replace").replace("\0", "").strip()
