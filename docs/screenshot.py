"""Write docs/live.png: the live page of a demo that has run for a while. Needs a Chromium; `make screenshot`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

PICTURE = Path(__file__).resolve().with_name("live.png")
SIZE = "1080,1000"
ROUNDS = 38
"""Of the loop before the picture is taken."""
POLL = 1.0


def main() -> int:
    """Exit code 1 where there is no Chromium, or the demo ends too early."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("make screenshot needs chromium, chromium-browser or google-chrome", file=sys.stderr)  # noqa: T201
        return 1
    with TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "ipa_seldon", "demo", "--directory", directory]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as demo:
            assert demo.stderr is not None  # noqa: S101  # stderr=PIPE
            try:
                url = next((line.split()[-1] for line in demo.stderr if line.startswith("live page: ")), "")
                while demo.poll() is None and not _has_run(url):
                    time.sleep(POLL)
                if demo.poll() is None:
                    _take(chromium, url, directory)
                    return 0
                print(f"the demo ended too early: {demo.stderr.read()}", file=sys.stderr)  # noqa: T201
                return 1
            finally:
                demo.send_signal(signal.SIGINT)
                demo.communicate()


def _has_run(url: str) -> bool:
    found: dict[str, Any] = json.load(urlopen(f"{url}api/status"))  # noqa: S310  # a server of this machine
    for one in found["pipelines"]:
        last = json.load(urlopen(f"{url}api/status/{one['name']}"))["decisions"]  # noqa: S310
        return bool(last) and last[0]["tick"] >= ROUNDS
    return False


def _take(chromium: str, url: str, directory: str) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000"]
    where = [f"--user-data-dir={directory}/chromium", f"--window-size={SIZE}", f"--screenshot={PICTURE}"]
    subprocess.run([chromium, *flags, *where, url], check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    sys.exit(main())
