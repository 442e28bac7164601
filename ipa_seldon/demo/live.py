"""The demo while it runs: a live table on a terminal, one plain line per decision elsewhere; on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ipa_seldon.loadgen import ANSWERED, RequestOutcome, RequestRecord
from ipa_seldon.plan import Decision, Outcome, Plan, allocated_cores, plan_in_force
from ipa_seldon.runs.summary import latency_percentile
from ipa_seldon.telemetry.status import RECENT, present_load
from ipa_seldon.words import ABSENT, decision_words, duration, figure, share, stage_words

TROUBLE = (Outcome.DEGRADED, Outcome.FALLBACK, Outcome.FAILED)


@dataclass(frozen=True)
class Scene:
    """What the view is about: ``slo`` in seconds at ``percentile``, ``start`` in seconds since the epoch, ``duration``
    in seconds.
    """

    name: str
    slo: float
    percentile: float
    start: float
    duration: float


@dataclass(frozen=True)
class _Answered:
    """What one variant of a stage has answered since the start, and the lines of it."""

    requests: int = 0
    expected: int = 0
    matched: int = 0

    @property
    def accuracy(self) -> float | None:
        """Lines read exactly over lines shown."""
        return self.matched / self.expected if self.expected else None


_NOTHING = _Answered()


class LiveView:
    """``with LiveView(scene) as view: view.update(decision, records)``.

    Every record is handed over once: with the first call after it was answered.
    """

    def __init__(self, scene: Scene, console: Console | None = None) -> None:
        self._scene = scene
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._decision: Decision | None = None
        self._said = "waiting for the first decision"
        self._plan: Plan = {}
        self._now = scene.start
        self._recent: list[RequestRecord] = []
        self._requests = self._missed = self._expected = self._matched = 0
        self._answered: dict[tuple[str, str], _Answered] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self.render(), console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, decision: Decision, records: Sequence[RequestRecord] = ()) -> None:
        """Show a decision and the requests answered since the last call."""
        self._decision, self._said = decision, decision_words(decision)
        self._plan = plan_in_force(decision)
        self._count(decision.observation.time, records)
        if self._live is None:
            self._console.print(Text(self._line()), soft_wrap=True)

    def progress(self, now: float, records: Sequence[RequestRecord] = ()) -> None:
        """Between decisions: show the requests answered since the last call, at ``now`` (seconds since the epoch)."""
        self._count(now, records)

    def render(self) -> Panel:
        """The table as it stands."""
        return Panel(
            Group(self._figures(), self._stages(), Text.assemble(("last decision  ", "dim"), self._said)),
            title=Text(f"ipa-seldon demo · {self._scene.name}", "bold"),
            box=box.ROUNDED,
            border_style="red" if self._decision and self._decision.outcome in TROUBLE else "blue",
        )

    def _count(self, now: float, records: Sequence[RequestRecord]) -> None:
        self._now = now
        self._recent = [record for record in (*self._recent, *records) if record.done >= now - RECENT]
        answered = [record for record in records if record.outcome in ANSWERED]
        self._requests += len(records)
        self._missed += sum(record.outcome is not RequestOutcome.COMPLETED for record in records)
        self._expected += sum(record.expected for record in answered)
        self._matched += sum(record.matched for record in answered)
        for record in answered:
            for key in record.variants.items():
                before = self._answered.get(key, _NOTHING)
                self._answered[key] = _Answered(
                    before.requests + 1, before.expected + record.expected, before.matched + record.matched
                )
        if self._live is not None:
            self._live.update(self.render(), refresh=True)

    def _cells(self) -> dict[str, Text]:
        """Label -> value of the head line."""
        tail = latency_percentile(self._recent, self._scene.percentile)
        slow = tail is not None and tail > self._scene.slo
        violations = self._missed / self._requests if self._requests else 0.0
        return {
            "elapsed": Text(f"{max(self._now - self._scene.start, 0):.0f} / {self._scene.duration:.0f} s"),
            "load": Text(f"{figure(self._load())} rps"),
            "forecast": Text(f"{figure(self._decision.rate if self._decision else None)} rps"),
            f"p{self._scene.percentile:g}": Text(
                f"{duration(tail)} (SLO {duration(self._scene.slo)})", "bold red" if slow else ""
            ),
            "accuracy": Text(share(self._matched / self._expected if self._expected else None)),
            "cost": Text(f"{allocated_cores(self._plan)} cores"),
            "violations": Text(f"{self._missed} ({share(violations)})", "bold red" if self._missed else ""),
        }

    def _load(self) -> float | None:
        """At the last decision."""
        return present_load(self._decision.observation) if self._decision else None

    def _figures(self) -> Table:
        cells = self._cells()
        table = Table(box=None, expand=True, pad_edge=False)
        for label in cells:
            table.add_column(label, header_style="dim", no_wrap=True)
        table.add_row(*cells.values())
        return table

    def _stages(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
        table.add_column("stage", style="bold")
        table.add_column("variant")
        for label in ("share", "batch", "replicas", "cores", "answered", "accuracy"):
            table.add_column(label, justify="right")
        for stage, allocations in self._plan.items():
            for a in allocations:
                done = self._answered.get((stage, a.variant), _NOTHING)
                sizes = (a.batch, a.replicas, a.replicas * a.cores, done.requests)
                table.add_row(stage, a.variant, share(a.share), *map(str, sizes), share(done.accuracy))
        if not self._plan:
            table.add_row(*[ABSENT] * len(table.columns))
        return table

    def _line(self) -> str:
        cells = " · ".join(f"{label} {value.plain}" for label, value in self._cells().items())
        plan = "; ".join(f"{stage} {stage_words(allocations)}" for stage, allocations in self._plan.items())
        return f"{self._scene.name} · {cells} · {plan or ABSENT} · {self._said}"
