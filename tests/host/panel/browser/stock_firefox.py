"""Starts Firefox for playwright, and answers the one command of WebDriver BiDi that its long-term release lacks.

Playwright 1.65 opens no page where the media cannot be emulated. Remove this file once Firefox ESR has the command.
"""

import asyncio
import json
import re
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

LISTENS = "WebDriver BiDi listening on "  # as playwright reads it, too
LACKING = "emulation.setMediaFeaturesOverride"
FRAMES = {"max_size": None, "ping_interval": None, "compression": None}


async def run(*command):
    firefox = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    async for line in firefox.stderr:
        if found := re.search(LISTENS + r"(ws://\S+)", line.decode()):
            break
    else:
        sys.exit("Firefox has ended")

    async def join(playwright):
        async with connect(f"{found[1]}/session", **FRAMES) as browser, asyncio.TaskGroup() as both:
            both.create_task(answers(browser, playwright))
            both.create_task(commands(playwright, browser))

    async with serve(join, "127.0.0.1", 0, **FRAMES) as server:
        print(f"{LISTENS}ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)
        await firefox.communicate()


async def commands(playwright, browser):
    async for text in playwright:
        command = json.loads(text)
        if command["method"] == LACKING:
            await playwright.send(json.dumps({"type": "success", "id": command["id"], "result": {}}))
        else:
            await browser.send(text)
    await browser.close()


async def answers(browser, playwright):
    async for text in browser:
        await playwright.send(text)
    await playwright.close()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
