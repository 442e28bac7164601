"""The last decisions of a running adapter, asked over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path

from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.gateway.protocol import error_of
from ipa_seldon.telemetry.audit import Log, parse_log

TIMEOUT = 10.0


def fetch_log(url: str, pipeline: str) -> Log:
    """The log of a ``pipeline`` as the adapter at ``url`` tells it; ConfigError for a URL that is none, PlatformError
    where there is no answer, or a refusal.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--url: {url!r}: accepted: a URL such as http://adapter:8080")
    asked = f"{url.rstrip('/')}/api/decisions/{urllib.parse.quote(pipeline, safe='')}"
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:  # noqa: S310  # http or https
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            reason = error_of(error.read()) or error.reason
        raise PlatformError(f"{asked}: {error.code}: {reason}") from error
    except (OSError, ValueError, HTTPException) as error:
        raise PlatformError(f"{asked}: {getattr(error, 'reason', error)}") from error
    return parse_log(Path(asked.partition("://")[2]), text)
