"""``ipa-seldon report --agreement``: of a log, and of a range of a real Prometheus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipa_seldon.cli import main
from tests.advice.logs import light, toy_config, write_log
from tests.advice.pasts import Past
from tests.prometheus_server import PrometheusServer

LOADS = [60.0] * 40 + [160.0] * 20


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["report", "--agreement", *arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Advice over a minute in which one replica of each stage runs, of which 60 requests/s need no more and 160 do."""
    path = tmp_path / "audit.jsonl"
    write_log(path, toy_config(tmp_path), LOADS, light(1))
    return str(path)


def test_advice_that_was_not_followed(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It agreed for two thirds of the time; what ran missed the SLO of most requests afterwards, and with the advice
    followed hardly any would have, for more cores; the disagreement is told with why.
    """
    code, out, _ = run(capsys, log, "-o", "json")
    found = json.loads(out)
    assert (code, found["pipeline"], found["algorithm"], found["moments"]) == (0, "toy", "ipa", 60)
    assert found["agreed_ratio"] == pytest.approx(40 / 60)
    assert found["agreed_time_ratio"] == pytest.approx(40 / 60)
    assert found["stages"]["double"]["variant"] == 1.0
    assert found["stages"]["increment"]["replicas"] == pytest.approx(40 / 60)
    assert found["ran"]["core_hours"] == pytest.approx(60 * 2 / 3600)
    assert found["advice"]["core_hours"] == pytest.approx((40 * 2 + 20 * 4) / 3600)
    ran, followed = (found["simulated"]["figures"][name] for name in ("what ran", "advice followed"))
    assert ran["requests"] == followed["requests"] == sum(LOADS[1:])
    assert ran["violation_ratio"] > 0.15
    assert followed["violation_ratio"] < 0.05
    assert (ran["switches"], followed["switches"]) == (0, 1)
    assert ran["mean_cost"] == pytest.approx(2.0)
    (one,) = found["disagreements"]
    assert one["seconds"] == pytest.approx(20)
    assert one["lost"] is None
    assert "what ran carries 100 within the SLO; 2 cores more" in one["why"]


def test_tables_and_markdown(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same in both: how far they agree, the bills, the stages, the simulation, what differs most."""
    _, table, _ = run(capsys, log)
    _, markdown, _ = run(capsys, log, "-o", "md")
    for out in (table, markdown):
        assert "advice of ipa is what ran in 66.7 % of 60 moments" in out
        for words in ("core hours", "increment", "advice followed", "what ran carries 100 within the SLO"):
            assert words in out
    assert [line for line in markdown.splitlines() if line.startswith("## ")][1:] == [
        "## Share of the time in which they are alike",
        "## Simulated: 59 s of load from 2023-11-14T22:13:21Z",
        "## Largest disagreements: what ran -> what was advised",
    ]


def test_an_active_adapter_follows_its_own_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it decides runs, so they agree, and both simulations switch."""
    path = tmp_path / "audit.jsonl"
    write_log(path, toy_config(tmp_path), LOADS, light(1), acts=True)
    found = json.loads(run(capsys, str(path), "-o", "json")[1])
    assert found["agreed_ratio"] == found["agreed_time_ratio"] == 1.0
    assert found["disagreements"] == []
    assert {one["switches"] for one in found["simulated"]["figures"].values()} == {1}


def test_what_ran_and_cannot_be_simulated_is_said(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A hand had set cores that nobody profiled: all the rest is reported, with a line and exit code 1; the advice is
    followed from a plan of its own.
    """
    text = Path(log).read_text().splitlines()
    changed = [json.loads(line) for line in text]
    for record in changed[1:]:
        record["plan_before"]["double"][0]["cores"] = 5
    Path(log).write_text("\n".join(map(json.dumps, changed)))
    code, out, err = run(capsys, log, "-o", "json")
    found = json.loads(out)
    assert code == 1
    assert found["agreed_ratio"] == 0.0
    assert list(found["simulated"]["figures"]) == ["advice followed"]
    assert "failed: what ran: plan: stage 'double': variant 'light': 5 cores; profiled: 1, 2" in err
    assert "no plan that the algorithm could make" in found["disagreements"][0]["why"]


@pytest.mark.prometheus
def test_a_range_of_prometheus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of a log: what ran, what was advised and the load, as the adapter and the executors told it."""
    config = toy_config(tmp_path)
    past = Past(1200)
    past.executor("toy", lambda second: 60 * second + 100 * max(second - 600, 0), 5)
    for stage in ("double", "increment"):
        labels = {"pipeline": "toy", "namespace": "seldon", "stage": stage, "variant": "light"}
        past.plan("current", lambda _: 1, 5, **labels)
        past.plan("desired", lambda second: 1 if second < 600 else 2, 5, **labels)
    past.write("ipa_forecast_requests_per_second", lambda second: 70 + 100 * (second >= 600), 5, pipeline="toy")
    server = PrometheusServer([], 5, tmp_path / "prometheus")
    server.backfill(past.openmetrics())
    with server:
        history = ("--prometheus", server.url, "--range", "20m", "--end", str(past.begin + 1200))
        code, out, err = run(capsys, "-f", str(config.path), *history, "-o", "json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["moments"], found["hours"]) == (240, pytest.approx(1200 / 3600))
    assert found["agreed_time_ratio"] == pytest.approx(0.5, abs=0.01)
    assert found["ran"]["core_hours"] == pytest.approx(1200 * 4 / 3600)
    ran, followed = (found["simulated"]["figures"][name] for name in ("what ran", "advice followed"))
    assert ran["requests"] == pytest.approx(600 * 60 + 600 * 160, rel=0.02)
    assert ran["violation_ratio"] < 0.01
    assert followed["switches"] > 0
    assert "at 170 requests/s" in found["disagreements"][0]["why"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "accepted: RUN, or --file and a Prometheus"),
        (("-f", "{file}", "--range", "1h"), "--prometheus: missing; accepted: there, or by PROMETHEUS_URL"),
        (("/nowhere.jsonl",), "/nowhere.jsonl: cannot be read"),
        (("{log}", "-f", "x.yaml"), "--file: accepted: without RUN"),
        (("{log}", "--prometheus", "http://127.0.0.1:9"), "--prometheus: accepted: without RUN"),
        (("-f", "/nowhere.yaml", "--prometheus", "http://127.0.0.1:9", "--range", "1h"), "/nowhere.yaml"),
    ],
)
def test_wrong_input_is_one_line(
    log: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 1 or 2 and a line that says what is accepted."""
    code, out, err = run(capsys, *(word.format(log=log, file=Path(log).with_name("toy.yaml")) for word in arguments))
    assert code in (1, 2)
    assert out == ""
    assert said in err.strip().splitlines()[-1]
