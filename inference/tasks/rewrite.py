"""Another wording of a draft, by rules, offered as a suggestion. Tones that need a language model are refused."""

from collections.abc import Callable, Mapping
from typing import Final

from inference.engine.language import looks_english, words_of
from inference.tasks.edits import Draft
from inference.tasks.professional import formalise
from inference.tasks.proofread import proofread
from inference.tasks.shorter import shorten
from inference.tasks.words import SPELLING
from seclude.tasks import RewriteRequest, RewriteResponse, Tone

RULES: Final[Mapping[Tone, Callable[[Draft], None]]] = {
    "proofread": proofread,
    "shorter": shorten,
    "professional": formalise,
}

NOT_ENGLISH: Final = "not English as far as can be told: the rules know no other language"
NOTHING: Final = "the rules found nothing to change"


def rewrite(request: RewriteRequest) -> RewriteResponse:
    """Return a suggestion; the tone must be one of `RULES`."""
    draft = Draft(request.text)
    if _is_english(request.text):
        RULES[request.tone](draft)
    changed = draft.text != request.text
    if not draft.text.strip():  # a draft of fillers alone: there is nothing shorter to say
        draft, changed = Draft(request.text), False
    note = None if changed else (NOTHING if _is_english(request.text) else NOT_ENGLISH)
    return RewriteResponse(
        kind="suggestion",
        tone=request.tone,
        text=draft.text,
        changed=changed,
        changes=tuple(draft.changes),
        note=note,
    )


def _is_english(text: str) -> bool:
    """Whether the words are English once the misspelt ones that we know are put right."""
    return looks_english(SPELLING.get(word, word) for word in words_of(text))
