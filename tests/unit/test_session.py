"""Who is at the other end, as sshd tells it."""

from __future__ import annotations

import re
from pathlib import Path

from certgrinderd.system import session

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIOegnR+qnK2FEoaSrVwHgCIxjFkVEbW4VO31/Hd2mAwk"


def test_queue_is_the_clients_alone(tmp_path: Path) -> None:
    """One for each key, wherever the client comes from; without a key, one for each address."""
    auth = tmp_path / "auth"
    auth.write_text(f"publickey ssh-ed25519 {KEY}\n", "ascii")
    here, there = ({"SSH_CONNECTION": f"192.0.2.{number} 5 192.0.2.9 22"} for number in (1, 2))
    known = {"SSH_USER_AUTH": str(auth)}
    names = [
        session.queue_of(variables)
        for variables in (here, there, {**here, **known}, {**there, **known}, known)
    ]
    assert all(re.fullmatch("[0-9a-f]{16}", str(name)) for name in names)
    assert len(set(names)) == 3
    assert names[2] == names[3] == names[4]
    assert session.queue_of({}) is None
    assert session.queue_of({**here, "SSH_USER_AUTH": "/nonexistent"}) == names[0]
