"""The back end for transformers outside Triton: batches of every kind of network, tiny and with random weights."""

from __future__ import annotations

import base64
import importlib
import io
import sys
import types
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_seldon.platforms import triton_server
from tests.weights.test_transformer import VARIANTS

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from ipa_seldon.weights.transformer import build  # noqa: E402  # needs them

BACKEND = triton_server.OUR_BACKENDS / "transformers"
RATE = 16_000
TEXTS = ("A short one.", "", "A longer text about the capital of France and its rivers. " * 60, "Zebra")
PARAMETERS = {"max_new_tokens": "4", "question": "What is it about?"}
TASKS = {
    "ForConditionalGeneration": "summarization",
    "ForQuestionAnswering": "question-answering",
    "ForSequenceClassification": "text-classification",
    "MTModel": "translation",
    "Speech2Text": "speech-to-text",
    "Wav2Vec2": "speech-to-text",
}
NETWORKS = {weights.options["network"]: weights.options | weights.tiny for weights in VARIANTS.values()}


@dataclass
class Tensor:
    """As Triton's Python back end has it."""

    label: str
    values: Any

    def name(self) -> str:
        return self.label

    def as_numpy(self) -> Any:
        return self.values


@dataclass
class Request:
    """As Triton's Python back end has it."""

    tensors: list[Tensor]

    def inputs(self) -> list[Tensor]:
        return self.tensors


@dataclass
class Response:
    """As Triton's Python back end has it."""

    outputs: tuple[Tensor, ...] = ()
    error: Any = None


@pytest.fixture(scope="module")
def backend() -> Iterator[Any]:
    """The module that Triton loads, in a process without Triton."""
    stub = types.ModuleType("triton_python_backend_utils")
    vars(stub).update(Tensor=Tensor, InferenceResponse=Response, TritonError=str)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BACKEND))
        patch.setitem(sys.modules, stub.__name__, stub)
        for variable in ("HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM"):
            patch.setenv(variable, "")  # as what the module sets is for its own process
        threads = torch.get_num_threads()
        yield importlib.import_module("model")
        torch.set_num_threads(threads)
        for name in ("model", "speech_task", "text_tasks"):
            sys.modules.pop(name)


def task_of(network: str) -> str:
    """What a network of that class does."""
    return next(task for part, task in reversed(TASKS.items()) if part in network)


@pytest.fixture(scope="module")
def tasks(backend: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every class of network, opened as its task."""
    opened = {}
    for network, options in NETWORKS.items():
        folder = tmp_path_factory.mktemp(network)
        build(options, 0, folder)
        opened[network] = backend.open_task(folder, PARAMETERS | {"task": task_of(network)})
    return opened


def recording(seconds: float, pitch: float = 440, rate: int = RATE) -> bytes:
    """A tone as a WAV file in base64."""
    samples = 10_000 * np.sin(np.arange(round(seconds * rate)) * pitch / rate * 2 * np.pi)
    with io.BytesIO() as file:
        with wave.open(file, "wb") as written:
            written.setparams((1, 2, rate, 0, "NONE", ""))
            written.writeframes(samples.astype("<i2").tobytes())
        return base64.b64encode(file.getvalue())


def run(task: Any, *rows: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Rows through a task as one batch."""
    with torch.inference_mode():
        found: list[dict[str, Any]] = task.run([task.parse(row) for row in rows])
        return found


@pytest.mark.parametrize("network", NETWORKS)
def test_a_batch_answers_what_single_requests_are_answered(tasks: dict[str, Any], network: str) -> None:
    """Padding and splitting change no answer, for texts of any length; recordings are of one, as both kinds of network
    that hear take the silence that makes them equally long for a part of each, as published.
    """
    rows: list[dict[str, bytes]] = [{"text": text.encode()} for text in TEXTS]
    if task_of(network) == "speech-to-text":
        rows = [{"audio": recording(1.0, pitch)} for pitch in (0, 110, 440, 1760)]  # the first is silence
    together = run(tasks[network], *rows)
    for row, answer in zip(rows, together, strict=True):
        (alone,) = run(tasks[network], row)
        assert answer == {key: one if isinstance(one, bytes) else pytest.approx(one) for key, one in alone.items()}
    assert len({tuple(answer.values()) for answer in together}) == len(rows)


def test_recordings_of_different_lengths_share_a_batch(tasks: dict[str, Any]) -> None:
    """And what is heard in the silence after the end of one is not its own: the longer a recording, the more is."""
    for network in ("Speech2TextForConditionalGeneration", "Wav2Vec2ForCTC"):
        rows = [{"audio": recording(seconds)} for seconds in (0.1, 3.0, 1.0)]
        assert len(run(tasks[network], *rows)) == 3
    frames = [len(answer["text"]) for answer in run(tasks["Wav2Vec2ForCTC"], *rows)]
    assert frames[0] <= 4


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (b"no base64!", "base64 text of a WAV file, mono, 16 bits"),
        (base64.b64encode(b"no recording"), "file does not start with RIFF id; accepted: base64 text"),
        (b"", "ends too early; accepted: base64 text"),
        (recording(1.0, rate=8_000), "1 channels, 16 bits, 8000 samples/s; accepted"),
        (recording(0.01), r"0\.01 s; accepted: .* 0\.1 to 36 s"),
    ],
)
def test_what_is_no_recording_is_refused(tasks: dict[str, Any], audio: bytes, words: str) -> None:
    """The reason names what is accepted."""
    with pytest.raises(ValueError, match=words):
        tasks["Wav2Vec2ForCTC"].parse({"audio": audio})


def test_a_question_of_ones_own(tasks: dict[str, Any]) -> None:
    """A request may bring its question; without one the model's own is asked; one that is too long is refused."""
    task, text = tasks["RobertaForQuestionAnswering"], TEXTS[2].encode()
    assert task.parse({"text": text}).question == PARAMETERS["question"]
    own, asked = run(task, {"text": text}, {"text": text, "question": b"Which rivers does the city have?"})
    assert own != asked
    with pytest.raises(ValueError, match=r"question: .* tokens; accepted: 64 at most"):
        task.parse({"text": text, "question": b"why " * 100})


def test_an_answer_is_the_likeliest_span_or_none(backend: Any) -> None:
    """As in SQuAD 2: within the context, of at most so many tokens, the end not before the beginning, the best of all
    windows; none where that is likelier in each of them.
    """
    spans = sys.modules["text_tasks"]
    context = "abcdefgh"
    places = [[[0, 0], [0, 2], *([k, k + 1] for k in range(8))]] * 2
    inside = torch.tensor([[False, False] + [True] * 8] * 2)
    starts, ends = torch.zeros(2, 10), torch.zeros(2, 10)
    starts[0, 1] = ends[0, 1] = 9.0  # of the question
    starts[0, 4], ends[0, 2], ends[0, 6] = 4.0, 5.0, 4.0  # one end before the beginning
    found = list(spans.best_spans(starts, ends, inside, places))
    assert found[0][0][1:] == (2, 5)
    assert spans.answer(context, found)["answer"] == b"cde"
    starts[:, 0] = ends[:, 0] = 8.0
    assert spans.answer(context, spans.best_spans(starts, ends, inside, places))["answer"] == b""
    starts[1, 0] = ends[1, 0] = -8.0  # one window has no reason to say so
    assert spans.answer(context, spans.best_spans(starts, ends, inside, places))["answer"] != b""
    del backend


def test_published_tokenizers_that_are_not_in_one_file(tasks: dict[str, Any], tmp_path: Path) -> None:
    """XLM-RoBERTa's is published as sentencepiece made it, which takes packages that go together to be read."""
    del tasks
    spans, sentencepiece = sys.modules["text_tasks"], importlib.import_module("sentencepiece")
    build(NETWORKS["XLMRobertaForQuestionAnswering"], 0, tmp_path)
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    with (tmp_path / "sentencepiece.bpe.model").open("wb") as written:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS[2].split(".")), model_writer=written, vocab_size=30, minloglevel=2
        )
    (answer,) = run(spans.Answering(tmp_path, PARAMETERS, "cpu"), {"text": TEXTS[2].encode()})
    assert answer["answer"].decode() in TEXTS[2]


def served(backend: Any, folder: Path, kind: str = "CPU") -> Any:
    """An instance of a stage that classifies, of that kind."""
    build(NETWORKS["BertForSequenceClassification"], 0, folder / "3")
    types = {"label": "TYPE_STRING", "score": "TYPE_FP32"}
    values = {"task": "text-classification", "intra_op_num_threads": "1"}
    configuration = {
        "parameters": {key: {"string_value": value} for key, value in values.items()},
        "output": [{"name": name, "data_type": kind} for name, kind in types.items()],
    }
    model = backend.TritonPythonModel()
    model.initialize(
        {
            "model_config": backend.json.dumps(configuration),
            "model_repository": str(folder),
            "model_version": "3",
            "model_instance_kind": kind,
            "model_instance_device_id": "0",
        }
    )
    return model


def request(*texts: bytes) -> Request:
    """One row for each text."""
    return Request([Tensor("text", np.array([[text] for text in texts], np.object_))])


def test_a_bad_request_spoils_no_other(backend: Any, tmp_path: Path) -> None:
    """Requests of one row and of two around one that is no text: its sender reads why, the others get their answers."""
    model = served(backend, tmp_path)
    one, bad, two = model.execute([request(b"one"), request(b"fine", b"\xff"), request(b"two", b"and three")])
    assert "text: not UTF-8" in bad.error
    assert [tensor.as_numpy().shape for tensor in (*one.outputs, *two.outputs)] == [(1, 1), (1, 1), (2, 1), (2, 1)]
    (again,) = model.execute([request(b"two")])
    for tensor, alone in zip(two.outputs, again.outputs, strict=True):
        assert tensor.as_numpy()[:1] == (alone.as_numpy() if tensor.label == "label" else pytest.approx(alone.values))
    (only_bad,) = model.execute([request(b"x" * 20_001)])
    assert "20001 characters; accepted: 20000 at most" in only_bad.error


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_and_what_they_get_are_on_the_instances_device(
    backend: Any, tasks: dict[str, Any], tmp_path: Path, network: str
) -> None:
    """Whatever it is. The one of these tests computes nothing, so the network is only looked at when it is called."""
    build(NETWORKS[network], 0, tmp_path)
    task = backend.open_task(tmp_path, PARAMETERS | {"task": task_of(network)}, "meta")
    assert {parameter.device.type for parameter in task._network.parameters()} == {"meta"}
    assert tasks[network]._network.device.type == "cpu"
    given: set[str] = set()

    def look(*_: Any, **tensors: Any) -> None:
        given.update(tensor.device.type for tensor in tensors.values() if isinstance(tensor, torch.Tensor))
        raise InterruptedError

    task._network.forward = task._network.generate = look
    with pytest.raises(InterruptedError):
        task.run([task.example()])
    assert given == {"meta"}


def test_an_instance_on_a_gpu_needs_one(backend: Any, tmp_path: Path) -> None:
    """Where there is none it is not loaded, instead of being served slowly by processors."""
    if torch.cuda.is_available():
        model = served(backend, tmp_path, "GPU")
        assert model._task._network.device == torch.device("cuda:0")
        (response,) = model.execute([request(b"one")])
        assert response.error is None
    else:
        with pytest.raises((AssertionError, RuntimeError), match=r"CUDA|NVIDIA"):
            served(backend, tmp_path, "GPU")


def test_what_cannot_be_served_says_why(backend: Any, tmp_path: Path) -> None:
    """Missing weights name the remedy, an unknown task the known ones."""
    with pytest.raises(FileNotFoundError, match="has no weights: run `ipa-seldon models fetch"):
        backend.open_task(tmp_path, {"task": "translation"})
    with pytest.raises(ValueError, match="task: 'poetry'; accepted: question-answering, speech-to-text"):
        backend.open_task(tmp_path, {"task": "poetry"})
