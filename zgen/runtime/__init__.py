"""One process's runtime: the machine, its loop, its waits, and the entry point of a worker."""
