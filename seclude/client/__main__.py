"""`seclude`, and `python -m seclude.client`."""

from collections.abc import Sequence

from seclude.entry import enter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return enter("seclude", "seclude.client.main", "client", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
