"""Setting a machine up as a server, and taking that back: `certgrinderd.pyz install`."""
