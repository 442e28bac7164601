"""A Triton stage as a MODEL of a Seldon graph whose ``protocol`` is ``seldon``: docs/guides/bridge.md.

It runs in Seldon Core's Python wrapper, in the environment of requirements-seldon.lock, whose pins exclude those of
other extras: nothing else of this package is imported here.
"""
