"""One run of the demo: serve the pipeline, replay the load against it, adapt it until the last answer."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ipa_seldon.bootstrap import build_algorithm, build_controller, first_plan
from ipa_seldon.config import Config
from ipa_seldon.demo.live import LiveView, Scene
from ipa_seldon.demo.loads import Load
from ipa_seldon.demo.serving import Serve
from ipa_seldon.driver import drive
from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.process import Order
from ipa_seldon.loadgen import RequestRecord
from ipa_seldon.loadgen.records import record_of
from ipa_seldon.plan import Decision
from ipa_seldon.runs.recorded import Replay, audit_path, records_path
from ipa_seldon.telemetry.audit import AuditLog
from ipa_seldon.telemetry.live import LiveTelemetry

ADAPTIVE = "adaptive"
LEAD = 5.0
"""Seconds between starting the load generator and its first request: it makes its requests in that time."""
REFRESH = 0.5


@dataclass(frozen=True)
class Run:
    """What is run: a pipeline, adapted by the ``algorithm`` of that name, that answers requests in ``order``."""

    name: str
    config: Config
    algorithm: str
    order: Order = "edf"


def replay(run: Run, load: Load, directory: Path, serve: Serve, telemetry: LiveTelemetry) -> Replay:
    """When a run under ``load`` was. Logs and records go to ``directory``; ``telemetry`` watches it."""
    name, config = run.name, run.config
    algorithm = build_algorithm(config, run.algorithm)
    records = RecordTail(records_path(directory, name))
    with (
        serve(config, first_plan(algorithm), run.order, directory / f"{name}-triton") as serving,
        AuditLog(audit_path(directory, name), config, run.algorithm) as audit,
        telemetry.watching(config, serving.gateway.violations, run.algorithm) as told,
    ):
        start = math.ceil(time.time()) + LEAD
        scene = Scene(name, config.pipeline.slo, config.pipeline.percentile, start, load.duration)
        with LiveView(scene) as view, _generator(serving.gateway.url, config, load, start, records.path) as generator:

            def show(decision: Decision) -> None:
                view.update(decision, records.fresh())

            def wait(seconds: float) -> bool:
                """Wait, with the plan under way taken on and the view kept fresh; True once the generator has ended."""
                until = time.monotonic() + seconds
                while generator.poll() is None and (left := until - time.monotonic()) > 0:
                    with suppress(subprocess.TimeoutExpired):
                        generator.wait(min(left, REFRESH))
                    serving.tend()
                    view.progress(time.time(), records.fresh())
                return generator.poll() is not None

            wait(max(start - time.time(), 0.0))
            drive(
                build_controller(config, serving.platform, algorithm, (audit, told, show)), config.spec.interval, wait
            )
            view.progress(time.time(), records.fresh())
            if generator.returncode:
                raise PlatformError(f"the load generator failed (exit code {generator.returncode})")
    return Replay(name, start, start + load.duration, load.bandwidth)


class RecordTail:
    """Reads the records that the load generator appends to a file, each once."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.path = path
        self._position = 0

    def fresh(self) -> Sequence[RequestRecord]:
        """Records that were completed since the last call."""
        if not self.path.exists():
            return ()
        with self.path.open(encoding="utf-8") as stream:
            stream.seek(self._position)
            text = stream.read()
        whole, newline, _ = text.rpartition("\n")
        if not newline:
            return ()
        self._position += len((whole + newline).encode())
        return [record_of(line) for line in whole.splitlines()]


@contextmanager
def _generator(url: str, config: Config, load: Load, start: float, records: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        *(sys.executable, "-m", "ipa_seldon", "load", "--url", url, "--slo", str(config.pipeline.slo)),
        *("--start-at", str(start), "--records", str(records), "--output", "json", *load.arguments),
    ]
    # A session of its own: Ctrl-C reaches this process alone, which then ends the generator in order.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
