"""A real browser, spoken to by the DevTools protocol over two pipes: what it shows is measured where it is laid out."""

import asyncio
import base64
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # which Chromium refuses to have as root, and tests may be
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--remote-debugging-pipe",
)
# The browser reads commands from descriptor 3 and answers on 4. An interpreter of its own moves them there, since in
# this one those numbers are taken by others.
MOVED: Final = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for end, number in zip(ends, (3, 4)):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
LIMIT: Final = 20.0  # seconds for one command; the first one waits for the start


def chromium() -> str:
    """Return the browser's program, or skip."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return found


@dataclass
class Tab:
    """One page in the browser."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    session: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result; what happens meanwhile is kept as events."""
        self.count += 1
        command = {"id": self.count, "method": method, "params": params}
        if self.session is not None:
            command["sessionId"] = self.session
        self.writer.write(json.dumps(command).encode() + b"\0")
        async with asyncio.timeout(LIMIT):
            while (message := await self._next()).get("id") != self.count:
                self.events.append(message)
        assert "error" not in message, message
        return dict(message["result"])

    async def _next(self) -> dict[str, Any]:
        return dict(json.loads((await self.reader.readuntil(b"\0"))[:-1]))

    async def happened(self, method: str) -> None:
        """Wait for an event, which is taken."""
        async with asyncio.timeout(LIMIT):
            while all(event.get("method") != method for event in self.events):
                self.events.append(await self._next())
        self.events = [event for event in self.events if event.get("method") != method]

    async def open(
        self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = False
    ) -> None:
        """Load a page as it is seen on a screen of that size, its own scripts switched off or on."""
        phone = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        await self.call("Page.navigate", url=url)
        await self.happened("Page.loadEventFired")

    async def evaluate(self, expression: str) -> Any:
        """Ask the page something; the tools may run this where the page itself may run nothing."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def texts(self, selector: str) -> list[str]:
        """Return what is shown of each element."""
        found = await self.evaluate(
            f"Array.from(document.querySelectorAll({json.dumps(selector)}), each => each.innerText)"
        )
        return [str(each) for each in found]

    async def roles(self) -> dict[str, list[str]]:
        """Return the accessible names by role, as a screen reader gets them."""
        tree = await self.call("Accessibility.getFullAXTree")
        names: dict[str, list[str]] = {}
        for node in tree["nodes"]:
            if not node.get("ignored"):
                role = str(node["role"]["value"])
                names.setdefault(role, []).append(str(node.get("name", {}).get("value", "")))
        return names

    async def picture(self) -> bytes:
        """Return the whole page as a PNG."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        answer = await self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def complaints(self) -> list[str]:
        """Return what the browser's console would show."""
        shown = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in shown]


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Tab]:
    """Start a browser with an empty profile, and end it."""
    program = chromium()
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    command = [sys.executable, "-I", "-c", MOVED, str(theirs_in), str(theirs_out), program, *FLAGS]
    process = await asyncio.create_subprocess_exec(
        *command,
        f"--user-data-dir={profile}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
        pass_fds=(theirs_in, theirs_out),
    )
    os.close(theirs_in)
    os.close(theirs_out)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)  # a picture of a long page is one message
    incoming, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb", buffering=0)
    )
    outgoing, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(ours_out, "wb", buffering=0)
    )
    tab = Tab(reader, asyncio.StreamWriter(outgoing, protocol, reader, loop))
    try:
        target = await tab.call("Target.createTarget", url="about:blank")
        attached = await tab.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab.session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Network", "Accessibility"):
            await tab.call(f"{domain}.enable")
        yield tab
    finally:
        outgoing.abort()
        incoming.close()
        try:
            async with asyncio.timeout(LIMIT):
                await process.wait()  # it ends when nobody can command it any more
        except TimeoutError:
            process.kill()
            await process.wait()
