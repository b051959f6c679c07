"""What an experiment found, and what all of them have in common: the texts that they use, and how many tokens."""

from dataclasses import dataclass
from typing import Final

STEPS: Final = 12  # tokens that each request writes: what leaks from row to row shows at once, or in the next token
TRIES: Final = 4  # times that the other rows are filled otherwise

# Of all lengths, so that rows are ragged; of several alphabets, so that they share few tokens.
TEXTS: Final = (
    "Shall we meet at seven?",
    "No.",
    "The bus leaves at 08:40 from stop C, and Priya has the tickets; whoever is late pays for the taxi. " * 2,
    "Kannst du bitte den Schlüssel mitbringen? Ich bin erst gegen halb neun da.",
    "कल शाम सात बजे मिलते हैं।",
    "€ 240, split four ways: 60 each. Jonas collects it by Friday, in cash or by transfer.",
    "ok " * 20,
    "¿Quién trae la llave del sótano? Yo no puedo antes de las ocho.",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One experiment."""

    tried: str
    found: str
    ok: bool = True


def verdict(tried: str, same: bool, good: str, bad: str) -> Finding:
    return Finding(tried, good if same else bad, same)
