"""Watches, faults and the record of calls of the emulated API, through the official client."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from kubernetes import client, config, watch
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.cluster.emulator import Emulator
from tests.cluster.objects import config_map, deployment, pod, refused
from tests.waiting import wait_for


def events(core: Any, **query: Any) -> Iterator[tuple[str, str, str]]:
    """Type, name and ``a`` of each event of a watch on ConfigMaps."""
    for event in watch.Watch().stream(core.list_namespaced_config_map, "default", **query):
        yield event["type"], event["object"].metadata.name, (event["object"].data or {}).get("a", "")


def test_a_watch_shows_every_change_as_of_then(core: Any) -> None:
    """From a list's resourceVersion on, each event has the object as it was, and timeoutSeconds ends the stream."""
    core.create_namespaced_config_map("default", config_map("old", a="0"))
    version = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", config_map("plan", a="1"))
    core.patch_namespaced_config_map("plan", "default", {"data": {"a": "2"}})
    core.create_namespaced_pod("default", pod("p"))
    core.delete_namespaced_config_map("plan", "default")
    changes = [("ADDED", "plan", "1"), ("MODIFIED", "plan", "2"), ("DELETED", "plan", "2")]
    assert list(events(core, resource_version=version, timeout_seconds=1)) == changes


def test_a_watch_follows_what_happens(core: Any) -> None:
    """Without a resourceVersion it begins with what there is, then shows changes as they are made."""
    core.create_namespaced_config_map("default", config_map("plan", a="1"))
    stream = events(core, timeout_seconds=10)
    assert next(stream) == ("ADDED", "plan", "1")
    core.patch_namespaced_config_map("plan", "default", {"data": {"a": "2"}})
    assert next(stream) == ("MODIFIED", "plan", "2")
    stream.close()  # type: ignore[attr-defined]


def test_a_watch_shows_only_what_is_selected(core: Any) -> None:
    """An object that stops matching is deleted, one that begins to is added."""
    version = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", config_map("other"))
    core.create_namespaced_config_map("default", config_map("plan", {"tier": "web"}, a="1"))
    for tier in ("db", "web"):
        core.patch_namespaced_config_map("plan", "default", {"metadata": {"labels": {"tier": tier}}})
    seen = events(core, resource_version=version, label_selector="tier=web", timeout_seconds=10)
    assert list(islice(seen, 3)) == [("ADDED", "plan", "1"), ("DELETED", "plan", "1"), ("ADDED", "plan", "1")]


def test_bookmarks_tell_how_far_a_silent_watch_is(core: Any) -> None:
    """Only where they are asked for."""
    version = core.list_namespaced_config_map("default").metadata.resource_version
    latest = core.create_namespaced_pod("default", pod("p")).metadata.resource_version
    watching = watch.Watch()
    query = {"resource_version": version, "timeout_seconds": 1, "allow_watch_bookmarks": True}
    seen = watching.stream(core.list_namespaced_config_map, "default", **query)
    assert next(seen)["type"] == "BOOKMARK"
    assert watching.resource_version == latest


def test_an_expired_watch_says_so(core: Any, emulator: Emulator) -> None:
    """From a forgotten resourceVersion a watch is 410; a list gives one that it can begin from."""
    version = core.list_namespaced_config_map("default").metadata.resource_version
    emulator.forget_history()
    with pytest.raises(ApiException) as caught:
        list(events(core, resource_version=version, timeout_seconds=5))
    assert caught.value.status == 410
    version = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", config_map("plan"))
    assert next(events(core, resource_version=version, timeout_seconds=5)) == ("ADDED", "plan", "")


def test_a_cut_watch_resumes_where_it_was(core: Any, emulator: Emulator) -> None:
    """The official client takes the stream up again at its last resourceVersion, without losing a change."""
    version = core.list_namespaced_config_map("default").metadata.resource_version
    core.create_namespaced_config_map("default", config_map("plan", a="1"))
    stream = events(core, resource_version=version)
    assert next(stream) == ("ADDED", "plan", "1")
    emulator.cut_watches()
    core.patch_namespaced_config_map("plan", "default", {"data": {"a": "2"}})
    assert next(stream) == ("MODIFIED", "plan", "2")
    assert [call.verb for call in emulator.calls].count("watch") == 2
    stream.close()  # type: ignore[attr-defined]


def test_faults_strike_the_requests_they_name_and_no_others(core: Any, emulator: Emulator) -> None:
    """By verb, resource and name, as often as stated; Retry-After and delays included."""
    core.create_namespaced_config_map("default", config_map("plan"))
    emulator.fail(times=2, verb="patch", resource="configmaps", name="plan", code=429, retry_after=1)
    emulator.fail(verb="list", delay=0.2)
    core.read_namespaced_config_map("plan", "default")
    for _ in range(2):
        with pytest.raises(ApiException) as caught:
            core.patch_namespaced_config_map("plan", "default", {"data": {"a": "1"}})
        error: Any = caught.value
        assert (error.status, error.headers["Retry-After"]) == (429, "1")
    assert not core.read_namespaced_config_map("plan", "default").data
    core.patch_namespaced_config_map("plan", "default", {"data": {"a": "1"}})
    began = monotonic()
    assert len(core.list_namespaced_config_map("default").items) == 1
    assert monotonic() - began >= 0.2


@pytest.mark.parametrize("after", [False, True])
def test_answers_are_lost_before_or_after_the_write(core: Any, emulator: Emulator, after: bool) -> None:
    """A connection is cut without an answer; ``after`` says whether the write is stored."""
    emulator.fail(verb="create", resource="configmaps", cut=True, after=after)
    with pytest.raises(HTTPError):
        core.create_namespaced_config_map("default", config_map("cut"))
    emulator.fail(verb="create", resource="configmaps", code=500, after=after)
    assert refused(partial(core.create_namespaced_config_map, "default", config_map("lost"))) == (500, "InternalError")
    stored = [found["metadata"]["name"] for found in emulator.objects("configmaps")]
    assert stored == (["cut", "lost"] if after else [])
    assert [call.code for call in emulator.calls] == [0, 500]


def test_calls_are_recorded_as_rbac_names_them(core: Any, apps: Any, emulator: Emulator) -> None:
    """Verb, resource, group, namespace, name, code and field manager."""
    apps.create_namespaced_deployment("default", deployment("d"), field_manager="us")
    apps.patch_namespaced_deployment_scale("d", "default", {"spec": {"replicas": 2}}, field_manager="us")
    refused(partial(core.read_namespaced_pod, "p", "default"))
    core.list_pod_for_all_namespaces()
    wanted = [
        ("create", "deployments", "apps", "default", "d", 201, "us"),
        ("patch", "deployments/scale", "apps", "default", "d", 200, "us"),
        ("get", "pods", "", "default", "p", 404, ""),
        ("list", "pods", "", "", "", 200, ""),
    ]
    assert [tuple(vars(call).values()) for call in emulator.calls] == wanted
    emulator.clear_calls()
    assert emulator.calls == []


def test_the_server_is_gone_after_its_test(tmp_path: Path) -> None:
    """Leaving the context ends the thread, the streams and the port, also under a watch."""
    with Emulator() as emulator:
        api = client.CoreV1Api(config.new_client_from_config(str(emulator.kubeconfig(tmp_path / "kubeconfig", "x"))))
        ended = threading.Event()

        def follow() -> None:
            for _ in watch.Watch().stream(api.list_namespaced_config_map, "default", timeout_seconds=30):
                pass
            ended.set()

        threading.Thread(target=follow, daemon=True).start()
        wait_for(lambda: emulator.calls, 5)
    assert ended.wait(5)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(emulator.url, timeout=5)  # noqa: S310
