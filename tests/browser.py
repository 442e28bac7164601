"""A real headless Chromium, looked into by its DevTools protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import choreographer
import pytest

from tests.pages import CHROMIUM

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
WATCH = """
window.faults = [];
addEventListener("error", (e) => faults.push(e.message));
addEventListener("unhandledrejection", (e) => faults.push(String(e.reason)));
document.addEventListener("securitypolicyviolation", (e) => faults.push("blocked: " + e.blockedURI));
"""


class Tab:
    """A tab; ``requests`` are the URLs it has asked for."""

    def __init__(self, tab: Any) -> None:
        self._tab = tab
        self.requests: list[str] = []

    async def send(self, command: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        answer = await self._tab.send_command(command, params=parameters)
        assert "error" not in answer, answer
        return dict(answer["result"])

    async def open(self, url: str) -> None:
        """Go there; what goes wrong in the page from then on is in its ``faults``."""

        async def note(event: dict[str, Any]) -> None:
            self.requests.append(event["params"]["request"]["url"])

        self._tab.subscribe("Network.requestWillBeSent", note, repeating=True)
        await self.send("Network.enable")
        await self.send("Page.enable")
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        await self.send("Page.navigate", url=url)

    async def window(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """Be so wide and high (pixels), with a user who prefers that colour scheme."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression holds; AssertionError, with what the page says, after ``seconds``."""
        deadline = monotonic() + seconds
        while not await self.ask(f"!!({expression})"):
            assert monotonic() < deadline, f"{expression}: {await self.ask('document.body.innerText')}"
            await asyncio.sleep(0.05)

    async def text(self, selector: str = "body") -> str:
        """What a reader sees of an element."""
        return str(await self.ask(f"document.querySelector({selector!r})?.innerText"))


@asynccontextmanager
async def browsing() -> AsyncIterator[Tab]:
    """A browser with one tab, until the context ends."""
    async with choreographer.Browser(path=CHROMIUM, headless=True, enable_sandbox=False, enable_gpu=False) as browser:
        yield Tab(await browser.create_tab("about:blank"))
