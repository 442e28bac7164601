"""The PromQL of each source: whose series, escaped, and in which window."""

from __future__ import annotations

from ipa_seldon.prometheus.queries import Executor, Gateway, Triton
from tests.cluster.world import toy_pipeline

COUNT = "seldon_api_executor_server_requests_seconds_count"
SERVICE = 'service=~"predictions|.*ModelInfer"'


def test_executor() -> None:
    """The sum of the rates of a predictor's inference requests, and where its counters began."""
    series = f'{COUNT}{{deployment_name="text",predictor_name="default",{SERVICE}}}'
    assert Executor("text", "default").arrivals_query(10) == (
        f"sum(irate({series}[10s])) or label_replace("
        f"sum(resets({series}[10s])) > 0 or count({series} unless {series} offset 10s) > 0, "
        '"restarted", "true", "", "")'
    )


def test_label_values_are_escaped() -> None:
    """Quotes and backslashes stay in their label; fractions of a second are milliseconds."""
    labels = r'deployment_name="a\"b\\",predictor_name="default",namespace="prod"'
    query = Executor('a"b\\', "default", "prod").arrivals_query(2.5)
    assert query.startswith(f"sum(irate({COUNT}{{{labels},{SERVICE}}}[2500ms]))")


def test_gateway() -> None:
    """What arrived, and what missed the SLO of what was answered."""
    gateway = Gateway("text", "prod")
    labels = 'pipeline="text",namespace="prod"'
    assert gateway.arrivals_query().startswith(f"sum(irate(ipa_gateway_arrivals_total{{{labels}}}[15s]))")
    assert gateway.missed_query(60) == (
        f'(sum(increase(ipa_gateway_requests_total{{{labels},outcome!="completed"}}[60s])) or vector(0))'
        f" / sum(increase(ipa_gateway_requests_total{{{labels}}}[60s]))"
    )


def test_triton() -> None:
    """The requests of the first stage, answered or failed, over how many it gets for each of the pipeline."""
    labels = '{model="double",pipeline="toy",namespace="prod"}'
    rates = f"irate(nv_inference_request_success{labels}[15s]) or irate(nv_inference_request_failure{labels}[15s])"
    assert Triton.of(toy_pipeline(), "prod").arrivals_query().startswith(f"sum({rates}) or label_replace(")
    assert Triton("toy", "double", 2.0, "prod").arrivals_query().startswith(f"sum({rates}) / 2 or label_replace(")
