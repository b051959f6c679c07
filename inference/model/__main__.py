"""The `seclude-model` command: its arguments and its exit statuses."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from inference.model import verbs
from inference.model.pins import MINILM, MODELS
from seclude.errors import ConfigError, Error

EXAMPLE: Final = """\
example:
  seclude-model install                    # into models/all-minilm-l6-v2 under the current folder
  seclude-model import exports/my-bart     # a model of your own, into models/my-bart
  seclude-model check models/my-bart

Exit status: 0 done or already done, 1 failed or found wanting, 2 wrong arguments or folder."""
MAX_THREADS: Final = 256  # as many cores has no machine that this was tried on
MAX_SECONDS: Final = 3600


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before a verb imports onnxruntime, whichever is installed
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _terminated))
        try:
            outcome: verbs.Outcome = arguments.run(arguments)
        except Error as exc:
            sys.stderr.write(f"seclude-model: {exc}\n")
            return 2 if isinstance(exc, ConfigError) else 1
        except ModuleNotFoundError as exc:
            if (exc.name or "").partition(".")[0] in ("inference", "seclude"):
                raise  # a module of our own that is not there is a broken installation
            sys.stderr.write(f"seclude-model: {exc.name} is not installed; run: pip install 'seclude[worker]'\n")
            return 2
        except KeyboardInterrupt:
            sys.stderr.write("seclude-model: interrupted\n")
            return 130  # 128 + SIGINT, as shells report it
    answer = json.dumps(outcome.document, indent=2) if arguments.json else outcome.text
    sys.stdout.write(f"{answer}\n")
    return outcome.status


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # the same way out as Ctrl-C, which clears the scratch folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seclude-model",
        description="Bring the models that a worker runs, and look at those that are there.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = partial(_add, parser.add_subparsers(required=True, metavar="COMMAND"))
    place, folder, threads = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    place.add_argument("--dir", type=Path, default=Path("models"), help="folder of all models (default: models)")
    folder.add_argument("folder", type=Path, metavar="DIR", help="folder of one model")
    threads.add_argument("--threads", type=_whole(1, MAX_THREADS), default=1, help="of a run (default: 1)")

    what = "download a pinned model and put it in place"
    verb = add("install", verbs.install_model, what, "all-minilm-l6-v2 --dir models", [place])
    verb.add_argument("name", nargs="?", default=MINILM.name, choices=MODELS, help=f"default: {MINILM.name}")

    what = "show the models that can be installed"
    add("list", verbs.list_models, what, "--json", [place])

    what = "copy the files that count of a model of your own, and check it"
    verb = add("import", verbs.import_model, what, "exports/my-bart --name my-bart", [place, folder, threads])
    verb.add_argument("--name", help="name of its folder under --dir, and in answers (default: that of DIR)")

    what = "turn a GGUF file of the Llama kind into a model folder"
    verb = add("convert", verbs.convert_model, what, "my-model.gguf --out models/my-model")
    verb.add_argument("gguf", type=Path, metavar="GGUF", help="the file")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")

    what = "show a model's layout, inputs and sizes, and whether requests may share its runs"
    add("inspect", verbs.inspect_model, what, "models/my-bart", [folder])

    what = "compare a model with its pins, and try whether it keeps requests apart"
    add("check", verbs.check_model, what, "models/all-minilm-l6-v2", [folder, threads])

    what = "measure a model on this machine"
    verb = add("bench", verbs.bench_model, what, "models/my-bart --seconds 10", [folder, threads])
    seconds = _whole(1, MAX_SECONDS)
    verb.add_argument("--seconds", type=seconds, default=20, help="to measure for, loading left out (default: 20)")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], verbs.Outcome],
    what: str,
    example: str,
    parents: Sequence[argparse.ArgumentParser] = (),
) -> argparse.ArgumentParser:
    """Add a verb."""
    epilog = f"example: seclude-model {name} {example}"
    verb = commands.add_parser(name, parents=parents, help=what, description=what, epilog=epilog)
    verb.add_argument("--json", action="store_true", help="answer in JSON on standard output")
    verb.set_defaults(run=run)
    return verb


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number between two limits."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be {least} to {most}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
