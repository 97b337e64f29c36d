"""What the daemon does to processes, files and memory."""
