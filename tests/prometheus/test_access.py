"""Who says how a Prometheus is reached: the command line before the environment before the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.prometheus.access import Access, Stated, resolve

FILE = Stated("https://file:9090", tls_insecure_skip_verify=True)
HERE = {"PROMETHEUS_URL": "https://environment:9090"}


def test_the_command_line_goes_before_the_environment_before_the_file() -> None:
    """For the URL; without any there is no Prometheus."""
    assert resolve("http://flag", FILE, HERE) == ("http://flag", Access(insecure=True))
    assert resolve(None, FILE, HERE) == ("https://environment:9090", Access(insecure=True))
    assert resolve(None, FILE, {}) == ("https://file:9090", Access(insecure=True))
    assert resolve(None, Stated(), {"PROMETHEUS_URL": ""}) is None


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """For certificates, and whether they are checked; tokens and passwords are the environment's alone."""
    (tmp_path / "one.pem").touch()
    (tmp_path / "other.pem").touch()
    stated = Stated("https://file:9090", str(tmp_path / "one.pem"), tls_insecure_skip_verify=True)
    environment = {
        "PROMETHEUS_CA_CERT_PATH": str(tmp_path / "other.pem"),
        "PROMETHEUS_TLS_INSECURE_SKIP_VERIFY": "False",
        "PROMETHEUS_BEARER_TOKEN": "t0ken\n",
    }
    assert resolve(None, stated, environment) == (
        "https://file:9090",
        Access(str(tmp_path / "other.pem"), token="t0ken"),  # noqa: S106  # nobody's
    )
    assert resolve(None, stated, {}) == ("https://file:9090", Access(str(tmp_path / "one.pem"), insecure=True))
    found = resolve(None, stated, {"PROMETHEUS_USERNAME": "reader", "PROMETHEUS_PASSWORD": "word"})
    assert found is not None
    assert (found[1].user, found[1].password) == ("reader", "word")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PROMETHEUS_TLS_INSECURE_SKIP_VERIFY": "maybe"}, "SKIP_VERIFY: 'maybe': accepted: true, false"),
        ({"PROMETHEUS_CA_CERT_PATH": "/absent/ca.pem"}, "CA_CERT_PATH: '/absent/ca.pem': accepted: a file"),
        ({"PROMETHEUS_BEARER_TOKEN": "a", "PROMETHEUS_USERNAME": "b"}, "BEARER_TOKEN: accepted: a token or PROM"),
    ],
)
def test_an_environment_that_cannot_be_used(environment: dict[str, str], words: str) -> None:
    """One line with the variable, and no secret."""
    with pytest.raises(ConfigError, match=f"^PROMETHEUS_.*{words}"):
        resolve(None, FILE, environment)
