"""What is told of a Prometheus that cannot answer, on real sockets: one line, a reason of its own, and no secret."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ipa_seldon.errors import LoadError, LoadReason
from ipa_seldon.prometheus import Executor, Prometheus
from ipa_seldon.prometheus.access import Access
from tests.prometheus.servers import HOST, Certificate, answering, raw, trickle

QUERY = "sum(up)"
NOW = 1e9
OPEN = Access()
TOKEN = "t0ken-s3cret"  # noqa: S105  # nobody's
PASSWORD = "pass:w0rd"  # noqa: S105  # nobody's


def assert_one_line(error: LoadError, url: str, reason: LoadReason, *parts: str) -> None:
    """Short, in one line, with the URL, the words and the reason."""
    message = str(error)
    assert message.startswith(f"Prometheus at {url}: ")
    assert "\n" not in message
    assert len(message) < 260
    for part in parts:
        assert part in message
    assert error.reason is reason


def refusal(url: str, timeout: float = 5, access: Access = OPEN) -> LoadError:
    """The error of both questions, which is the same."""
    prometheus = Prometheus(url, timeout, access)
    with pytest.raises(LoadError) as one:
        prometheus.load(QUERY, 5, NOW)
    with pytest.raises(LoadError) as other:
        prometheus.violation_ratio(Executor("text", "default"), 0.5, 60, NOW)
    assert str(one.value) == str(other.value)
    assert one.value.reason is other.value.reason
    return one.value


def test_unreachable() -> None:
    """Nobody listens: the operating system's reason."""
    with closing(socket.socket()) as held:
        held.bind((HOST, 0))
        url = f"http://{HOST}:{held.getsockname()[1]}"
        assert_one_line(refusal(url), url, LoadReason.UNREACHABLE, "Connection refused")


def test_slow() -> None:
    """An answer that takes longer than the timeout is not waited for."""
    with closing(socket.create_server((HOST, 0))) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}"
        assert_one_line(refusal(url, 0.2), url, LoadReason.TIMEOUT, "no answer within 0.2 s")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1",
    ],
)
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_server_that_trickles_for_ever(head: bytes, encrypted: bool, tmp_path: Path) -> None:
    """A byte now and then keeps no question open beyond its timeout, in the body or before it, with TLS or without;
    nor does it leave a thread behind.
    """
    certificate = Certificate.made(tmp_path) if encrypted else None
    with raw(trickle(head), certificate) as url:
        assert_one_line(refusal(url, 0.3, Access(insecure=encrypted)), url, LoadReason.TIMEOUT, "within 0.3 s")


def test_closed() -> None:
    """A connection that is closed instead of answered, as by a server that goes down."""
    with raw(lambda connection: None) as url:
        with pytest.raises(LoadError) as closed:
            Prometheus(url).load(QUERY, 5, NOW)
        assert_one_line(closed.value, url, LoadReason.UNREACHABLE)


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (400, LoadReason.CLIENT_ERROR, "answers 400: Bad Request"),
        (401, LoadReason.CLIENT_ERROR, "answers 401: Unauthorized"),
        (404, LoadReason.CLIENT_ERROR, "answers 404: Not Found"),
        (429, LoadReason.CLIENT_ERROR, "answers 429: Too Many Requests"),
        (500, LoadReason.SERVER_ERROR, "answers 500: Internal Server Error"),
        (503, LoadReason.SERVER_ERROR, "answers 503: Service Unavailable"),
    ],
)
def test_refused(status: int, reason: LoadReason, words: str) -> None:
    """A proxy's page is its status, and is not asked for again: the loop does that."""
    with answering(status, b"<html>\nupstream\n</html>" * 1000) as asked:
        assert_one_line(refusal(asked.url), asked.url, reason, words)
        assert [path.split("?")[0] for path in asked.paths] == ["/api/v1/query_range", "/api/v1/query"]


@pytest.mark.parametrize("body", [b"<html>\nlog in\n</html>", b"[]", b"{}", b"null", b'{"data": {"result": [1]}}'])
def test_not_prometheus(body: bytes) -> None:
    """A page, or JSON of another kind, is not taken for an answer."""
    with answering(200, body) as asked:
        assert_one_line(refusal(asked.url), asked.url, LoadReason.INVALID_ANSWER, "not an answer of Prometheus")


def test_path_and_password() -> None:
    """A path in the URL is kept, with or without a slash at its end; a password is used and never told."""
    with answering(503, b'{"status": "error", "error": "query\\ntimed out"}') as asked:
        error = refusal(f"{asked.url.replace('//', '//reader:secret@')}/prometheus/")
        assert_one_line(error, f"{asked.url}/prometheus/", LoadReason.SERVER_ERROR, "answers 503: query timed out")
        assert asked.paths[0].startswith("/prometheus/api/v1/query_range?")
        assert asked.authorizations == ["Basic cmVhZGVyOnNlY3JldA=="] * 2


@pytest.mark.parametrize("url", ["prometheus:9090", "prometheus", "http://", "http://[::1"])
def test_no_url(url: str) -> None:
    """What is no URL is refused like a Prometheus that is not there."""
    with pytest.raises(LoadError, match=f"^Prometheus at {re.escape(url)}: "):
        Prometheus(url).load(QUERY, 5, NOW)


@pytest.mark.parametrize(
    ("access", "shown"),
    [
        (Access(token=TOKEN), f"Bearer {TOKEN}"),
        (Access(user="reader", password=PASSWORD), "Basic cmVhZGVyOnBhc3M6dzByZA=="),
        (OPEN, None),
    ],
)
def test_secrets_are_shown_to_the_server_alone(
    access: Access, shown: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token or a password opens the door, whatever a .netrc says, and is in no message, though the server repeats
    it.
    """
    (tmp_path / "netrc").write_text(f"machine {HOST} login other password other\n" if shown else "")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    echo = json.dumps({"error": f"no such user: {access.token} {access.password}"}).encode()
    with answering(403, echo) as asked:
        error = refusal(asked.url, access=access)
        assert asked.authorizations == [shown, shown]
    for text in (str(error), repr(Prometheus(asked.url, access=access)), repr(access)):
        for secret in filter(None, (access.token, access.password)):
            assert secret not in text
    assert error.reason is LoadReason.CLIENT_ERROR


def test_the_password_of_a_url_is_blotted_out() -> None:
    """Also where the system's own words repeat the URL; and neither a token nor another user goes with it."""
    access = Access(token=TOKEN)
    with answering(403, b'{"error": "reader:s3%2Fcret or s3/cret"}') as asked:
        url = asked.url.replace("//", "//reader:s3%2Fcret@")
        message = str(refusal(url, access=access))
        assert asked.authorizations == ["Basic cmVhZGVyOnMzL2NyZXQ="] * 2
    assert "cret" not in message
    assert "cret" not in repr(Prometheus(url))
    assert "s3cret" not in str(refusal("http://reader:s3cret@[::1"))


class TestTls:
    """A server with a certificate of its own."""

    ANSWER = json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[NOW, "7"]]}]}}
    ).encode()

    def test_by_its_certificate_or_unseen(self, tmp_path: Path) -> None:
        """It is asked where its authority is known or no matter, even with a token."""
        certificate = Certificate.made(tmp_path)
        trusting = Access(str(certificate.certificate), token=TOKEN)
        with answering(200, self.ANSWER, certificate) as asked:
            for access in (trusting, replace(trusting, ca_cert_path=None, insecure=True)):
                assert Prometheus(asked.url, access=access).arrivals(QUERY, 1, NOW) == [7.0]
            assert asked.authorizations == [f"Bearer {TOKEN}"] * 2

    def test_unknown(self, tmp_path: Path) -> None:
        """Else it is not believed, nor shown the token; OpenSSL says why."""
        certificate = Certificate.made(tmp_path)
        with answering(200, self.ANSWER, certificate) as asked:
            error = refusal(asked.url, access=Access(token=TOKEN))
            assert_one_line(error, asked.url, LoadReason.TLS, "certificate verify failed")
            assert asked.paths == []

    def test_unusable_authority(self, tmp_path: Path) -> None:
        """A file that is no certificate, or is gone, is one line, and a matter of TLS."""
        certificate = Certificate.made(tmp_path)
        (tmp_path / "ca.pem").write_text("nonsense")
        with answering(200, self.ANSWER, certificate) as asked:
            for path in (tmp_path / "ca.pem", tmp_path / "gone.pem"):
                assert_one_line(refusal(asked.url, access=Access(str(path))), asked.url, LoadReason.TLS)

    def test_plain(self) -> None:
        """Plain HTTP where TLS was expected."""
        with answering(200, self.ANSWER) as asked:
            url = asked.url.replace("http://", "https://")
            assert_one_line(refusal(url), url, LoadReason.TLS)


def answer(*series: tuple[dict[str, str], Sequence[tuple[float, str]]]) -> bytes:
    """A range answer."""
    result = [{"metric": metric, "values": values} for metric, values in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


class TestAnswers:
    """What whole answers say of the load."""

    LOAD = tuple((NOW + second, "40") for second in range(-4, 1))

    def measured(self, body: bytes) -> tuple[list[float], LoadReason | None, str]:
        with answering(200, body) as asked:
            rates, fault = Prometheus(asked.url).load(QUERY, 5, NOW + 0.5)
        return list(rates), fault and fault.reason, fault.words if fault else ""

    def test_load(self) -> None:
        """One series, and nothing is the matter."""
        assert self.measured(answer(({}, self.LOAD))) == ([40.0] * 5, None, "")

    def test_empty(self) -> None:
        """No series is no load of zero."""
        rates, reason, words = self.measured(answer())
        assert all(map(math.isnan, rates))
        assert reason is LoadReason.EMPTY
        assert "nobody measures the load" in words

    @pytest.mark.parametrize("value", ["NaN", "+Inf"])
    def test_nan(self, value: str) -> None:
        """A series that is no number anywhere is told from none."""
        rates, reason, words = self.measured(answer(({}, [(time, value) for time, _ in self.LOAD])))
        assert all(map(math.isnan, rates))
        assert reason is LoadReason.NAN
        assert "not a number" in words

    def test_gap(self) -> None:
        """Some seconds are missing: the others are there."""
        rates, reason, _ = self.measured(answer(({}, [*self.LOAD[:2], (NOW - 2, "NaN"), *self.LOAD[3:]])))
        assert [math.isnan(rate) for rate in rates] == [False, False, True, False, False]
        assert reason is None

    def test_duplicate(self) -> None:
        """Two series are not chosen between."""
        words = r"2 series answer 'sum\(up\)'; accepted: one, as of sum\(...\)"
        with (
            answering(200, answer(({"pod": "a"}, self.LOAD), ({"pod": "b"}, self.LOAD))) as asked,
            pytest.raises(LoadError, match=words) as two,
        ):
            Prometheus(asked.url).load(QUERY, 5, NOW)
        assert two.value.reason is LoadReason.DUPLICATE

    def test_counter_reset(self) -> None:
        """Where counters begin a load may rise, and does not fall below what it was just before."""
        values = ["40", "10", "50", "20", "30"]
        marks = ({"restarted": "true"}, [(NOW - 3, "1"), (NOW - 2, "1"), (NOW - 1, "1")])
        load = [(time, value) for (time, _), value in zip(self.LOAD, values, strict=True)]
        rates, reason, words = self.measured(answer(({}, load), marks))
        assert rates == [40.0, 40.0, 50.0, 40.0, 30.0]
        assert reason is LoadReason.COUNTER_RESET
        assert "counters began in 3 of the last 5 seconds" in words


def test_questions_leave_nothing_behind() -> None:
    """The deadline's thread ends with its question, which it would outlast else."""
    with answering(200, answer()) as asked:
        Prometheus(asked.url, timeout=600).load(QUERY, 5, NOW)
    assert not [thread for thread in threading.enumerate() if thread.name == "prometheus-deadline"]
