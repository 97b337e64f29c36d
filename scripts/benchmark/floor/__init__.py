"""The least any runtime must do for a row, as a bare ZeroMQ program."""
