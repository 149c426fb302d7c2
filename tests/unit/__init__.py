"""Fast tests without servers: what each module promises by itself."""
