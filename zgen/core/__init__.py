"""State machines without I/O: what a driver or worker decides, and nothing of how it acts."""
