"""The door to the API server: what it repeats, how it fails, and how it follows one object."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipa_seldon.cluster.api import CONFIG_MAPS, DEFINITIONS, PODS, SCALED_OBJECTS, ApiError, Call
from ipa_seldon.cluster.connection import connect
from ipa_seldon.cluster.watched import WatchedDocument
from ipa_seldon.errors import ConfigError
from tests.cluster.emulator import Emulator
from tests.cluster.world import door
from tests.waiting import wait_for


def config_map(text: str = "1") -> dict[str, object]:
    """A ConfigMap ``x``."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": text}}


def test_absent_objects_and_kinds_are_values(kubeconfig: Path) -> None:
    """None for an object, an empty list for a kind that the cluster does not know."""
    cluster = door(kubeconfig)
    assert cluster.get(CONFIG_MAPS, "x") is None
    assert cluster.list(SCALED_OBJECTS) == []


def test_what_belongs_to_no_namespace(kubeconfig: Path) -> None:
    """The server's version, definitions, and whether a kind is known."""
    cluster = door(kubeconfig, "models")
    assert cluster.version()["major"] == "1"
    found = cluster.get(DEFINITIONS, "seldondeployments.machinelearning.seldon.io")
    assert found is not None
    assert "namespace" not in found["metadata"]
    assert cluster.serves(PODS)
    assert not cluster.serves(SCALED_OBJECTS)


@pytest.mark.parametrize("fault", [{"code": 429}, {"code": 500}, {"code": 503}, {"cut": True}])
def test_what_passes_is_repeated(emulator: Emulator, kubeconfig: Path, fault: dict[str, object]) -> None:
    """Three failures in a row are ridden out, for reads and writes; a fifth is an error of one line that names the
    call.
    """
    cluster = door(kubeconfig)
    emulator.fail(3, **fault)  # type: ignore[arg-type]
    cluster.create(CONFIG_MAPS, config_map())
    emulator.fail(3, **fault)  # type: ignore[arg-type]
    assert cluster.get(CONFIG_MAPS, "x") is not None
    emulator.fail(5, **fault)  # type: ignore[arg-type]
    with pytest.raises(ApiError, match=r"^patch configmaps/x: ") as raised:
        cluster.patch(CONFIG_MAPS, "x", {"data": {"a": "2"}})
    assert "\n" not in str(raised.value)
    assert raised.value.code == fault.get("code", 0)


def test_retry_after_is_kept_but_not_for_ever(emulator: Emulator, kubeconfig: Path) -> None:
    """A server that asks for a second gets it; one that asks for an hour gets some seconds."""
    cluster = door(kubeconfig)
    for asked, least, most in ((1.0, 1.0, 4.0), (3600.0, 0.0, 8.0)):
        emulator.fail(1, code=429, retry_after=asked)
        begin = time.monotonic()
        cluster.list(PODS)
        assert least <= time.monotonic() - begin < most


@pytest.mark.parametrize("code", [400, 403, 409, 422])
def test_a_refusal_is_not_repeated(emulator: Emulator, kubeconfig: Path, code: int) -> None:
    """One call, and the server's own words."""
    cluster = door(kubeconfig)
    emulator.fail(1, code=code)
    with pytest.raises(ApiError, match=f"create configmaps: {code}: struck by a fault of the test"):
        cluster.create(CONFIG_MAPS, config_map())
    assert len(emulator.calls) == 1


def test_a_slow_answer_is_given_up(emulator: Emulator, kubeconfig: Path) -> None:
    """A server that hangs does not hang the loop."""
    cluster = door(kubeconfig, timeout=(0.2, 0.2))
    emulator.fail(9, delay=1.0)
    begin = time.monotonic()
    with pytest.raises(ApiError, match=r"no answer from http://127.0.0.1"):
        cluster.list(PODS)
    assert time.monotonic() - begin < 8


def test_every_call_is_told(emulator: Emulator, kubeconfig: Path) -> None:
    """In the words of RBAC, with the code; the emulator heard the same."""
    told: list[Call] = []
    cluster = door(kubeconfig, on_call=told.append)
    cluster.create(CONFIG_MAPS, config_map())
    cluster.get(CONFIG_MAPS, "y")
    cluster.list(PODS, {"app": "x"})
    list(cluster.watch(CONFIG_MAPS, "x", "1", 1))
    assert [(c.verb, c.resource, c.code) for c in told] == [(c.verb, c.resource, c.code) for c in emulator.calls]
    assert told[1] == Call("get", "", "configmaps", 404)


def test_connect_reads_kubeconfig(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context's namespace, or the one given; without any cluster one line that says what would do."""
    monkeypatch.setenv("KUBECONFIG", str(emulator.kubeconfig(tmp_path / "k", "models")))
    assert connect().namespace == "models"
    assert connect("other").namespace == "other"
    assert connect().list(PODS) == []
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match=r"no cluster: .*accepted: KUBECONFIG, .*absent, or a pod"):
        connect()
    (tmp_path / "broken").write_text("{")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "broken"))
    with pytest.raises(ConfigError, match="no cluster: ") as raised:
        connect()
    assert "\n" not in str(raised.value)


@contextmanager
def watched(kubeconfig: Path, said: list[str]) -> Iterator[WatchedDocument]:
    """A document under the key ``a`` of ConfigMap ``x``, being watched."""
    document = WatchedDocument(door(kubeconfig), "x", "a", said.append)
    stopping = threading.Event()
    thread = threading.Thread(target=document.run, args=(stopping, 0.05), daemon=True)
    thread.start()
    try:
        yield document
    finally:
        stopping.set()


def test_a_watched_document_follows(emulator: Emulator, kubeconfig: Path) -> None:
    """Created later, changed, deleted, created again: each is seen at once, on one open watch and few calls."""
    cluster, said = door(kubeconfig), []  # type: ignore[var-annotated]
    with watched(kubeconfig, said) as document:
        wait_for(lambda: any(call.verb == "get" for call in emulator.calls), 10)
        assert document.text is None
        cluster.create(CONFIG_MAPS, config_map("1"))
        wait_for(lambda: document.text == "1", 10)
        for text in ("2", "3"):
            cluster.patch(CONFIG_MAPS, "x", {"data": {"a": text}})
            wait_for(lambda text=text: document.text == text, 10)  # type: ignore[misc]
        assert sum(call.verb == "get" for call in emulator.calls) <= 2
        emulator.cut_watches()
    assert said == []


def test_a_watch_survives_what_watches_suffer(emulator: Emulator, kubeconfig: Path) -> None:
    """A cut stream, a history that is gone (410) while it was cut, refusals and outages: the newest text is there in
    the end, and what stood in the way was said once.
    """
    cluster, said = door(kubeconfig), []  # type: ignore[var-annotated]
    cluster.create(CONFIG_MAPS, config_map("1"))
    with watched(kubeconfig, said) as document:
        wait_for(lambda: document.text == "1", 10)
        emulator.cut_watches()
        cluster.patch(CONFIG_MAPS, "x", {"data": {"a": "2"}})
        wait_for(lambda: document.text == "2", 10)
        emulator.fail(2, verb="watch", code=410)
        emulator.cut_watches()
        cluster.patch(CONFIG_MAPS, "x", {"data": {"a": "3"}})
        emulator.forget_history()
        wait_for(lambda: document.text == "3", 10)
        assert said == []
        emulator.fail(3, verb="watch", code=403)
        emulator.cut_watches()
        cluster.patch(CONFIG_MAPS, "x", {"data": {"a": "4"}})
        wait_for(lambda: document.text == "4" and said, 10)
        assert len(said) == 1
        assert said[0].startswith("ConfigMap x cannot be watched: watch configmaps: 403: ")
        emulator.cut_watches()
