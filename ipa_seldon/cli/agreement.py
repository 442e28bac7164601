"""Advice against what ran: ``ipa-seldon report --agreement``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipa_seldon.cli.cases import headings, run_cases
from ipa_seldon.cli.tables import Section, show

if TYPE_CHECKING:
    from ipa_seldon.advice.agreement import Disagreement, Moment
    from ipa_seldon.advice.recording import Recording
    from ipa_seldon.cli.histories import Range
    from ipa_seldon.config import Config

MOST = 5
"""Disagreements that are shown."""
RAN, FOLLOWED = "what ran", "advice followed"


def of_log(log: Path, output: str) -> int:
    """Print how far the advice in an audit log agrees with what ran; exit code 1 where that cannot be simulated."""
    from ipa_seldon.advice.agreement import moments
    from ipa_seldon.advice.recording import of_decisions
    from ipa_seldon.config import with_algorithm
    from ipa_seldon.telemetry.audit import read_audit_log

    config, algorithm, decisions = read_audit_log(log)
    config = with_algorithm(config, algorithm)
    return _show(config, moments(decisions, config.spec.interval), of_decisions(decisions, str(log)), output)


def of_prometheus(path: Path, history: Range, output: str) -> int:
    """As ``of_log``, of what the adapter's metrics say in a range."""
    from ipa_seldon.config import read_config

    config = read_config(path)
    recording = history.recording(config)
    from ipa_seldon.advice.gauges import moments_in  # with packages whose lack has been told by now

    return _show(config, moments_in(history.gauges(config), history.span()), recording, output)


def _show(config: Config, found: Sequence[Moment], recording: Recording, output: str) -> int:
    from ipa_seldon.advice.agreement import agreement, as_json, disagreements, schedule
    from ipa_seldon.advice.replay import Case
    from ipa_seldon.bootstrap import build_algorithm

    agreed = agreement(found, config.pipeline)
    algorithm = build_algorithm(config)
    largest = disagreements(found, algorithm, MOST)
    running, changes = schedule(found)
    # What ran at first may be nothing that can be simulated; the advice is followed from a plan of its own then.
    known = algorithm.evaluate(running, 0.0) is not None
    cases = [
        Case(RAN, config, recording, running, changes),
        Case(FOLLOWED, config, recording, running if known else {}),
    ]
    outcomes = run_cases(cases, None)
    document = {
        "pipeline": config.name,
        "algorithm": config.spec.algorithm,
        **agreed,
        "simulated": outcomes.as_json(),
        "disagreements": [as_json(one) for one in largest],
    }
    title = f"Simulated: {recording.words()}"
    sections = [
        *_agreement_sections(config, agreed),
        Section(title, headings(""), outcomes.rows([RAN, FOLLOWED])),
        *_disagreement_sections(largest),
    ]
    show(document, sections, output)
    if outcomes.interrupted:
        raise KeyboardInterrupt
    return 1 if outcomes.failed else 0


def _agreement_sections(config: Config, agreed: Mapping[str, Any]) -> list[Section]:
    from ipa_seldon.advice.agreement import ASPECTS
    from ipa_seldon.words import figure, share

    rates = f"{share(agreed['agreed_ratio'])} of {agreed['moments']} moments"
    times = f"{share(agreed['agreed_time_ratio'])} of {figure(agreed['hours'])} h"
    bills = [[side, figure(agreed[key]["core_hours"]), figure(agreed[key]["accuracy"])] for side, key in SIDES]
    stages = [[stage, *(share(alike[aspect]) for aspect in ASPECTS)] for stage, alike in agreed["stages"].items()]
    return [
        Section(
            f"{config.name}: advice of {config.spec.algorithm} is what ran in {rates}, {times}",
            ("", "core hours", "accuracy"),
            bills,
            [f"{agreed['without_advice']} moments without advice are left out"] if agreed["without_advice"] else [],
        ),
        Section("Share of the time in which they are alike", ("stage", *ASPECTS), stages),
    ]


SIDES = (("what ran", "ran"), ("the advice", "advice"))


def _disagreement_sections(largest: Sequence[Disagreement]) -> list[Section]:
    from ipa_seldon.advice.agreement import difference_words
    from ipa_seldon.words import duration

    rows = [
        [
            f"{datetime.fromtimestamp(one.time, UTC):%m-%d %H:%M:%S}",
            duration(one.seconds),
            difference_words(one),
            one.why,
        ]
        for one in largest
    ]
    title = "Largest disagreements: what ran -> what was advised"
    return [Section(title, ("since", "for", "plans", "why"), rows, texts=4)] if rows else []
