"""What each algorithm would have done with a load that was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ipa_seldon.advice.replay import Case
from ipa_seldon.bootstrap import build_algorithm, build_forecaster
from ipa_seldon.config import Config, with_algorithm
from ipa_seldon.errors import ConfigError

BASELINES = (
    *("fa2-low", "fa2-high", "rim", "static", "hpa"),
    *("vpa", "vpa+", "model-switching"),
    *("fa2", "static-8", "static-16"),
)
"""Of ALGORITHMS, those that others are compared with."""


def cases(base: Case, algorithms: Sequence[str]) -> list[Case]:
    """``base`` with each of ``algorithms``; without any, with its own and the baselines that can plan its pipeline.

    ConfigError for an algorithm that cannot, and for the file's forecaster.
    """
    build_forecaster(base.config)
    names = algorithms or (base.config.spec.algorithm, *filter(lambda name: _applies(base.config, name), BASELINES))
    made = [replace(base, name=name, config=with_algorithm(base.config, name)) for name in dict.fromkeys(names)]
    for case in made:
        build_algorithm(case.config)
    return made


def _applies(config: Config, algorithm: str) -> bool:
    try:
        build_algorithm(with_algorithm(config, algorithm))
    except ConfigError:
        return False
    return True
