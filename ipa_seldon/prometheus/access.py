"""How a Prometheus is reached: by whose word, which certificates, and what secrets, which no text of ours holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from ipa_seldon.errors import ConfigError

YES, NO = ("1", "true", "yes"), ("", "0", "false", "no")


@dataclass(frozen=True)
class Access:
    """What a server is shown, and shows. ``ca_cert_path``: a file of certificates that its own is checked by (None: the
    usual ones); with ``insecure`` none is checked. ``token``, or ``user`` and ``password``, are for its door; those in
    a URL are for that URL alone, and go before.
    """

    ca_cert_path: str | None = None
    insecure: bool = False
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    def without_secrets(self, text: str, url: str) -> str:
        """``text`` with the secrets of this access and of ``url`` blotted out."""
        inside = _authority(url).rpartition("@")[0].partition(":")[2]
        for secret in filter(None, (self.token, self.password, inside, unquote(inside))):
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True)
class Stated:
    """What a pipeline file states of the Prometheus to ask."""

    url: str | None = None
    ca_cert_path: str | None = None
    tls_insecure_skip_verify: bool = False


def resolve(
    url: str | None, stated: Stated = Stated(), environment: Mapping[str, str] = os.environ
) -> tuple[str, Access] | None:
    """The URL and the access by the command line's ``url``, else the environment, else what a file has ``stated``;
    None where nobody names a Prometheus. ConfigError for an environment that cannot be used.

    PROMETHEUS_URL, PROMETHEUS_CA_CERT_PATH, PROMETHEUS_TLS_INSECURE_SKIP_VERIFY, PROMETHEUS_BEARER_TOKEN, or
    PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD. Secrets are in no file.
    """
    chosen = url or environment.get("PROMETHEUS_URL") or stated.url
    if not chosen:
        return None
    token = environment.get("PROMETHEUS_BEARER_TOKEN", "").strip()
    user, password = environment.get("PROMETHEUS_USERNAME", ""), environment.get("PROMETHEUS_PASSWORD", "")
    if token and user:
        raise ConfigError("PROMETHEUS_BEARER_TOKEN: accepted: a token or PROMETHEUS_USERNAME, not both")
    certificates = environment.get("PROMETHEUS_CA_CERT_PATH") or stated.ca_cert_path
    if certificates and not Path(certificates).is_file():
        raise ConfigError(f"PROMETHEUS_CA_CERT_PATH: {certificates!r}: accepted: a file of certificates (PEM)")
    return chosen, Access(certificates, _insecure(environment, stated), token, user, password)


def _insecure(environment: Mapping[str, str], stated: Stated) -> bool:
    key = "PROMETHEUS_TLS_INSECURE_SKIP_VERIFY"
    if key not in environment:
        return stated.tls_insecure_skip_verify
    value = environment[key].strip().lower()
    if value not in YES + NO:
        raise ConfigError(f"{key}: {environment[key]!r}: accepted: true, false")
    return value in YES


def has_password(url: str) -> bool:
    """Whether a URL carries a user or a password."""
    return "@" in _authority(url)


def _authority(url: str) -> str:
    """Of any text: what is no URL must be told too."""
    return url.partition("://")[2].partition("/")[0]
