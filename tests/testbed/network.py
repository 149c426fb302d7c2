"""A network of throw-away hosts, each with an address and an sshd of its own, as servers have."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.testbed.host import Host
from tests.testbed.server import (
    MissingProgramError,
    Server,
    ServerError,
    clean_environment,
    find_program,
    wait_until,
)

_NETWORKS = range(1, 250)


class Network(Server):
    """A switch in a network namespace of its own, and one cable from there to this machine.

    The cable ends at `gateway`: servers of the test bed that are to be reached from the hosts
    listen there. All of it goes when the switch's process goes, also after a kill -9.

    Attributes:
        gateway: This machine's address in the network.
    """

    program_name = "unshare"

    def __init__(self) -> None:
        """Find the programs.

        Raises:
            MissingProgramError: One is not installed, or this is not Linux with root's rights.
        """
        self._ip = find_program("ip")
        super().__init__()
        probe = subprocess.run(
            [self.program, "--net", self._ip, "link", "add", "probe", "type", "bridge"],
            capture_output=True,
            check=False,
        )
        if os.geteuid() != 0 or probe.returncode:
            self.__exit__()
            raise MissingProgramError("a network of hosts needs root, and Linux namespaces")
        self._hosts = itertools.count(2)
        self._number = 0

    def configure(self) -> None:
        """There is nothing to configure."""

    def command(self) -> Sequence[str]:
        """Hold the namespace with the switch in it."""
        ip = self._ip
        script = (
            f"{ip} link add switch type bridge && {ip} link set switch up && exec sleep infinity"
        )
        return [self.program, "--net", "/bin/sh", "-c", script]

    def is_ready(self) -> bool:
        """Whether the switch is there."""
        return self._run_at_switch("link", "show", "switch").returncode == 0

    def start(self) -> None:
        """Start the switch, and lay the cable to this machine."""
        super().start()
        try:
            self._number = self._lay_cable()
            self._plug_in("uplink")
        except BaseException:
            self.stop()
            raise

    def _lay_cable(self) -> int:
        # A name of an interface is there once: who has it, has the network of that number.
        for number in _NETWORKS:
            words = f"link add testbed{number} type veth peer name uplink netns {self.pid}"
            if self._run_ip(*words.split()).returncode == 0:
                self._check_ip(*f"addr add 10.213.{number}.1/24 dev testbed{number}".split())
                self._check_ip("link", "set", f"testbed{number}", "up")
                return number
        raise ServerError("no free network among 10.213.1.0/24 to 10.213.249.0/24")

    @property
    def gateway(self) -> str:
        """This machine's address."""
        return f"10.213.{self._number}.1"

    @property
    def pid(self) -> int:
        """The process that holds the namespace."""
        assert self._process is not None
        return self._process.pid

    def new_address(self) -> str:
        """An address for one more host."""
        return f"10.213.{self._number}.{next(self._hosts)}"

    def connect(self, pid: int, address: str) -> None:
        """Give the network namespace of a process an interface eth0 with this address."""
        port = "port" + address.rpartition(".")[2]
        # A host that was stopped leaves its own for a moment.
        self._run_at_switch("link", "del", port)
        veth = f"link add {port} netns {self.pid} type veth peer name eth0 netns {pid}"
        self._check_ip(*veth.split())
        self._plug_in(port)
        enter = ["nsenter", f"--target={pid}", "--net", self._ip]
        # The others remember whose address it is: a host that is started again must be the same.
        mac = ":".join(f"{int(number):02x}" for number in ("2", "0", *address.split(".")))
        for words in (
            f"link set eth0 address {mac}",
            f"addr add {address}/24 dev eth0",
            "link set lo up",
            "link set eth0 up",
            f"route add default via {self.gateway}",
        ):
            subprocess.run([*enter, *words.split()], capture_output=True, check=True)

    def _plug_in(self, port: str) -> None:
        self._run_at_switch("link", "set", port, "master", "switch", "up").check_returncode()

    def _run_at_switch(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        enter = ["nsenter", f"--target={self.pid}", "--net"]
        return subprocess.run([*enter, self._ip, *words], capture_output=True, check=False)

    def _run_ip(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([self._ip, *words], capture_output=True, check=False)

    def _check_ip(self, *words: str) -> None:
        done = self._run_ip(*words)
        if done.returncode:
            raise ServerError(f"ip {' '.join(words)}: {done.stderr.decode()}")


class NetworkedHost(Host):
    """An empty Debian server: it has root's key and an sshd with the distribution's settings.

    It reaches the hosts of its network and this machine by their addresses; there is no name
    server, and no systemd running.

    Attributes:
        address: Its address.
        key_file: A private key that root may log in with.
        known_hosts: A file with its host key.
    """

    namespaces = (*Host.namespaces, "net")
    # /sbin/init leads to systemd, which is not running: Ansible would believe the link. What root
    # of this machine has in its home, such as a .bashrc, is not a server's.
    prepare = """
rm -f etc/ssh/ssh_host_* sbin/init
cp usr/share/openssh/sshd_config etc/ssh/sshd_config
mount -t tmpfs -o mode=700 tmpfs root
"""
    boot = "ssh-keygen -qA && service ssh start"

    def __init__(self, network: Network, name: str = "server") -> None:
        """Prepare a host with the next free address.

        Raises:
            MissingProgramError: See Host, or there is no sshd.
        """
        find_program("sshd")
        super().__init__()
        self.name = name
        self.address = network.new_address()
        self.key_file: Path = self.directory / "key"
        self.known_hosts: Path = self.directory / "known_hosts"
        self._network = network

    def configure(self) -> None:
        """Make root's key."""
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root", "-f"]
        command.append(str(self.key_file))
        subprocess.run(command, env=clean_environment(), capture_output=True, check=True)

    def start(self) -> None:
        """Start it, connect it to its network, and wait for its sshd."""
        super().start()
        try:
            self._network.connect(int(self._init()), self.address)
            self.check(["install", "-d", "-m", "0700", "/root/.ssh"])
            public_key = self.key_file.with_suffix(".pub").read_text(encoding="ascii")
            self.write("/root/.ssh/authorized_keys", public_key, mode=0o600)
            self.write(
                "/etc/hosts",
                f"127.0.0.1 localhost\n::1 localhost\n{self.address} {self.name}\n",
            )
            host_key = self.check(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).strip()
            self.known_hosts.write_text(f"{self.address} {host_key}\n", encoding="ascii")
            wait_until(
                lambda: self.ssh(["true"]).returncode == 0, timeout=20, what="sshd lets root in"
            )
        except BaseException:
            self.stop()
            raise

    def ssh(
        self,
        words: Sequence[str] = (),
        *,
        user: str = "root",
        key_file: Path | None = None,
        stdin: bytes = b"",
        options: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[bytes]:
        """Log in from this machine and run something, as a client does.

        Args:
            words: What ssh sends, joined by blanks.
            user: Who logs in.
            key_file: By which private key; root's own if it is None.
            stdin: What the program reads.
            options: More of ssh_config(5).
            timeout: In seconds; after it subprocess.TimeoutExpired.
        """
        return subprocess.run(
            self.ssh_command(words, user=user, key_file=key_file, options=options),
            input=stdin,
            env=clean_environment(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def ssh_command(
        self,
        words: Sequence[str] = (),
        *,
        user: str = "root",
        key_file: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> list[str]:
        """The whole command line of `ssh`."""
        settings = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": os.devnull,
            "ConnectTimeout": "10",
            "LogLevel": "ERROR",
            **(options or {}),
        }
        return [
            *("ssh", "-F", "none", "-T", "-i", str(key_file or self.key_file)),
            *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
            *(f"{user}@{self.address}", "--", *words),
        ]

    def inventory(self) -> dict[str, str]:
        """What Ansible needs to know of it, by the names of its variables."""
        arguments = f"-F none -o UserKnownHostsFile={self.known_hosts} -o IdentitiesOnly=yes"
        return {
            "ansible_host": self.address,
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.key_file),
            "ansible_ssh_common_args": arguments,
        }
