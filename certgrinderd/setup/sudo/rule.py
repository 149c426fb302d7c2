"""Rules for sudo that allow one command line each, word for word (sudoers(5), sudo 1.9.10 and up).

sudo joins the arguments with blanks before it matches them, and a `*` in a rule matches blanks too:
a rule with a glob allows any further option. So the arguments stand in a regular expression whose
only open parts are narrow classes of characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from certgrinderd.errors import ConfigurationError
from certgrinderd.settings import kinds
from certgrinderd.settings.table import PASSED_ON
from certgrinderd.setup.users import require_user

# sudo takes a rule with a longer expression without complaint, and never matches it.
LONGEST_EXPRESSION = 1024

# What stands in a command for a part that differs from run to run. No setting can hold these.
FOLDER = "\x01"
CHAIN = "\x02"

# A name of a chain, of words that can't be taken for options.
_CHAIN_PATTERN = f"{kinds.CHAIN.pattern}( [A-Za-z0-9(][A-Za-z0-9._()'-]*)*"
# The caller's PATH must not decide which programs run; not every system has a default for this.
_SECURE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_HEAD = """\
# For sudo 1.9.10 or later. Made by: certgrinderd show sudoers
# Put it into /etc/sudoers.d/{user}, mode 0440, after: visudo -cf FILE
# Make it again when the configuration or the place of a hook changes.
"""


@dataclass(frozen=True)
class SudoCommand:
    """A command line that begins with sudo, split.

    Attributes:
        run_as: The user that the program runs as.
        program: Its absolute path.
        arguments: What follows.
    """

    run_as: str
    program: str
    arguments: tuple[str, ...]


def parse_command(words: Sequence[str], *, label: str) -> SudoCommand:
    """Split a command line that begins with sudo.

    Args:
        words: The whole command line.
        label: The setting that it comes from, for messages.

    Raises:
        ConfigurationError: It is not run by sudo, or in a way that no rule can pin.
    """
    if not words or words[0].rpartition("/")[2] != "sudo":
        raise ConfigurationError(
            f"{label} does not run {words[0] if words else 'anything'} by sudo: no rule is needed"
        )
    rest = list(words[1:])
    run_as = "root"
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if option in ("-u", "--user") and rest:
            run_as = rest.pop(0)
        elif option.startswith("--user="):
            run_as = option.removeprefix("--user=")
        elif option not in ("-n", "--non-interactive", "-H", "--set-home"):
            raise ConfigurationError(
                f"{label}: only -n, -H and -u USER can be given to sudo, not {option}"
            )
    if not rest or not rest[0].startswith("/"):
        found = repr(rest[0]) if rest else "nothing"
        raise ConfigurationError(
            f"{label}: a rule for sudo needs the program's absolute path, not {found}"
        )
    return SudoCommand(require_user(run_as), rest[0], tuple(rest[1:]))


def expression(
    arguments: Sequence[str], *, optional: Sequence[str] = (), folder: str = "", label: str
) -> str:
    """Write a regular expression that matches one command line and nothing else.

    Args:
        arguments: The arguments; FOLDER and CHAIN stand for what differs.
        optional: Arguments that may follow, all or none of them.
        folder: What FOLDER stands for, a POSIX extended regular expression.
        label: What the command is, for messages.

    Raises:
        ConfigurationError: An argument can't be written in sudoers, or there are too many.
    """
    patterns = {FOLDER: folder, CHAIN: _CHAIN_PATTERN}
    text = _escaped(" ".join(arguments), patterns)
    if optional:
        text += f"({_escaped(''.join(f' {word}' for word in optional), patterns)})?"
    return _bounded(
        f"^{text}$",
        label=label,
        hint=": use shorter paths for hooks and temp-dir, or give Certbot its folders and the "
        "email address by /etc/letsencrypt/cli.ini",
    )


def _bounded(text: str, *, label: str, hint: str = "") -> str:
    if len(text) > LONGEST_EXPRESSION:
        raise ConfigurationError(
            f"the rule for {label} would have an expression of {len(text)} characters, and sudo "
            f"matches {LONGEST_EXPRESSION} at most{hint}"
        )
    return text


def acme_side_expression(arguments: Sequence[str], *, servers: Iterable[str]) -> str:
    """Write a regular expression for acme-client-command with the options that may follow.

    Args:
        arguments: What stands in the setting: "acme-client", "--config-file" and its path.
        servers: The URLs that --acme-server-url may name.

    Raises:
        ConfigurationError: The setting has other arguments, or they can't be written in sudoers.
    """
    if list(arguments[:2]) != ["acme-client", "--config-file"] or len(arguments) != 3:  # noqa: PLR2004
        raise ConfigurationError(
            "acme-client-command: a rule can be made for `PROGRAM acme-client --config-file FILE`, "
            f"not with the arguments {' '.join(arguments)!r}"
        )
    urls = "|".join(_literal(url) for url in servers)
    options = []
    for option in PASSED_ON:
        pattern = f"({urls})" if option.kind is kinds.URL else option.kind.pattern
        if option.is_switch:
            options.append(f" --{option.name}")
        elif pattern != "()":
            options.append(f" --{option.name} {pattern}")
    options.append(" --show-account")
    text = _literal(" ".join(arguments)) + "".join(f"({each})?" for each in options)
    return _bounded(f"^{text}$", label="acme-client-command")


def _escaped(text: str, patterns: Mapping[str, str]) -> str:
    parts = re.split(f"([{''.join(patterns)}])", text)
    return "".join(patterns[part] if part in patterns else _literal(part) for part in parts)


def _literal(text: str) -> str:
    # A # begins a comment even between ^ and $, and the others are read by two parsers in turn.
    found = re.search(r"[#\"\\]", text)
    if found or not (text.isprintable() or not text):
        raise ConfigurationError(
            f"a rule for sudo cannot hold the {found[0] if found else 'unprintable'} in "
            f"{text[-120:]!r}: use other names"
        )
    return re.sub(r"[.\[\]{}()*+?^$|]", r"\\\g<0>", text)


def render(
    user: str,
    rules: Iterable[tuple[SudoCommand, str]],
    variables: Mapping[str, str],
) -> str:
    """Write the file for /etc/sudoers.d.

    Args:
        user: Who runs sudo.
        rules: Programs, each with the expression for its arguments.
        variables: Environment variables that the program gets, and the one value of each.

    Raises:
        ConfigurationError: A value can't be written in sudoers.
    """
    kept = " ".join(f"{name}={_kept_value(name, value)}" for name, value in variables.items())
    # 0022: root's answer must be readable for us. !setenv: no other variables by `sudo NAME=value`.
    defaults = (
        "env_reset, !setenv, !requiretty, !umask_override, umask=0022",
        f'secure_path="{_SECURE_PATH}"',
        f'env_keep="{kept}"' if kept else "!env_keep",
    )
    lines = [f"Defaults:{user} {each}" for each in defaults]
    lines += [
        f"{user} ALL=({command.run_as}) NOPASSWD: {_program(command.program)} {pattern}"
        for command, pattern in rules
    ]
    return _HEAD.format(user=user.replace(".", "_")) + "\n".join(lines) + "\n"


def _kept_value(name: str, value: str) -> str:
    # In env_keep a value is a pattern in a quoted list: no blank, quote, backslash or star.
    if not re.fullmatch(r"[A-Za-z0-9._/:@%+,=-]+", value, re.ASCII):
        raise ConfigurationError(
            f"a rule for sudo cannot contain {value!r} for {name}: use a name of letters, "
            "digits and ._/:@%+,=-"
        )
    return value


def _program(path: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/+-]+", path, re.ASCII):
        raise ConfigurationError(
            f"a rule for sudo cannot hold {path!r}: use a path of letters, digits and ._/+-"
        )
    return path
