"""RFC 8555: the ACME account, the session with the CA, orders, and the choice of a chain."""
