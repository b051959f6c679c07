"""Apps that speak OpenAI's API: its own library, in front of `seclude proxy`, which is a process like any other."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai as library

from tests.running import ROOT

openai: Any = library  # whose types know no plain dictionaries, as people write messages


@asynccontextmanager
async def proxied(trust_file: Path, **settings: object) -> AsyncIterator[Any]:
    """Run `seclude proxy`, and yield OpenAI's client before it, with these settings."""
    command = [sys.executable, "-m", "seclude.client", "proxy", "--trust", str(trust_file), "--json"]
    process = await asyncio.create_subprocess_exec(
        *command, "--listen", "127.0.0.1:0", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        url = json.loads(await process.stdout.readline())["listening"]
        async with openai.AsyncOpenAI(base_url=url, **settings) as app:
            yield app
    finally:
        process.terminate()
        await process.wait()
