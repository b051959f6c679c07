"""`seclude-witness`, and `python -m ledger.witness`."""

from collections.abc import Sequence

from seclude.entry import enter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return enter("seclude-witness", "ledger.witness.daemon", "ledger", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
