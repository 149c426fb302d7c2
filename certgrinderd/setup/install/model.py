"""Plain values: what was found on a host, the steps of an installation, and a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from certgrinderd.setup.install import layout
from certgrinderd.setup.install.layout import File, Folder
from certgrinderd.setup.install.receipt import Receipt


@dataclass(frozen=True)
class Found:
    """What is at a path.

    Attributes:
        kind: "file", "folder", or what else it is: "symbolic link".
        owner: The user's name, or number if it has none.
        mode: The permissions.
        sha256: Of a file; None if it can't be read.
        is_program: Whether it is certgrinderd.pyz, in whatever version.
        entries: The names in a folder; None if it can't be read.
    """

    kind: str
    owner: str = "root"
    mode: int = 0o755
    sha256: str | None = None
    is_program: bool = False
    entries: tuple[str, ...] | None = ()

    def __str__(self) -> str:
        return f"{self.owner}, {self.mode:04o}"


@dataclass(frozen=True)
class Host:
    """What was found on a host.

    Attributes:
        found: By path; nothing is there where nothing stands.
        has_user: Whether the user is there.
        is_prepared: Whether this build is unpacked for all users.
    """

    found: Mapping[str, Found]
    has_user: bool = False
    is_prepared: bool = False


@dataclass(frozen=True)
class MakeUser:
    """Create the user that clients log in as."""

    def __str__(self) -> str:
        return f"create the user {layout.USER}, without a password"


@dataclass(frozen=True)
class MakeFolder:
    """Create a folder."""

    folder: Folder

    def __str__(self) -> str:
        return f"create {self.folder}"


@dataclass(frozen=True)
class WriteFile:
    """Write a file, or replace an older one."""

    file: File
    replaces: bool

    def __str__(self) -> str:
        return f"{'replace' if self.replaces else 'write'} {self.file}"


@dataclass(frozen=True)
class PrepareCache:
    """Unpack the program for all users."""

    def __str__(self) -> str:
        return f"unpack this program for all users in {layout.CACHE}"


@dataclass(frozen=True)
class WriteReceipt:
    """Record what install creates, before it is created."""

    receipt: Receipt = field(repr=False)

    def __str__(self) -> str:
        return f"record in {layout.RECEIPT} what is created"


@dataclass(frozen=True)
class Remove:
    """Remove a file."""

    path: str

    def __str__(self) -> str:
        return f"remove {self.path}"


@dataclass(frozen=True)
class RemoveFolder:
    """Remove a folder: an empty one, or a cache with its contents."""

    path: str
    with_contents: bool

    def __str__(self) -> str:
        return f"remove the folder {self.path}{' and its contents' if self.with_contents else ''}"


@dataclass(frozen=True)
class RemoveUser:
    """Remove the user."""

    name: str

    def __str__(self) -> str:
        return f"remove the user {self.name}"


Step = (
    MakeUser
    | MakeFolder
    | WriteFile
    | PrepareCache
    | WriteReceipt
    | Remove
    | RemoveFolder
    | RemoveUser
)


@dataclass(frozen=True)
class Plan:
    """Steps in their order, and what is kept as it is.

    Attributes:
        steps: What to do.
        left: What is kept, by path, and why; for an install only what differs from the plan.
    """

    steps: tuple[Step, ...]
    left: Mapping[str, str]
