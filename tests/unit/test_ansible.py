"""What the role of the server says about its variables is the same everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "ansible/roles/certgrinderd"


def read(path: str) -> Any:  # noqa: ANN401 - YAML
    """Read a YAML file of the role."""
    return yaml.safe_load((ROLE / path).read_text("utf-8"))


def options() -> dict[str, dict[str, Any]]:
    """The variables as the argument spec has them."""
    found: dict[str, dict[str, Any]] = read("meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return found


def test_spec_and_defaults_are_equal() -> None:
    """Each variable is in both, with one default."""
    assert read("defaults/main.yml") == {
        name: entry["default"] for name, entry in options().items()
    }


def test_readme_has_the_table_of_variables() -> None:
    """Made of the spec: if this fails, put these lines there."""
    lines = []
    for name, entry in options().items():
        text = entry["description"]
        text = " ".join((text if isinstance(text, str) else " ".join(text)).split())
        text = re.sub(r"[CI]\(([^)]*)\)", r"`\1`", text)
        default = entry["default"]
        shown = default if isinstance(default, str) and default else json.dumps(default)
        lines.append(f"| `{name}` | `{shown}` | {text} |")
    readme = (ROOT / "ansible/README.md").read_text("utf-8")
    assert [line for line in readme.splitlines() if line.startswith("| `certgrinderd_")] == lines


def test_modules_are_ansibles_own() -> None:
    """Nothing has to be fetched from Galaxy, and names are whole."""
    for path in (ROOT / "ansible").rglob("*.yml"):
        for name in re.findall(
            r"^ *(?:- )?([a-z_]+\.[a-z_.]+):(?: |$)", path.read_text("utf-8"), re.MULTILINE
        ):
            assert name.startswith("ansible.builtin."), f"{path}: {name}"


def test_systems_have_the_same_facts() -> None:
    """A path that one system has and another lacks would be an undefined variable there."""
    default, *others = (read(f"vars/os/{name}.yml") for name in ("default", "redhat", "freebsd"))
    for other in others:
        assert other.keys() == default.keys()
        assert other["__certgrinderd_packages"].keys() == default["__certgrinderd_packages"].keys()
        assert other["__certgrinderd_web"].keys() == default["__certgrinderd_web"].keys()


def test_clients_are_not_looped_over() -> None:
    """Two thousand of them would take most of a minute for one task, even a skipped one."""
    for path in (ROLE / "tasks").glob("*.yml"):
        for line in path.read_text("utf-8").splitlines():
            assert not re.search(r"\b(loop|with_\w+):.*certgrinderd_clients", line), path
