"""The look at known vulnerabilities, with a server in the place of OSV."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from build.audit import LOCK, main, packages_in
from tests.testbed.misbehaving import Answer, MisbehavingServer

LOCKED = """\
# made by a command
idna==3.10 \\
    --hash=sha256:00
requests==2.0 ; python_version >= "3.10" \\
    --hash=sha256:00
"""
INSIDE = {
    "components": [
        {"purl": "pkg:pypi/idna@3.10"},
        {
            "purl": "pkg:pypi/cryptography@50.0.2",
            "components": [
                {"purl": "pkg:cargo/asn1@0.20.0"},
                {"purl": "pkg:generic/openssl@3"},
                {},
            ],
        },
    ]
}


def test_packages_of_a_lock_and_of_a_list(tmp_path: Path) -> None:
    """With their versions; libraries in C, which OSV does not know, are left out."""
    (tmp_path / "lock.txt").write_text(LOCKED)
    assert list(packages_in(tmp_path / "lock.txt")) == [
        "pkg:pypi/idna@3.10",
        "pkg:pypi/requests@2.0",
    ]
    (tmp_path / "list.json").write_text(json.dumps(INSIDE))
    assert list(packages_in(tmp_path / "list.json")) == [
        "pkg:pypi/idna@3.10",
        "pkg:pypi/cryptography@50.0.2",
        "pkg:cargo/asn1@0.20.0",
    ]
    (tmp_path / "else.txt").write_text("no lock\n")
    with pytest.raises(ValueError, match="no packages"):
        list(packages_in(tmp_path / "else.txt"))


def test_our_own_lock_is_understood() -> None:
    """Each requirement in it is asked about."""
    lines = [line for line in LOCK.read_text().splitlines() if "==" in line.split("#")[0]]
    assert len(list(packages_in(LOCK))) == len(lines) > 10


def test_known_vulnerability_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its package; without any, or without an answer, the exit status is another one."""
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCKED)
    with MisbehavingServer() as server:
        words = ["--url", server.url("/v1/querybatch"), str(lock)]

        def answer(results: object) -> None:
            server.put("/v1/querybatch", json.dumps({"results": results}).encode())

        answer([{}, {"vulns": [{"id": "PYSEC-2", "modified": ""}, {"id": "GHSA-1"}]}])
        assert main(words) == 1
        said = capsys.readouterr().out
        assert said == "pkg:pypi/requests@2.0 https://osv.dev/GHSA-1 https://osv.dev/PYSEC-2\n"
        asked = json.loads(server.requests[0].body)["queries"]
        purls = ["pkg:pypi/idna@3.10", "pkg:pypi/requests@2.0"]
        assert asked == [{"package": {"purl": purl}} for purl in purls]

        answer([{}, {}])
        assert main(words) == 0
        wrong: tuple[object, ...] = ([{}], {}, None)
        for results in wrong:
            answer(results)
            assert main(words) == 2
        server.answers["/v1/querybatch"] = Answer(b"busy", status=503)
        assert main(words) == 2
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("no data from") == 5
