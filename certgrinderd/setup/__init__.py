"""What an admin runs to set a server up; no client request loads any of it."""
