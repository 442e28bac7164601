"""``python -m ipa_seldon``."""

from ipa_seldon.cli import main

# Processes that are spawned import this module again, under another name.
if __name__ == "__main__":
    main()
