"""Is a certificate revoked? OCSP responses and CRLs, fetched and verified."""
