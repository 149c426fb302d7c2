"""The authorized_keys file: its lines, who they let in, and what sshd makes of them."""
