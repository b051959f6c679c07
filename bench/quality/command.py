"""`seclude-bench quality`: how many facts summaries keep, beside what anybody could do without reading the chat."""

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.engine import Say
from bench.output import say, silent
from bench.quality import report
from bench.quality.chat import Chat, load_chats
from bench.quality.engines import PLAIN, Engine, highlights
from bench.quality.report import Trial
from bench.quality.score import score
from bench.quality.speed import speed
from bench.result import Figure
from bench.run import MODEL
from inference.config import LANGUAGE, SUMMARISER
from inference.config import MODEL as MODEL_PLACE
from inference.engine.encoder import SentenceEncoder
from seclude.errors import ConfigError

HERE: Final = Path(__file__).parent
OPEN: Final = HERE / "open"
SEALED: Final = HERE / "sealed"
OURS: Final = "highlights"
SLOW_MS: Final = 1000  # a chat that took longer is told of, so that nobody wonders whether the command still runs
EXAMPLE: Final = """examples:
  seclude-bench quality --misses
  seclude-bench quality --chats DIR --engine highlights --engine random
  seclude-bench quality --summariser DIR --engine highlights --engine last
  seclude-bench quality --speed

The claims are about the first engine. Exit status: 0 they hold, 1 one does not, 2 wrong usage.
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "quality",
        help="facts that summaries keep, and what they invent",
        description="Summarise chats whose facts are known, and count what is kept, invented and repeated.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--chats", default="open", metavar="DIR", help="a folder of chats; or open, or sealed (default: open)")
    add("--sealed", action="store_true", help="allow the half that is kept for a finished version")
    add("--engine", action="append", choices=(OURS, *PLAIN), help="may be given several times (default: all)")
    add("--model", type=Path, default=MODEL, metavar="DIR", help=f"sentence encoder (default: {MODEL})")
    add("--language-model", type=Path, metavar="DIR", help="score the abstracts of this one, before all others")
    add("--summariser", type=Path, metavar="DIR", help="likewise")
    add("--misses", action="store_true", help="print what the first engine missed and invented")
    add("--show", action="store_true", help="print the summaries of the first engine")
    add("--speed", action="store_true", help="measure what highlights cost, and nothing else")
    add("--json", type=Path, metavar="FILE", help=f"write all scores, schema {report.SCHEMA}")
    add("--quiet", action="store_true", help="no progress on standard error")
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    chats = load_chats(_folder(flags))
    if flags.speed:
        return _deliver({}, speed(chats.values(), SentenceEncoder(flags.model)), flags)
    with ExitStack() as stack:
        trials = run(chats, _engines(flags, stack), silent if flags.quiet else say)
    own = next(iter(trials.values()))
    if flags.show:
        for trial in own:
            print(f"\n{trial.name}\n{trial.made.text}")
    if flags.misses:
        print("\n".join(report.misses(own)))
    kinds = report.recall_by(report.language_of, "language", trials)
    print("\n".join(["", *report.by_chat(own), "", *report.by_engine(trials), "", *kinds, ""]))
    print("".join(f"{line}\n" for line in report.fallbacks(trials)), end="")
    return _deliver(trials, report.claims(own), flags)


def run(chats: Mapping[str, Chat], engines: Mapping[str, Engine], tell: Say) -> dict[str, list[Trial]]:
    """Let every engine summarise every chat."""
    trials: dict[str, list[Trial]] = {}
    for engine, make in engines.items():
        tell(f"{engine}: {len(chats)} chats")
        trials[engine] = []
        for number, (name, chat) in enumerate(chats.items(), 1):
            trials[engine] += (tried := [Trial(name, chat, made, score(chat, made.text)) for made in make(chat)])
            if (spent := sum(trial.made.cpu_ms for trial in tried)) > SLOW_MS:
                tell(f"{engine}: {number} of {len(chats)}, {name}, took {spent / 1000:.0f} s of CPU time")
    return trials


def _engines(flags: argparse.Namespace, stack: ExitStack) -> dict[str, Engine]:
    """Load what was asked for, until the stack is closed; models that write come first."""
    engines: dict[str, Engine] = {}
    for place, folder in {LANGUAGE: flags.language_model, SUMMARISER: flags.summariser}.items():
        if folder is not None:
            from bench.quality.models import writing  # most of a worker, which nothing else here needs

            engines[folder.resolve().name] = stack.enter_context(writing({MODEL_PLACE: flags.model, place: folder}))
    for name in flags.engine or [OURS, *PLAIN]:
        engines[name] = highlights(SentenceEncoder(flags.model)) if name == OURS else PLAIN[name]
    return engines


def _folder(flags: argparse.Namespace) -> Path:
    """Return where the chats are. Raises ConfigError for the sealed ones if that was not asked for in so many words."""
    folder = {"open": OPEN, "sealed": SEALED}.get(flags.chats, Path(flags.chats))
    if _is_sealed(folder) and not flags.sealed:
        raise ConfigError("these chats are kept for a finished version: --sealed runs them")
    return folder


def _is_sealed(folder: Path) -> bool:
    return folder.resolve().is_relative_to(SEALED.resolve())


def _deliver(trials: report.Trials, figures: list[Figure], flags: argparse.Namespace) -> int:
    print("\n".join(report.verdicts(figures)))
    sealed = _is_sealed(_folder(flags))
    if sealed:
        print("\nThis was the sealed half.")
    if flags.json is not None:
        try:
            flags.json.write_bytes(report.as_json(trials, figures, sealed=sealed))
        except OSError as exc:
            raise ConfigError(f"{exc.filename}: {exc.strerror}") from None
    return 0 if all(figure.good for figure in figures) else 1
