"""`seclude-ledger`, and `python -m ledger`."""

from collections.abc import Sequence

from ledger import main as command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return command.main(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
