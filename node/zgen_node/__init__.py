"""The node daemon: a process of its own on each machine, started by `python -m zgen_node`."""
