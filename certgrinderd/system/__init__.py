"""What the operating system gives: files, processes, locks and logs."""
