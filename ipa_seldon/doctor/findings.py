"""What checks find, also when they fail themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ipa_seldon.cluster.api import ApiError
from ipa_seldon.errors import IpaSeldonError

GRANT = "kubectl apply -k manifests/adapter/base"
"""What gives an adapter its permissions."""
_REMEDIES = {
    0: "see that the API server can be reached from here: kubectl get --raw /readyz",
    401: "renew the credentials that KUBECONFIG names",
    403: f"give the account that this runs as the permissions of the adapter: {GRANT}",
}
"""By the code of an ApiError."""
_SERVER_REMEDY = "see what the API server says of itself: kubectl get --raw '/readyz?verbose'"


class Status(StrEnum):
    """``WARN``: an adapter works, but not as well as it could, or not now."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What ``check`` found, in one line, and what to do about it; without a remedy there is nothing to be done."""

    check: str
    status: Status
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, message)


def warn(check: str, message: str, remedy: str) -> Finding:
    """See Status."""
    return Finding(check, Status.WARN, message, remedy)


def fail(check: str, message: str, remedy: str) -> Finding:
    """An adapter does not work, or not for this pipeline."""
    return Finding(check, Status.FAIL, message, remedy)


def attempt(check: str, look: Callable[[], Finding]) -> Finding:
    """What ``look`` finds; its failure is a finding too, so that no check stops another."""
    try:
        return look()
    except Exception as error:  # also a fault of ours: the other checks are still worth having
        return failed(check, error)


def failed(check: str, error: Exception) -> Finding:
    """The finding of a check that ended in an error."""
    words = " ".join(str(error).split())
    if isinstance(error, ApiError):
        return fail(check, words, _REMEDIES.get(error.code, _SERVER_REMEDY))
    if isinstance(error, IpaSeldonError):
        return fail(check, words, "correct what it names, and run this again")
    if isinstance(error, ImportError):
        return fail(check, f"needs the package {error.name!r}", f"pip install {error.name}")
    return fail(check, f"the check broke off: {type(error).__name__}: {words}", "report this line as a fault")
