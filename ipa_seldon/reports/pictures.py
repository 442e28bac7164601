"""Charts as pictures, drawn by an installed Chromium or Chrome."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipa_seldon.errors import ConfigError, PlatformError

SCALE = 2
"""Pixels of a picture for each of the page's: text is twice as large."""


def write_pictures(folder: Path, specs: Mapping[str, Mapping[str, Any]], width: int, height: int) -> list[Path]:
    """Write plotly's specifications into ``folder``, by file name, as PNGs of so many of the page's pixels; the paths.

    Raises ConfigError where ``folder`` cannot be written, PlatformError where there is no browser.
    """
    import kaleido
    from choreographer.errors import BrowserFailedError, ChromeNotFoundError

    options = {"format": "png", "width": width, "height": height, "scale": SCALE}
    drawn = [{"fig": spec, "path": folder / name, "opts": options} for name, spec in specs.items()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # MathJax would come from the network.
        kaleido.write_fig_from_object_sync(drawn, cancel_on_error=True, kopts={"mathjax": False})
    except (ChromeNotFoundError, BrowserFailedError) as error:
        raise PlatformError(
            "pictures need Chromium or Chrome: apt-get install chromium, or its path in BROWSER_PATH"
        ) from error
    except TimeoutError as error:
        raise PlatformError(f"{folder}: the browser takes too long to draw a picture") from error
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from error
    return [folder / name for name in specs]
