"""The web server snippets of docs/challenges.md, in nginx, Apache and Caddy as they are."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.testbed.server import MissingProgramError, Server, clean_environment, free_port

ROOT = Path(__file__).resolve().parents[2]
PATH = "/.well-known/acme-challenge/"
TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
VALIDATION = f"{TOKEN}.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"


def snippets(language: str) -> tuple[str, str]:
    """The two blocks in a language: the site that serves challenges, and the redirect to it."""
    text = (ROOT / "docs/challenges.md").read_text(encoding="utf-8")
    site, redirect = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return site, redirect


class SnippetServer(Server):
    """A web server with both snippets for it: certgrinderd's own site, and a client's redirect.

    Attributes:
        webroot: What the documentation calls /var/www/acme.
    """

    language: str

    def __init__(self) -> None:
        """Prepare a server on a free port."""
        super().__init__()
        self.port = free_port()
        self.webroot = self.directory / "webroot"

    def configure(self) -> None:
        """Write the configuration, with our port and folder."""
        self.directory.chmod(0o755)
        self.webroot.mkdir()
        self.webroot.chmod(0o755)
        site, redirect = snippets(self.language)
        text = self.around(self.on_port(site), redirect)
        self._configuration.write_text(
            text.replace("/var/www/acme", str(self.webroot)), encoding="utf-8"
        )

    @property
    def _configuration(self) -> Path:
        return self.directory / "configuration"

    def on_port(self, site: str) -> str:
        """The snippet of a whole site, on our port instead of 80."""
        raise NotImplementedError

    def around(self, site: str, redirect: str) -> str:
        """The whole configuration."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it answers at all."""
        try:
            self.get("certgrinder.example.org", "/")
        except OSError:
            return False
        return True

    def get(self, host: str, path: str) -> tuple[int, str, str]:
        """Fetch a path under a host name: the status, the body, and where it redirects to."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return response.status, response.read().decode(), response.getheader("Location", "")
        finally:
            connection.close()


class NginxSnippets(SnippetServer):
    """Also with the redirect to https that the text tells to keep apart."""

    program_name = "nginx"
    language = "nginx"

    def on_port(self, site: str) -> str:
        """Without IPv6, which this machine may not have."""
        here = site.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        return here.replace("listen [::]:80;", "")

    def around(self, site: str, redirect: str) -> str:
        """As Debian's nginx.conf does."""
        user = "user nobody nogroup;" if os.geteuid() == 0 else ""
        return (
            f"{user} daemon off; pid nginx.pid; error_log stderr;\n"
            f"events {{}}\nhttp {{ access_log off;\n{site}\n"
            f"server {{ listen 127.0.0.1:{self.port}; server_name example.com;\n{redirect}\n"
            "location / { return 301 https://$host$request_uri; } }\n}\n"
        )

    def command(self) -> Sequence[str]:
        """In the foreground."""
        folder = str(self.directory)
        return [self.program, "-p", folder, "-c", str(self._configuration), "-e", "stderr"]


class ApacheSnippets(SnippetServer):
    """With the modules that Debian enables."""

    program_name = "apache2"
    language = "apache"

    def on_port(self, site: str) -> str:
        """Both sites have to agree."""
        return site.replace("<VirtualHost *:80>", f"<VirtualHost *:{self.port}>")

    def around(self, site: str, redirect: str) -> str:
        """As Debian's apache2.conf does."""
        modules = "".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
            for name in ("mpm_event", "authz_core", "alias")
        )
        user = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
        folder = self.directory
        return (
            f"ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/pid\n"
            f"ErrorLog /dev/stderr\nServerName apache.test\nListen 127.0.0.1:{self.port}\n"
            f"{user}{modules}<Directory />\nRequire all denied\n</Directory>\n{site}\n"
            f"<VirtualHost *:{self.port}>\nServerName example.com\n{redirect}\n"
            "Redirect permanent / https://example.com/\n</VirtualHost>\n"
        )

    def command(self) -> Sequence[str]:
        """In the foreground."""
        return [self.program, "-DFOREGROUND", "-f", str(self._configuration)]


class CaddySnippets(SnippetServer):
    """With its usual defaults, but no door for its admin."""

    program_name = "caddy"
    language = "caddy"

    def on_port(self, site: str) -> str:
        """The port stands in the site's name."""
        return site.replace(
            "http://certgrinder.example.org {", f"http://certgrinder.example.org:{self.port} {{"
        )

    def around(self, site: str, redirect: str) -> str:
        """A Caddyfile."""
        return (
            "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n"
            f"{site}\nhttp://example.com:{self.port} {{\n{redirect}}}\n"
        )

    def command(self) -> Sequence[str]:
        """In the foreground."""
        return [
            *(self.program, "run", "--config", str(self._configuration)),
            *("--adapter", "caddyfile"),
        ]

    def environment(self) -> dict[str, str]:
        """It keeps its state in its home."""
        return {**clean_environment(), "HOME": str(self.directory)}


@pytest.fixture(
    params=[NginxSnippets, ApacheSnippets, CaddySnippets], ids=["nginx", "Apache", "Caddy"]
)
def server(request: pytest.FixtureRequest) -> Iterator[SnippetServer]:
    """Each web server with the snippets for it."""
    try:
        made: SnippetServer = request.param()
    except MissingProgramError as error:
        pytest.skip(str(error))
    with made:
        yield made


def hook(name: str, webroot: Path) -> None:
    """Run a shipped hook for an HTTP-01 challenge, with the umask that certgrinderd has."""
    variables = {
        "WEBROOT": str(webroot),
        "CERTBOT_DOMAIN": "example.com",
        "CERTBOT_TOKEN": TOKEN,
        "CERTBOT_VALIDATION": VALIDATION,
    }
    script = str(ROOT / "hooks" / name)
    subprocess.run(["sh", script], env=clean_environment(**variables), umask=0o077, check=True)


def test_snippets_serve_a_challenge(server: SnippetServer) -> None:
    """The CA is sent to certgrinderd's server, and finds the answer there as long as it is up."""
    status, _, location = server.get("example.com", PATH + TOKEN)
    assert (status, location) == (301, f"http://certgrinder.example.org{PATH}{TOKEN}")

    hook("manual-auth-hook.sh", server.webroot)
    assert server.get("certgrinder.example.org", PATH + TOKEN)[:2] == (200, VALIDATION)

    hook("manual-cleanup-hook.sh", server.webroot)
    assert server.get("certgrinder.example.org", PATH + TOKEN)[0] == 404


def test_snippets_serve_nothing_else(server: SnippetServer) -> None:
    """A file beside the challenges, and the list of them, stay where they are."""
    hook("manual-auth-hook.sh", server.webroot)
    (server.webroot / "other.txt").write_text("not for everybody", encoding="utf-8")
    for path in ("/other.txt", PATH):
        _, body, _ = server.get("certgrinder.example.org", path)
        assert "not for everybody" not in body
        assert TOKEN not in body
