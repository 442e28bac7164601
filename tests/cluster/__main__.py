"""``python -m tests.cluster``: a cluster with Seldon Core to try things on, until SIGINT or SIGTERM.

Prints one JSON line {"kubeconfig": ..., "services": URL} once it answers. Behind the URL are the pods' models,
/v2/models/STAGE...; the pods are processes of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.local import local_cluster

PARENT_POLL = 0.5


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser("python -m tests.cluster", description=__doc__)
    parser.add_argument("--repository", type=Path, required=True, help="The model repository that all pods serve.")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="Where to write how it is reached.")
    parser.add_argument("--directory", type=Path, help="For logs, which stay there.  [default: they do not]")
    parser.add_argument("--parent-pid", type=int, help="Stop when the process that started this one is gone.")
    options = parser.parse_args()
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    with ExitStack() as stack:
        directory = options.directory or Path(stack.enter_context(TemporaryDirectory(prefix="ipa-seldon-cluster-")))
        cluster = stack.enter_context(local_cluster(options.repository, options.kubeconfig, directory, _say))
        sys.stdout.write(json.dumps({"kubeconfig": str(cluster.kubeconfig), "services": cluster.router.url}) + "\n")
        sys.stdout.flush()
        while not told.wait(PARENT_POLL) and options.parent_pid in (None, os.getppid()):
            pass


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


if __name__ == "__main__":
    main()
