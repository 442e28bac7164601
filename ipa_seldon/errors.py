"""The error tree. An outcome that will happen (no data, infeasible, unchanged) is a value; a fault is one of these."""


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


class RefusedError(PlatformError):
    """The platform is well, and does not make this plan run now: the message says why. Nothing was changed."""
