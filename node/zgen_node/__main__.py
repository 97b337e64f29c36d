"""Entry."""

import sys

from zgen_node.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
