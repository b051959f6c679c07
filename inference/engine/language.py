"""Whether a text is English: the cue words and the rules of writing know no other language, and must not guess.

Common words decide, counted against the common words of languages that share its letters. Words that two of the
languages share (`in`, `am`, `me`) are not counted for the others.
"""

import re
from collections.abc import Iterable
from typing import Final

from inference.engine.tongues import english, german, hindi, portuguese, spanish, turkish

# The signs that make a vowel in Devanagari are no letters to `re`, and belong to their word all the same.
_WORD: Final = re.compile(r"(?:[^\W\d_]|[\u0900-\u0903\u093a-\u094f])+(?:'[^\W\d_]+)*")
_TYPOGRAPHIC: Final = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")

ENGLISH: Final = frozenset(
    """
    the and you your yours that this these those with have has had was were are is been being be not but for from they
    them their there then than what when where which who why how will would can could should shall may might must of
    to it its it's i'm i'll i've don't didn't doesn't isn't can't won't that's what's let's we're you're they're we'll
    we she he her his him our us my mine all any some every each both only just very really too also about after again
    before because if into out over under until up off or as by at do does did done go going goes gone went get got
    getting make made take took taking come came coming see saw say said think thought know knew want need like look
    looking find give tell told ask feel try leave call keep let put bring brought help work works working good great
    nice well better best bad new old big little small long last first next right left other same another more most
    much many few lot thing things time day days week today tomorrow tonight yesterday morning evening night year home
    house school here now still already yet ever never always maybe sure ok okay yes yeah thanks thank please sorry
    hello hey hi late early tired busy ready happy sick hungry cold hot free love hope wait stop start people man guys
    everyone someone anyone nobody something anything nothing dont cant didnt doesnt isnt wont youre thats pls
    plz thx tmrw tmr gonna wanna gotta kinda lol btw idk meeting dinner lunch party friday saturday sunday monday
    tuesday wednesday thursday money car dog cat kids mom mum dad friend friends phone room book
    """.split()  # noqa: SIM905 (a list of words reads as one)
)
_ELSEWHERE: Final = """
    le la les des du une et est pas je tu il elle nous vous ils elles que qui quoi pour dans avec sur mais ou où donc
    c'est j'ai t'as oui non merci demain aujourd'hui ce cette ça va bien très tout plus faire fait être avoir chez
    il lo gli e è non io tu lui lei noi voi loro per con da ma quando dove chi come molto bene sì grazie domani oggi
    questo questa che di della sono ho hai ha abbiamo anche più tutto una nel sul ci
    het een en niet ik jij wij zij zijn maar ook nog als kan heb hebben voor met op aan van naar morgen vandaag dank
    och att det är inte jag vi som på för med av till har ska kan nej tack
    nie tak jest się na co jak ale czy mam masz dzisiaj jutro proszę dzięki
"""  # French, Italian, Dutch, Swedish, Polish
OTHERS: Final = frozenset(
    " ".join((_ELSEWHERE, *(module.TONGUE.common for module in (german, hindi, portuguese, spanish, turkish)))).split()
) - (ENGLISH | frozenset(english.TONGUE.common.split()))


def plain(text: str) -> str:
    """Return a text of the same length with straight apostrophes and quotation marks, as the patterns have them."""
    return text.translate(_TYPOGRAPHIC)


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return _WORD.findall(plain(text).lower())


def looks_english(words: Iterable[str]) -> bool:
    """Whether common English words are there, and more of them than of other languages."""
    english = others = 0
    for word in words:
        english += word in ENGLISH
        others += word in OTHERS
    return english > others
