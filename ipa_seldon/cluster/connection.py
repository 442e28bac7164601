"""Which cluster is meant: KUBECONFIG's, or the one this process runs in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import yaml

from ipa_seldon.cluster.api import Call, Cluster
from ipa_seldon.errors import ConfigError

_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect(
    namespace: str | None = None,
    on_call: Callable[[Call], None] = lambda _: None,
    may_write: Callable[[], bool] = lambda: True,
    kubeconfig: Path | None = None,
) -> Cluster:
    """The cluster of ``kubeconfig``, by default that of KUBECONFIG (or ~/.kube/config), else the one this process runs
    in; the rest as of Cluster.

    ``namespace`` is by default the context's, or the pod's own. ConfigError when there is neither.
    """
    try:
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config.config_exception import ConfigException
    except ImportError as error:
        extra = "pip install 'ipa-seldon[kubernetes]'"
        raise ConfigError(f"no cluster: needs the package {error.name!r}: {extra}") from error

    chosen = Configuration()
    # One retry policy only, that of Cluster.
    chosen.retries = False
    named = str(kubeconfig or os.environ.get("KUBECONFIG", ""))
    path = named or str(Path.home() / ".kube" / "config")
    try:
        if named or Path(path).exists():
            config.load_kube_config(path, client_configuration=chosen)
            _, context = config.list_kube_config_contexts(path)
            found = context["context"].get("namespace")
        else:
            config.load_incluster_config(client_configuration=chosen)
            found = _ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip() if _ACCOUNT_NAMESPACE.exists() else None
    except (ConfigException, OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"no cluster: {' '.join(str(error).split())}; accepted: KUBECONFIG, {path}, or a pod with a service account"
        ) from error
    return Cluster(ApiClient(chosen), namespace or found or "default", on_call, may_write)
