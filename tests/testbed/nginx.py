"""nginx: serves a folder to whoever asks, as the web server behind HTTP-01."""

from __future__ import annotations

import grp
import http.client
import os
import pwd
import secrets
from collections.abc import Sequence
from pathlib import Path

from tests.testbed.server import Server, free_port

_CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/access.log combined;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    server {{
        listen 127.0.0.1:{port} default_server;
        root {webroot};
        default_type text/plain;
    }}
}}
"""


class Nginx(Server):
    """A web server for any host name, on 127.0.0.1.

    Started by root it serves as nobody, so that a file which only its owner may read is not served.

    Attributes:
        port: Where it listens.
        webroot: The folder it serves.
    """

    program_name = "nginx"

    def __init__(self, port: int | None = None) -> None:
        """Prepare a server on the given port, or on a free one."""
        super().__init__()
        self.port = port or free_port()
        self._sign_of_life = secrets.token_hex(8).encode("ascii")
        self.webroot: Path = self.directory / "webroot"

    def configure(self) -> None:
        """Write nginx.conf and an empty web root."""
        user = ""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = f"user nobody {grp.getgrgid(nobody.pw_gid).gr_name};"
        self.directory.chmod(0o755)
        self.webroot.mkdir()
        self.webroot.chmod(0o755)
        (self.webroot / "ready").write_bytes(self._sign_of_life)
        (self.webroot / "ready").chmod(0o644)
        text = _CONFIGURATION.format(
            user=user, directory=self.directory, port=self.port, webroot=self.webroot
        )
        (self.directory / "nginx.conf").write_text(text, encoding="utf-8")

    def command(self) -> Sequence[str]:
        """Run nginx in the foreground with nothing of the system's configuration."""
        folder = str(self.directory)
        return [self.program, "-p", folder, "-c", f"{folder}/nginx.conf", "-e", "stderr"]

    def is_ready(self) -> bool:
        """Whether this server, not another one on its port, serves a file of the web root."""
        try:
            return self.get("/ready") == (200, self._sign_of_life)
        except OSError:
            return False

    def get(self, path: str, host: str = "ready.example.test") -> tuple[int, bytes]:
        """Fetch a path under a host name: the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def requests(self) -> list[str]:
        """The access log, a line per request."""
        path = self.directory / "access.log"
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
