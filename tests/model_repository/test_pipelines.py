"""The published pipelines on a real Triton, behind a real gateway: tiny networks of the true architectures."""

from __future__ import annotations

import base64
import io
import json
import threading
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from itertools import combinations
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
import pytest

from ipa_seldon.asgi import listen, serving_beside
from ipa_seldon.bootstrap import repository_of
from ipa_seldon.gateway.app import create_app
from ipa_seldon.gateway.graph import graph_of
from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.platforms.local import LocalPlatform
from ipa_seldon.weights.catalogue import read_catalogue
from tests.waiting import wait_for
from tests.weights.repositories import ROOT, published, tiny_pipeline

pytest.importorskip("transformers")
pytestmark = pytest.mark.triton
CLIENTS = 6
BATCH = 4
TIMEOUT = 120.0

Tensor = dict[str, Any]
"""As JSON has it."""
Answer = tuple[int, dict[str, Any], str]
"""Status, data by output (or ``error``), and the variants that answered."""


def string(name: str, value: str) -> Tensor:
    """One row of one string."""
    return {"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [value]}


def frame(index: int, side: int = 64) -> Tensor:
    """A picture of noise."""
    data = np.random.default_rng(index).integers(0, 256, 3 * side * side).tolist()
    return {"name": "frame", "shape": [1, 3, side, side], "datatype": "UINT8", "data": data}


def speech(index: int) -> Tensor:
    """Half a second of noise, as a WAV file in base64."""
    samples = np.random.default_rng(index).integers(-8_000, 8_000, 8_000)
    with io.BytesIO() as file:
        with wave.open(file, "wb") as recording:
            recording.setparams((1, 2, 16_000, 0, "NONE", ""))
            recording.writeframes(samples.astype("<i2").tobytes())
        return string("audio", base64.b64encode(file.getvalue()).decode())


def text(index: int) -> Tensor:
    """A text of so many sentences."""
    return string("text", "Le texte est ici, and here is what it is about. " * (1 + index % 3) + f"Number {index}.")


@dataclass(frozen=True)
class Kind:
    """A pipeline's requests, by index; one that its first stage refuses, with the words; the outputs of its answer."""

    request: Callable[[int], Tensor]
    refused: tuple[Tensor, str]
    outputs: frozenset[str]


NO_SPEECH = (string("audio", "bm8gc3BlZWNo"), "base64 text of a WAV file")
TOO_LONG = (string("text", "word " * 5_000), "25000 characters; accepted: 20000 at most")
PIPELINES = {
    "video": Kind(frame, (frame(0, side=40), "axis dimensions must match"), frozenset({"classes", "scores"})),
    "audio-qa": Kind(speech, NO_SPEECH, frozenset({"answer", "score"})),
    "audio-sent": Kind(speech, NO_SPEECH, frozenset({"label", "score"})),
    "sum-qa": Kind(text, TOO_LONG, frozenset({"answer", "score"})),
    "nlp": Kind(text, TOO_LONG, frozenset({"text"})),
}


@dataclass(frozen=True)
class Served:
    """All pipelines on one server, by name: what each is, and the URL of its gateway."""

    platform: LocalPlatform
    pipelines: Mapping[str, Pipeline]
    urls: Mapping[str, str]

    def ask(self, name: str, tensor: Tensor) -> Answer:
        """Send one request through a whole pipeline."""
        connection = HTTPConnection(urlsplit(self.urls[name]).netloc, timeout=TIMEOUT)
        with closing(connection):
            connection.request("POST", "/v2/models/infer", json.dumps({"inputs": [tensor]}))
            response = connection.getresponse()
            body = json.load(response)
        outputs = {output["name"]: output["data"] for output in body.get("outputs", ())}
        return response.status, outputs or body, response.getheader("Ipa-Variants", "")

    def shared(self, stage: str) -> int:
        """How often a request was answered by a run of the stage's network that answered another one too."""
        connection = HTTPConnection(urlsplit(self.platform.server.http_url).netloc, timeout=TIMEOUT)
        with closing(connection):
            connection.request("GET", f"/v2/models/{stage}/stats")
            (statistics,) = json.load(connection.getresponse())["model_stats"]
        return int(statistics["inference_count"]) - int(statistics["execution_count"])

    def variants(self, name: str, plan: Plan) -> str:
        """How a gateway names what answers."""
        return ";".join(f"{stage.name}={plan[stage.name][0].variant}" for stage in self.pipelines[name].stages)


@dataclass
class Load:
    """Clients, each of which asks ``pipeline`` the same again and again while entered; ``answers`` by client."""

    served: Served
    pipeline: str
    answers: list[list[Answer]] = field(default_factory=lambda: [[] for _ in range(CLIENTS)])
    _ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._clients = [threading.Thread(target=self._run, args=(index,)) for index in range(CLIENTS)]
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for client in self._clients:
            client.join()

    def await_variants(self, variants: str) -> None:
        """Until a request is answered by these."""
        wait_for(lambda: any(found == variants for answers in self.answers for _, _, found in tuple(answers)))

    def _run(self, index: int) -> None:
        while not self._ending.is_set():
            self.answers[index].append(self.served.ask(self.pipeline, PIPELINES[self.pipeline].request(index)))


def alike(one: Answer, other: Answer) -> bool:
    """Whether two answers are the same, but for the rounding of scores."""
    data = {name: [v if isinstance(v, str) else pytest.approx(v) for v in values] for name, values in other[1].items()}
    return one == (other[0], data, other[2])


def allocated(variant: str) -> tuple[Allocation, ...]:
    """One replica of it, on one core."""
    return (Allocation(variant, 1, 1, BATCH),)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Each stage of all pipelines with its first variant, as pipelines share stages; it has its last one too. Weights
    are tiny and random, and there is time for any load of the machine.
    """
    directory = tmp_path_factory.mktemp("models")
    (repository := directory / "all").mkdir()
    pipelines: dict[str, Pipeline] = {}
    stages: dict[str, Stage] = {}
    for name in PIPELINES:
        of_pipeline = published(name).pipeline.stages
        new = [replace(s, variants=(s.variants[0], s.variants[-1])) for s in of_pipeline if s.name not in stages]
        config = tiny_pipeline(name, directory, {variant.name for stage in new for variant in stage.variants})
        pipelines[name] = replace(config.pipeline, slo=TIMEOUT)
        for stage in new:
            stages[stage.name] = stage
            (repository / stage.name).symlink_to(repository_of(config) / stage.name)
    plan = {stage.name: allocated(stage.variants[0].name) for stage in stages.values()}
    # By deadline, so that no batch waits for more requests, which may be none.
    everything = Pipeline("all", tuple(stages.values()), (), slo=TIMEOUT, by_deadline=True)
    with LocalPlatform(everything, repository, lambda now: ()) as platform, ExitStack() as gateways:
        platform.start(plan)
        apps = {name: create_app(graph_of(one), platform.server.http_url) for name, one in pipelines.items()}
        urls = {name: gateways.enter_context(serving_beside(app, listen("127.0.0.1", 0))) for name, app in apps.items()}
        yield Served(platform, pipelines, urls)


@pytest.mark.parametrize("name", PIPELINES)
def test_requests_at_once_share_batches_and_get_their_own_answers(served: Served, name: str) -> None:
    """Stage takes from stage what it needs; answers from batches are those of requests one by one; a request that is
    refused says why and spoils no other.
    """
    kind, stages = PIPELINES[name], [stage.name for stage in served.pipelines[name].stages]
    alone = [served.ask(name, kind.request(index)) for index in range(CLIENTS)]
    before = {stage: served.shared(stage) for stage in stages}
    bad, words = kind.refused
    with Load(served, name) as load:
        status, error, _ = served.ask(name, bad)
        wait_for(lambda: all(served.shared(stage) > before[stage] for stage in stages))
    assert status >= 400
    assert words in error["error"]
    for expected, answers in zip(alone, load.answers, strict=True):
        assert expected[0] == 200
        assert expected[1].keys() == kind.outputs
        assert expected[2] == served.variants(name, served.platform.observe(0.0).plan)
        assert [answer for answer in answers if not alike(answer, expected)] == []


def test_a_change_of_variants_under_load_loses_nothing(served: Served) -> None:
    """While clients ask on, speech and answers come to be those of other networks; every request is answered."""
    plan = served.platform.observe(0.0).plan
    after = {**plan, "audio": allocated("wav2vec2-large"), "nlp-qa": allocated("xlm-roberta-large")}
    with Load(served, "audio-qa") as load:
        load.await_variants(served.variants("audio-qa", plan))
        served.platform.apply(after)
        load.await_variants(served.variants("audio-qa", after))
    assert [answer for answers in load.answers for answer in answers if answer[0] != 200] == []
    assert served.platform.observe(0.0).plan == after


def test_pipelines_that_share_a_stage_have_the_same() -> None:
    """Stages of one name have one configuration, and variants of one name the same weights."""
    catalogues = {name: read_catalogue(ROOT / "model_repository" / name).stages for name in PIPELINES}
    shared = set()
    for (one, has), (other, too) in combinations(catalogues.items(), 2):
        for stage in has.keys() & too.keys():
            configurations = {
                (ROOT / "model_repository" / name / stage / "config.pbtxt").read_text() for name in (one, other)
            }
            assert len(configurations) == 1, stage
            assert has[stage] == too[stage]
            shared.add(stage)
    assert shared == {"audio", "nlp-qa", "nlp-sum"}
