"""All parties on one machine: supervised, in the foreground, until Ctrl-C.

    python deploy/local.py --workers 2 --state run

The state folder gets a SIMULATED attestation platform, a ledger with three witnesses, the workers' configuration and
manifest, and the device's trust file; all but platform and ledger are made anew at each start. When all parties are
ready it gets `stack.json` too, which says where everything listens and is written again whenever a party was restarted.
One machine is no privacy: relay, operator, ledger and witnesses must be different people.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.party import StackError
from deploy.stack import PERIOD_SECONDS, Stack


async def serve(stack: Stack) -> None:
    """Run a stack until SIGINT or SIGTERM, then end it cleanly."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    starting = asyncio.create_task(stack.start())
    stopping = asyncio.create_task(ended.wait())
    keeping: asyncio.Task[None] | None = None
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            stack.say(f"ready; in another terminal: export SECLUDE_TRUST={stack.trust_file.resolve()}")
            stack.say("then, for example: seclude summarize deploy/demo/chat.txt; Ctrl-C here ends all parties")
            stack.say(f"what everybody can see of it: http://{stack.parties['ledger'].listen}/")
            keeping = asyncio.create_task(stack.supervise())
            await asyncio.wait({stopping, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                keeping.result()
                await stopping  # every party has refused to go on; what they said stands above
    finally:
        for task in (starting, stopping, keeping):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in (starting, stopping, keeping) if t is not None), return_exceptions=True)
        await stack.stop()


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="deploy/local.py",
        description="Run all parties on this machine until Ctrl-C. Attestation is SIMULATED.",
        epilog="example: python deploy/local.py --workers 2 --state run",
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="size of the pool (default: 2)")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="folder for keys, trust file and logs")
    parser.add_argument("--model", type=Path, default=Path("models/all-minilm-l6-v2"), metavar="DIR")
    parser.add_argument("--language-model", type=Path, metavar="DIR", help="for chats, abstracts and tones")
    parser.add_argument("--summariser", type=Path, metavar="DIR", help="for abstracts, instead of the language model")
    parser.add_argument("--relay", default="127.0.0.1:0", metavar="HOST:PORT", help="where devices connect")
    parser.add_argument("--period", type=int, default=PERIOD_SECONDS, metavar="SECONDS", help="length of an epoch")
    parser.add_argument(
        "--renew-requests", type=int, metavar="N", help="start a worker anew after so many (default: as worker.toml)"
    )
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error("--workers must be at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = parse_arguments(argv)
    stack = Stack(
        state=arguments.state,
        workers=arguments.workers,
        model=arguments.model,
        language_model=arguments.language_model,
        summariser=arguments.summariser,
        period_seconds=arguments.period,
        renew_requests=arguments.renew_requests,
        relay_listen=arguments.relay,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    folders = {"--model": stack.model, "--language-model": stack.language_model, "--summariser": stack.summariser}
    for flag, folder in folders.items():
        if folder is not None and not folder.is_dir():
            what = f"{flag}: there is no folder {folder}: install a model with seclude-model (docs/models.md)"
            print(f"deploy/local.py: {what}", file=sys.stderr)
            return 2
    status = 0
    try:
        asyncio.run(serve(stack))
    except* StackError as group:
        status = 1
        for exc in group.exceptions:
            print(f"deploy/local.py: {exc}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
