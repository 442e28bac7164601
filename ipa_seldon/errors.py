"""The error tree. An outcome that will happen (no data, infeasible, unchanged) is a value; a fault is one of these."""

from enum import StrEnum


class IpaSeldonError(Exception):
    """Root of every error this project raises on purpose."""


class ConfigError(IpaSeldonError):
    """What the operator wrote cannot be used; the message names file, key, value and what is accepted."""


class PluginError(ConfigError):
    """A name in a plug-in table, or a ``module:attribute``, that cannot be loaded."""


class SolverError(IpaSeldonError):
    """A solver failed for a reason other than infeasibility (a refused licence, a numerical breakdown)."""


class PlatformError(IpaSeldonError):
    """The platform could not be observed or did not follow a plan."""


class LoadReason(StrEnum):
    """What is the matter with a load. The first two leave it known; with any other it is not."""

    GAP = "gap"
    COUNTER_RESET = "counter_reset"
    EMPTY = "empty"
    NAN = "nan"
    STALE = "stale"
    DUPLICATE = "duplicate"
    CLIENT_ERROR = "client_error"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT = "timeout"
    INVALID_ANSWER = "invalid_answer"
    UNKNOWN = "unknown"

    @property
    def is_missing(self) -> bool:
        """Whether nobody knows the load."""
        return self not in (LoadReason.GAP, LoadReason.COUNTER_RESET)


class LoadError(PlatformError):
    """The load could not be asked for; ``reason`` is the kind of fault, the message its words."""

    def __init__(self, message: str, reason: LoadReason = LoadReason.UNKNOWN) -> None:
        super().__init__(message)
        self.reason = reason


class RefusedError(PlatformError):
    """The platform is well, and does not make this plan run now: the message says why. Nothing was changed."""


class RecommendedError(RefusedError):
    """The platform only recommends: the message has the plan, which was told where that is wanted, and nothing else."""
