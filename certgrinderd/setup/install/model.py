"""What is found on a host, what can be done about it, and a plan of that."""

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
    """Make the user that clients log in as."""

    def __str__(self) -> str:
        return f"make the user {layout.USER}, who has no password"


@dataclass(frozen=True)
class MakeFolder:
    """Make a folder."""

    folder: Folder

    def __str__(self) -> str:
        return f"make {self.folder}"


@dataclass(frozen=True)
class WriteFile:
    """Write a file, or put it in the place of an older one."""

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
    """Write down what is ours, before it is made."""

    receipt: Receipt = field(repr=False)

    def __str__(self) -> str:
        return f"note in {layout.RECEIPT} what is made"


@dataclass(frozen=True)
class Remove:
    """Remove a file."""

    path: str

    def __str__(self) -> str:
        return f"remove {self.path}"


@dataclass(frozen=True)
class RemoveFolder:
    """Remove a folder, which is empty by then unless it is a cache."""

    path: str
    with_contents: bool

    def __str__(self) -> str:
        return f"remove the folder {self.path}{' and all in it' if self.with_contents else ''}"


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
    """Steps in their order, and what is left as it is.

    Attributes:
        steps: What to do.
        left: Why, by path; in an install only what should be otherwise.
    """

    steps: tuple[Step, ...]
    left: Mapping[str, str]
