"""What the adapter makes loops of, and what it refuses before it acts."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ipa_seldon.adapter.run import Adapter, AdapterSettings
from ipa_seldon.errors import ConfigError
from tests.adapter.files import write_toy
from tests.cluster.emulator import Emulator


def test_sets_in_several_stages_are_no_loop(
    tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the file asks for them or the command line does: one line with the file, and what is accepted."""
    monkeypatch.setenv("KUBECONFIG", str(emulator.kubeconfig(tmp_path / "kubeconfig")))
    for name, spec, override in (("one", {"algorithm": "ipa-sets"}, None), ("two", {}, "ipa-sets")):
        path = write_toy(tmp_path, name, **spec)
        settings = AdapterSettings((path,), None, "http://127.0.0.1:9", algorithm=override)
        with closing(Adapter(settings, lambda _: None)) as adapter:
            (source,) = adapter.sources()
            with pytest.raises(
                ConfigError, match=rf"{name}\.yaml: spec\.algorithm: 'ipa-sets': accepted under Seldon Core"
            ):
                adapter.loop(source)
