"""The door to every command: it imports what the command needs, or says in one sentence what is not installed.

It uses the standard library only, so that it can speak where packages are missing.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

MISSING_STATUS: Final = 2  # as for a wrong configuration: starting again will not help


def enter(command: str, module: str, extra: str, arguments: Sequence[str] | None) -> int:
    """Run `main` of a module and return its exit status; `extra` is what brings the packages it imports."""
    try:
        main: Callable[[Sequence[str] | None], int] = import_module(module).main
    except ModuleNotFoundError as exc:
        missing = exc.name or ""
        if missing.partition(".")[0] in ("seclude", module.partition(".")[0]):
            raise  # a module of our own that is not there is a broken installation, whatever was asked for
        print(f"{command}: {missing} is not installed; run: pip install 'seclude[{extra}]'", file=sys.stderr)
        return MISSING_STATUS
    return main(arguments)
