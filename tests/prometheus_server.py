"""A real Prometheus of a test's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest
import yaml

from tests.waiting import wait_for

STOP_TIMEOUT = 10


class PrometheusServer:
    """Scrapes ``targets`` (``host:port``, at /metrics), which get ``labels``, every ``scrape_interval`` seconds; a
    context manager.

    Its files are in ``directory``; what is in ``directory/data`` when it starts, as written by ``backfill``, it has
    measured before. The test is skipped where Prometheus is not installed, and fails there in CI.
    """

    def __init__(
        self, targets: list[str], scrape_interval: float, directory: Path, labels: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._log = directory / "prometheus.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        interval = f"{1000 * scrape_interval:.0f}ms"
        job = {"job_name": "executors", "static_configs": [{"targets": targets, "labels": dict(labels or {})}]}
        settings = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": [job]}
        directory.mkdir(parents=True, exist_ok=True)
        self._data.mkdir(exist_ok=True)
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(settings))

    def backfill(self, openmetrics: str) -> None:
        """Samples with timestamps, before the start; not of the last three hours, where the server writes its own."""
        samples = self._directory / "samples.txt"
        samples.write_text(openmetrics)
        command = [binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(samples), str(self._data)]
        subprocess.run(command, check=True, capture_output=True)

    def __enter__(self) -> Self:
        command = [
            *(binary("prometheus"), f"--config.file={self._directory / 'prometheus.yaml'}"),
            # It takes a free port itself, and tells which in its log.
            *(f"--storage.tsdb.path={self._data}", "--web.listen-address=127.0.0.1:0"),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(self._ready, 30)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and wait for its end."""
        assert self._process is not None
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        self._process.kill()
        self._process.wait()

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        found = re.search(r'"Listening on" address=(\S+)', self._log.read_text())
        if found is None:
            return False
        self.url = f"http://{found[1]}"
        with suppress(OSError), closing(HTTPConnection(urlsplit(self.url).netloc, timeout=1)) as connection:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 200
        return False


def binary(name: str) -> str:
    """The path of an installed program; the test is skipped without it, and fails there in CI."""
    found = shutil.which(name)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"{name} is not installed: apt-get install prometheus")
    return found
