"""``python -m ipa_seldon``."""

from ipa_seldon.cli import main

main()
