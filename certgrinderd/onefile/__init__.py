"""What belongs to certgrinderd.pyz alone: how it is unpacked, kept and described."""
