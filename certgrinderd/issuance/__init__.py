"""From a permitted request to a certificate."""
