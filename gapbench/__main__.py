"""``python -m gapbench``."""

from gapbench.cli import main

if __name__ == "__main__":
    main()
