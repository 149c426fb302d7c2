"""What the roles say about their variables is the same everywhere."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from certgrinderd.settings.table import OPTIONS
from certgrinderd.setup.install import layout

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("certgrinderd", "certgrinder")
of_each_role = pytest.mark.parametrize("role", ROLES)


def read(role: str, path: str) -> Any:  # noqa: ANN401 - YAML
    """Read a YAML file of a role."""
    return yaml.safe_load((ROOT / "ansible/roles" / role / path).read_text("utf-8"))


def options(role: str) -> dict[str, dict[str, Any]]:
    """The variables as the argument spec has them."""
    specs = read(role, "meta/argument_specs.yml")["argument_specs"]
    found: dict[str, dict[str, Any]] = specs["main"]["options"]
    return found


@of_each_role
def test_spec_and_defaults_are_equal(role: str) -> None:
    """Each variable is in both, with one default."""
    assert read(role, "defaults/main.yml") == {
        name: entry["default"] for name, entry in options(role).items()
    }


@of_each_role
def test_readme_has_the_table_of_variables(role: str) -> None:
    """Made of the spec: if this fails, put these lines there."""
    lines = []
    for name, entry in options(role).items():
        text = entry["description"]
        text = " ".join((text if isinstance(text, str) else " ".join(text)).split())
        text = re.sub(r"[CI]\(([^)]*)\)", r"`\1`", text)
        default = entry["default"]
        shown = default if isinstance(default, str) and default else json.dumps(default)
        lines.append(f"| `{name}` | `{shown}` | {text} |")
    readme = (ROOT / "ansible/README.md").read_text("utf-8")
    assert [line for line in readme.splitlines() if line.startswith(f"| `{role}_")] == lines


def test_modules_are_ansibles_own() -> None:
    """Nothing has to be fetched from Galaxy, and names are whole."""
    for path in (ROOT / "ansible").rglob("*.yml"):
        for name in re.findall(
            r"^ *(?:- )?([a-z_]+\.[a-z_.]+):(?: |$)", path.read_text("utf-8"), re.MULTILINE
        ):
            assert name.startswith("ansible.builtin."), f"{path}: {name}"


@of_each_role
def test_systems_have_the_same_facts(role: str) -> None:
    """A path that one system has and another lacks would be an undefined variable there."""
    systems = ("default", "redhat", "freebsd")
    default, *others = (read(role, f"vars/os/{name}.yml") for name in systems)
    for other in others:
        assert other.keys() == default.keys()
        for name in (f"__{role}_packages", f"__{role}_web"):
            assert other.get(name, {}).keys() == default.get(name, {}).keys()


def test_role_and_program_agree_about_places_and_users() -> None:
    """What `install` makes and what the role makes has the same paths, shell and password."""
    facts, system = (
        read("certgrinderd", "vars/main.yml"),
        read("certgrinderd", "vars/os/default.yml"),
    )
    assert facts["__certgrinderd_program"] == layout.PROGRAM
    assert facts["__certgrinderd_folder"] == layout.ETC
    assert facts["__certgrinderd_home"] == layout.HOME
    assert facts["__certgrinderd_cache"] == layout.CACHE
    assert system["__certgrinderd_sudoers"] == layout.SUDOERS
    drop_ins = f"{system['__certgrinderd_sshd_config']}.d"
    assert f"{drop_ins}/{facts['__certgrinderd_sshd_file']}" == layout.SSHD
    assert f"{drop_ins}/{facts['__certgrinderd_sshd_file_former']}" == layout.FORMER_SSHD
    keys = facts["__certgrinderd_keys"].replace("{{ __certgrinderd_folder }}", layout.ETC)
    assert keys == layout.AUTHORIZED_KEYS
    assert read("certgrinderd", "defaults/main.yml")["certgrinderd_user"] == layout.USER
    user = read("certgrinderd", "tasks/users.yml")[0]["ansible.builtin.user"]
    option = dict(itertools.pairwise(layout.USERADD))
    assert (user["shell"], user["password"]) == (option["--shell"], option["--password"])
    assert (user["system"], user["create_home"]) == (
        "--system" in layout.USERADD,
        "--no-create-home" not in layout.USERADD,
    )


def test_options_of_the_acme_side_are_known() -> None:
    """The role tells them to one side only: each is an option, and none that a client may set."""
    names = read("certgrinderd", "vars/main.yml")["__certgrinderd_acme_options"]
    assert sorted(set(names)) == names
    for name in names:
        option = next(option for option in OPTIONS.values() if option.name == name)
        assert option.in_file
        assert not option.client_may_set


@pytest.mark.parametrize("page", ["docs/ssh.md", "docs/install.md"])
def test_documentation_makes_the_same_user(page: str) -> None:
    """The command that `install` runs, for those who do it by hand."""
    text = (ROOT / page).read_text("utf-8").replace("\\\n        ", "")
    assert shlex.join(layout.USERADD) in text


def test_clients_are_not_looped_over() -> None:
    """Two thousand of them would take most of a minute for one task, even a skipped one."""
    for path in (ROOT / "ansible/roles/certgrinderd/tasks").glob("*.yml"):
        for line in path.read_text("utf-8").splitlines():
            assert not re.search(r"\b(loop|with_\w+):.*certgrinderd_clients", line), path


def test_root_goes_through_no_folder_of_others_by_names() -> None:
    """As the file module does: its user could put a link in the place of what it has looked at."""
    for path in (ROOT / "ansible").rglob("*.yml"):
        assert "recurse: true\n" not in re.sub(
            r"builtin\.find:\n(?: {8,}.*\n)+", "", path.read_text("utf-8")
        ), path


def test_name_of_a_client_does_not_end_our_keys() -> None:
    """Its comment may read like the last line; the keys after it are ours all the same."""
    facts = read("certgrinderd", "vars/main.yml")
    mark = facts["__certgrinderd_mark"]
    marked = facts["__certgrinderd_marked"].replace("{{ __certgrinderd_mark }}", mark)
    keys = f"restrict ssh-x AAAA # END {mark}\nrestrict ssh-x BBBB b\n"
    ours = f"# BEGIN {mark}\n{keys}# END {mark}\n"
    others = f"ssh-x CCCC # BEGIN {mark}\n"
    assert re.sub(marked, "", f"{others}{ours}") == others


def test_root_writes_nothing_into_the_folder_of_the_account() -> None:
    """Its user could have put a link there: it writes itself."""
    text = (ROOT / "ansible/account.yml").read_text("utf-8")
    tasks = [task for play in yaml.safe_load(text) for task in play["tasks"]]
    modules = {name for task in tasks for name in task if name.startswith("ansible.builtin.")}
    only = {f"ansible.builtin.{name}" for name in ("find", "command", "assert", "slurp")}
    assert modules == only
    for task in tasks:
        if "ansible.builtin.command" in task:
            assert task["ansible.builtin.command"]["argv"].startswith("{{ as_runner + ")


def test_tasks_are_delegated_to_known_hosts() -> None:
    """To the controller or hosts of the inventory: a host's facts may have named another one."""
    for path in (ROOT / "ansible").rglob("*.yml"):
        for text in re.split(r"^ *- name: ", path.read_text("utf-8"), flags=re.MULTILINE):
            found = re.search(r"^ *delegate_to: (.*)$", text, re.MULTILINE)
            if found and found[1] != "localhost":
                assert found[1] == '"{{ item }}"', path
                assert re.search(r"^ *loop: .*\| intersect\(groups\['all'\]\)", text, re.MULTILINE)
