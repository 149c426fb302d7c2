"""A client's machine without Python: contrib/certgrinder.sh under a given shell."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from tests.testbed.server import clean_environment, find_program
from tests.testbed.sshd import Client

SCRIPT = Path(__file__).resolve().parents[2] / "contrib" / "certgrinder.sh"

Shell = Literal["dash", "busybox", "bash", "mksh"]
# Those in which everything is tried; the others are tried with less.
SHELLS: tuple[Shell, ...] = ("dash", "busybox")


@dataclass
class Machine:
    """One that keeps its files in a folder.

    Attributes:
        folder: Where they are.
        client: How it reaches the server.
        interpreter: The shell.
        path: Where programs are found.
        options: The first words of each run: of several values for ssh the first one counts.
        clock: By how many seconds its clock is ahead.
    """

    folder: Path
    client: Client
    interpreter: str
    path: str
    options: list[str] = field(default_factory=list)
    clock: int = 0

    def command(self, *words: str) -> list[str]:
        """The command line of a run."""
        *arguments, server = self.client.command()[1:-1]
        ssh_options = []
        for option, value in pairwise(arguments):
            name = {"-p": "Port=", "-i": "IdentityFile=", "-o": ""}.get(option)
            if name is not None:
                ssh_options += ["--ssh-option", name + value]
        place = ["--server", server, "--directory", str(self.folder), *ssh_options]
        return [self.interpreter, str(SCRIPT), *self.options, *place, *words]

    def environment(self) -> dict[str, str]:
        """The environment of a run."""
        return {**clean_environment(), "PATH": self.path}

    def run(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        return subprocess.run(
            [*at_clock(self.clock), *self.command(*words)],
            stdin=subprocess.DEVNULL,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def popen(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the script. It hears SIGHUP, which no shell can trap where nohup ignores it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [find_program("env"), "--default-signal=HUP", *self.command(*words)],
            stdin=subprocess.DEVNULL,
            env=self.environment(),
            stdout=pipe,
            stderr=pipe,
        )

    def files(self) -> dict[str, bytes]:
        """What lies in its folder, but for what it remembers of renewal information."""
        paths = (path for path in self.folder.rglob("*") if not path.is_dir())
        found = (path for path in paths if path.suffix != ".renewal")
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def write(self, name: str, content: bytes) -> Path:
        """Write a file there."""
        path = self.folder / name
        path.write_bytes(content)
        return path


def path_of(shell: Shell, folder: Path) -> tuple[str, str]:
    """The shell, and a PATH with what a machine with this shell has.

    Args:
        shell: busybox has its own programs, ssh and openssl; the others have the machine's.
        folder: An empty one.
    """
    if shell == "bash":
        # By this name it does what POSIX says.
        (folder / "sh").symlink_to(find_program("bash"))
        return str(folder / "sh"), clean_environment()["PATH"]
    if shell != "busybox":
        return find_program(shell), clean_environment()["PATH"]
    subprocess.run([find_program("busybox"), "--install", "-s", str(folder)], check=True)
    for name in ("ssh", "openssl"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(find_program(name))
    return str(folder / "sh"), str(folder)


def at_clock(seconds: int) -> list[str]:
    """What stands before a command that is to see the clock so many seconds ahead."""
    return [find_program("faketime"), "-f", f"+{seconds}"] if seconds else []


# What openssl(1) of LibreSSL (2.8 to 4.1) has, of the commands that the script uses.
_LIBRESSL = {
    "asn1parse": ("dlimit dump genconf genstr i in inform length noout offset oid out strparse"),
    "dgst": (
        "binary c d hex hmac keyform mac macopt out passin prverify r sha256 "
        "sha384 sha512 sign signature sigopt verify"
    ),
    "ecparam": (
        "C check conv_form genkey in inform list_curves name no_seed noout out "
        "outform param_enc text"
    ),
    "genpkey": "algorithm genparam out outform paramfile pass pkeyopt text",
    "pkey": "in inform noout out outform passin passout pubin pubout text text_pub",
    "req": (
        "asn1-kludge batch config days extensions in inform key keyform keyout "
        "modulus nameopt new newhdr newkey nodes noout out outform passin "
        "passout pkeyopt pubkey reqexts reqopt set_serial sha256 sigopt subj "
        "subject text utf8 verify x509"
    ),
    "verify": (
        "CAfile CApath CRLfile attime check_ss_sig crl_check crl_check_all "
        "explicit_policy extended_crl ignore_critical inhibit_any inhibit_map "
        "issuer_checks legacy_verify policy_check purpose trusted untrusted "
        "use_deltas verbose verify_depth x509_strict"
    ),
    "x509": (
        "C CA CAcreateserial CAform CAkey CAkeyform CAserial addreject addtrust "
        "alias certopt checkend clrext clrreject clrtrust dates days email "
        "enddate extensions extfile fingerprint hash in inform issuer "
        "issuer_hash keyform modulus nameopt next_serial noout ocsp_uri ocspid "
        "out outform passin pubkey purpose req serial set_serial setalias "
        "sha256 signkey sigopt startdate subject subject_hash text trustout x509toreq"
    ),
}
_STAND_IN = """\
#!/bin/sh
command=$1
case $command in
{cases}
    *) echo "openssl:Error: '$command' is an invalid command." >&2; exit 1 ;;
esac
for word; do
    case $word in
        -*) case " $known " in
            *" ${{word#-}} "*) ;;
            *) echo "unknown option '$word'" >&2; echo "usage: $command ..." >&2; exit 1 ;;
        esac ;;
    esac
done
exec {openssl} "$@"
"""


def stand_in_for_libressl(folder: Path) -> Path:
    """A folder for PATH with an openssl that refuses what LibreSSL's does not know.

    It is no LibreSSL: what both know is done by OpenSSL.
    """
    folder.mkdir()
    cases = "\n".join(f"    {name}) known='{known}' ;;" for name, known in _LIBRESSL.items())
    program = folder / "openssl"
    openssl = shlex.quote(find_program("openssl"))
    program.write_text(_STAND_IN.format(cases=cases, openssl=openssl), encoding="ascii")
    program.chmod(0o755)
    return folder
