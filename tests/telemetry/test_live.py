"""The live page's server, asked over HTTP."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path
from time import time
from urllib.parse import quote

import pytest

from ipa_seldon.asgi import listen
from ipa_seldon.errors import PlatformError
from ipa_seldon.telemetry.audit import read_audit_log
from ipa_seldon.telemetry.live import HOST, LiveTelemetry, live_page
from tests.pages import assert_needs_nothing_else, get, get_json
from tests.telemetry.rounds import Rounds, toy


def test_what_is_watched_is_served(tmp_path: Path) -> None:
    """The page, status and decisions of a pipeline, its metrics and its health; gone when it is watched no more, and
    the server with its context.
    """
    telemetry, config = LiveTelemetry(), toy(tmp_path)
    with live_page(telemetry, 0) as url:
        with telemetry.watching(config, lambda _: 0.25, "fa2-low") as told:
            Rounds(config, told).round(time(), [50.0] * 10)
            assert [row["name"] for row in get_json(url, "/api/status")["pipelines"]] == ["toy"]
            found = get_json(url, "/api/status/toy")
            assert (found["role"], found["algorithm"], found["load"]) == ("local", "fa2-low", 50.0)
            (tmp_path / "log.jsonl").write_text(get(url, "/api/decisions/toy")[1])
            again, algorithm, decisions = read_audit_log(tmp_path / "log.jsonl")
            assert (again.name, algorithm, len(decisions)) == ("toy", "fa2-low", 1)
            assert 'ipa_slo_violation_ratio{namespace="",pipeline="toy"} 0.25' in get(url, "/metrics")[1]
            assert get(url, "/healthz")[0] == 200
        assert get_json(url, "/api/status")["pipelines"] == []
        assert 'pipeline="toy"' not in get(url, "/metrics")[1]
        for path in ("/api/status/toy", "/api/decisions/toy"):
            status, text = get(url, path)
            assert (status, json.loads(text)) == (404, {"error": "no pipeline 'toy'; accepted: none"})
    with pytest.raises(ConnectionRefusedError):
        get(url, "/")


def test_a_loop_that_stopped_is_not_healthy(tmp_path: Path) -> None:
    """Its last round is too long ago: 503, which names it."""
    telemetry, config = LiveTelemetry(), toy(tmp_path)
    with live_page(telemetry, 0) as url, telemetry.watching(config, lambda _: None) as told:
        Rounds(config, told).round(time() - 100, [50.0] * 10)
        assert get(url, "/healthz") == (503, '{"error":"no sign of toy"}')
        assert get_json(url, "/api/status/toy")["state"] == "stale"


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """No element loads anything, and the page itself forbids all requests but those to where it comes from."""
    with live_page(LiveTelemetry(), 0) as url:
        status, html = get(url, "/")
    assert status == 200
    assert_needs_nothing_else(html)
    assert "connect-src 'self'" in html


@pytest.mark.parametrize("path", ["/", "/api/status", "/api/status/toy", "/api/decisions/toy", "/metrics", "/healthz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(tmp_path: Path, path: str, method: str) -> None:
    """Every other method is refused."""
    telemetry = LiveTelemetry()
    with live_page(telemetry, 0) as url, telemetry.watching(toy(tmp_path), lambda _: None):
        assert get(url, path, method)[0] == 405


def test_any_name_finds_its_pipeline(tmp_path: Path) -> None:
    """With slashes, spaces, quotes and HTML in it."""
    name = "a/b c<i>\"'é%23"
    telemetry = LiveTelemetry()
    with live_page(telemetry, 0) as url, telemetry.watching(toy(tmp_path, name), lambda _: None):
        assert get_json(url, f"/api/status/{quote(name, safe='')}")["name"] == name
        assert get(url, f"/api/decisions/{quote(name, safe='')}")[0] == 200


def test_answers_are_whole_while_rounds_go_on(tmp_path: Path) -> None:
    """A loop in another thread disturbs no answer, and no answer the loop."""
    telemetry, config = LiveTelemetry(), toy(tmp_path)
    with live_page(telemetry, 0) as url, telemetry.watching(config, lambda _: None) as told:
        loop = Rounds(config, told)

        def rounds() -> None:
            start = time() - 400
            for step in range(400):
                loop.round(start + step, [50.0 + step] * 100)

        thread = threading.Thread(target=rounds)
        thread.start()
        while thread.is_alive():
            for path in ("/api/status", "/api/status/toy"):
                get_json(url, path)
            lines = get(url, "/api/decisions/toy")[1].splitlines()
            ticks = [json.loads(line)["tick"] for line in lines[1:]]
            assert ticks == list(range(min(ticks, default=0), min(ticks, default=0) + len(ticks)))
        assert get_json(url, "/api/status/toy")["decisions"][0]["tick"] == 399


def test_a_port_that_is_taken_is_one_line() -> None:
    """Before anything is started."""
    with closing(listen(HOST, 0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PlatformError, match=f"cannot listen on {HOST}:{port}"), live_page(LiveTelemetry(), port):
            pass
