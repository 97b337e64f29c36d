"""Everything that acts: sockets, threads, signals, pickles, processes."""
