"""What messages do, read in six languages as chats write them, and how much work reading may be."""

import importlib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engine.tongues import figures, folding
from inference.engine.tongues.folding import fold, fold_word
from inference.engine.tongues.phrasebook import KINDS, Piece, Tongue
from inference.engine.tongues.reading import TONGUES, Signs, guess, read

MAX_TEXT = 10_000  # characters, as a request may hold in one message


def kinds_of(signs: Signs) -> set[str]:
    return {kind for kind in KINDS if kind != "idiom" and getattr(signs, kind)}


def written(text: str, tongue: str | None = None) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in read(text, tongue).spans]


@pytest.mark.parametrize(
    ("tongue", "text", "kinds"),
    [
        ("en", "let's take the early one", {"decision"}),
        ("en", "i'll bring it tmrw", {"promise", "date"}),
        ("en", "im bringing plates", {"promise"}),
        ("en", "can u send me the code", {"request", "question"}),
        ("en", "where is it", {"question"}),
        ("en", "the boiler is broken", {"problem"}),
        ("en", "half 7 at the station", {"time", "place"}),
        ("en", "2 tickets for 30 quid", {"amount"}),
        ("en", "it's cancelled", {"change"}),
        ("es", "quedamos a las 8 en la estacion", {"decision", "time", "place"}),
        ("es", "yo llevo el pan mañana", {"promise", "date"}),
        ("es", "puedes traer platos", {"request"}),
        ("es", "cuanto cuesta", {"question"}),
        ("es", "llego tarde, no puedo entrar", {"problem"}),
        ("es", "50 euros por persona", {"amount"}),
        ("es", "no a las 11 sino a las 12:40", {"change", "time", "negation"}),
        ("es", "nos vemos pasado mañana", {"date"}),
        ("pt", "combinado, às 19h30 na escola", {"decision", "time", "place", "agreement"}),
        ("pt", "eu levo o bolo", {"promise"}),
        ("pt", "vc pode trazer pratos", {"request"}),
        ("pt", "quem leva a chave", {"question"}),
        ("pt", "amanha n posso", {"date", "problem", "negation"}),
        ("pt", "deu R$ 236, divide por 4", {"amount", "decision"}),
        ("pt", "foi adiado para sexta", {"change", "date"}),
        ("de", "abgemacht, halb acht am Bahnhof", {"decision", "time", "place"}),
        ("de", "ich bring den Grill mit", {"promise"}),
        ("de", "kannst du Brot holen", {"request"}),
        ("de", "wer hat den Schlüssel", {"question"}),
        ("de", "die Heizung geht leider nicht", {"problem", "negation"}),
        ("de", "uebermorgen um neun", {"date", "time"}),
        ("de", "für 20 Personen", {"amount"}),
        ("de", "um 18 Uhr statt um 17 Uhr", {"change", "time"}),
        ("tr", "anlaştık, yarın saat 8'de buluşalım", {"decision", "date", "time"}),
        ("tr", "ben getiririm", {"promise"}),
        ("tr", "ekmek alıcam", {"promise"}),
        ("tr", "yarin gelir misin", {"request", "question", "date"}),
        ("tr", "kim geliyor", {"question"}),
        ("tr", "gelemiyorum hastayım", {"problem", "change"}),
        ("tr", "adam başı 200 lira", {"amount"}),
        ("tr", "maç iptal oldu", {"change"}),
        ("tr", "cumartesiye alalım, 3. katta", {"date", "place"}),
        ("hi", "pakka, kal 8 baje milte hain", {"decision", "date", "time"}),
        ("hi", "main cake laaunga", {"promise"}),
        ("hi", "kya tum la sakte ho", {"request", "question"}),
        ("hi", "parso nahi aa paunga", {"date", "problem", "negation"}),
        ("hi", "500 rupaye de dena", {"amount", "request"}),
        ("hi", "mandir ke peeche", {"place"}),
        ("hi", "Sunday cancel ho gaya", {"change", "date"}),
        ("hi", "कल सुबह 8 बजे मिलते हैं", {"date", "time", "decision"}),
        ("hi", "मैं केक लाऊँगी", {"promise"}),
        ("hi", "चाबी किसके पास है", {"question"}),
        ("hi", "५०० रुपये", {"amount"}),
    ],
)
def test_a_message_shows_what_it_does(tongue: str, text: str, kinds: set[str]) -> None:
    assert kinds <= kinds_of(read(text, tongue))


@pytest.mark.parametrize(
    ("tongue", "text"),
    [
        ("en", "what a lovely walk"),
        ("en", "let's see"),
        ("en", "i'll be honest"),
        ("en", "I can't wait"),
        ("es", "qué tal"),
        ("es", "hasta mañana"),
        ("pt", "tudo bem?"),
        ("pt", "até amanhã"),
        ("de", "wie gehts?"),
        ("de", "bis morgen"),
        ("tr", "nasılsın?"),
        ("tr", "iyi akşamlar"),
        ("tr", "sanırım"),
        ("hi", "kaise ho?"),
        ("hi", "koi baat nahi"),
    ],
)
def test_idioms_and_courtesies_tell_nothing(tongue: str, text: str) -> None:
    assert not kinds_of(read(text, tongue)) - {"greeting", "filler", "agreement", "negation"}


@pytest.mark.parametrize(
    ("tongue", "text"),
    [
        ("en", "Hi all, thanks!! xx"),
        ("es", "vale, muchas gracias jajaja"),
        ("pt", "blz, obrigada kkkk"),
        ("de", "Danke, passt 👍🏽"),
        ("tr", "tamam, teşekkürler 😂"),
        ("hi", "theek hai, dhanyavad 🙏"),
        ("hi", "ठीक है"),
        (None, "👍"),
        (None, "<Media omitted>"),
        (None, "https://example.org/12345"),
    ],
)
def test_small_talk_is_known(tongue: str | None, text: str) -> None:
    assert read(text, tongue).small_talk


@pytest.mark.parametrize("text", ["ok, at 7", "danke, 300 Euro", "gracias, yo llevo el pan", "super, 4711#"])
def test_courtesies_beside_a_fact_are_no_small_talk(text: str) -> None:
    assert not read(text).small_talk


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("mañana a las 8", "MANANA A LAS 8"),
        ("às 9 na estação", "as 9 na estacao"),
        ("übermorgen", "uebermorgen"),
        ("yarın değil", "YARIN DEGIL"),
        ("İPTAL", "iptal"),
        ("plz", "plzzzzz"),
        ("हाँ, ज़रूर", "हां, जरूर"),
        ("8 baje", "८ baje"),
        ("can't come", "can\u2019t come"),
    ],
)
def test_spelling_makes_no_difference(text: str, same: str) -> None:
    expected = kinds_of(read(text, guess([text])))
    assert expected
    assert kinds_of(read(same, guess([text]))) == expected
    assert kinds_of(read(unicodedata.normalize("NFD", text), guess([text]))) == expected


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("tongue", "text", "kind", "part"),
    [
        ("tr", "İĞÜŞ 😂 yarın SAAT 9'DA", "time", "SAAT 9'DA"),
        ("de", "Größe übermorgen", "date", "übermorgen"),
        ("de", "erst am 5. Mai", "date", "am 5. Mai"),
        ("es", "¡Será mañana!", "date", "mañana"),
        ("hi", "ज़रा सुबह ८ बजे आना", "time", "सुबह ८ बजे"),
        ("pt", "é só R$ 236.", "amount", "R$ 236"),
    ],
)
def test_spans_are_those_of_the_text_as_given(
    form: Literal["NFC", "NFD"], tongue: str, text: str, kind: str, part: str
) -> None:
    text, part = unicodedata.normalize(form, text), unicodedata.normalize(form, part)
    assert (kind, part) in written(text, tongue)


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("at 17:30", "time", "at 17:30"),
        ("Abfahrt 16.30, gleicher Ort", "time", "16.30"),
        ("chego 13h30", "time", "13h30"),
        ("on 2026-05-04", "date", "2026-05-04"),
        ("el 3/5", "date", "3/5"),
        ("am 12.5. dann", "date", "12.5."),
        ("the 14th works", "date", "14th"),
        ("was £12.50.", "amount", "£12.50"),
        ("1.450 ₺", "amount", "1.450 ₺"),
        ("₹500", "amount", "₹500"),
        ("4kg", "amount", "4kg"),
        ("at 50 euros", "amount", "50 euros"),
        ("call +44 20 7946 0958", "phone", "+44 20 7946 0958"),
        ("0171 2345678", "phone", "0171 2345678"),
        ("34 ABC 123", "plate", "34 ABC 123"),
        ("4711# opens it", "code", "4711#"),
        ("see www.example.org/3 now", "link", "www.example.org/3"),
    ],
)
def test_figures_are_told_apart(text: str, kind: str, part: str) -> None:
    assert written(text) == [(kind, part)]


@pytest.mark.parametrize("text", ["since 2019", "3.14159", "version 1.2.3", "Voice message (1:12)", "5:0"])
def test_other_numbers_are_left_alone(text: str) -> None:
    assert not written(text)


@pytest.mark.parametrize(
    ("text", "own", "kind"),
    [("oldu mi", "tr", "question"), ("9 de", "tr", "time"), ("was jetzt", "de", "question")],
)
def test_a_phrase_that_other_tongues_have_counts_only_in_its_own(text: str, own: str, kind: str) -> None:
    assert getattr(read(text, own), kind)
    assert not getattr(read(text), kind)
    assert not getattr(read(text, "en"), kind)


def test_phrases_of_the_chats_own_tongue_win_over_others() -> None:
    assert not read("4 Stück", "de").problem  # not stuck


@pytest.mark.parametrize("text", ["I'll bring the bread, ok?", "yo llevo el pan, vale?", "ich bring Brot, ok?"])
def test_a_tag_asks_nothing(text: str) -> None:
    signs = read(text)
    assert signs.promise
    assert not signs.question


@pytest.mark.parametrize("text", ["shall I bring bread?", "yo llevo el pan o tú?", "wir treffen uns um acht?"])
def test_what_is_asked_is_not_stated(text: str) -> None:
    signs = read(text)
    assert signs.question
    assert not signs.promise
    assert not signs.decision


@pytest.mark.parametrize("text", ["não vou levar", "ich bring nichts mit", "main nahi laaunga"])
def test_what_is_denied_is_no_promise(text: str) -> None:
    assert not read(text, guess([text])).promise


@pytest.mark.parametrize(
    ("tongue", "texts"),
    [
        ("en", ["are we still on for tomorrow", "yes I think so"]),
        ("es", ["ya estoy en la puerta", "vale, voy"]),
        ("pt", ["já tô na porta", "vc vem com a gente?"]),
        ("de", ["ich bin schon da", "kommt ihr auch?"]),
        ("tr", ["ben geldim siz neredesiniz", "çok var mı daha"]),
        ("hi", ["main aa gaya hu", "tum log kahan ho"]),
        ("hi", ["मैं आ गया हूँ"]),
        (None, ["12:30", "👍"]),
        (None, []),
    ],
)
def test_the_tongue_of_a_chat_is_guessed(tongue: str | None, texts: list[str]) -> None:
    assert guess(texts) == tongue


HOSTILE = [
    "a? ",
    "can ",
    "ich kann nicht ",
    "i will not ",
    "1 ",
    "1.1.",
    "$1",
    "+1",
    "9:9",
    "ha",
    "rs",
    "h",
    "0 ",
    "www.",
    "<",
    "a'",
    "बजे ",
    "aı",
    "İ",
    "\u0301",
    "¿?",
    "um 8 euro ",
    "(12) ",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_comparing_phrases_takes_work_in_proportion_to_the_text(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    fits = Piece.fits

    def counted(self: Piece, word: folding.Word) -> bool:
        nonlocal compared
        compared += 1
        return fits(self, word)

    monkeypatch.setattr(Piece, "fits", counted)
    work = []
    for size in (MAX_TEXT // 4, MAX_TEXT // 2):
        compared = 0
        read((piece * size)[:size], "de")
        work.append(compared)
    assert work[1] <= 2 * work[0] + 1000
    assert work[1] <= 200 * MAX_TEXT


def patterns() -> Iterable[re.Pattern[str]]:
    for module in (folding, figures):
        for value in vars(module).values():
            if isinstance(value, re.Pattern):
                yield value
            elif isinstance(value, tuple):
                yield from (part[1] for part in value if isinstance(part, tuple) and isinstance(part[1], re.Pattern))


@pytest.mark.parametrize("pattern", list(patterns()), ids=lambda pattern: pattern.pattern[:30])
def test_no_unbounded_repetition_stands_within_another(pattern: re.Pattern[str]) -> None:
    parser: Any = importlib.import_module("re._parser")

    def check(tree: Any, *, repeated: bool) -> None:
        for operation, argument in tree:
            unbounded = "REPEAT" in str(operation) and argument[1] is parser.MAXREPEAT
            assert not (unbounded and repeated)
            for part in argument if isinstance(argument, (tuple, list)) else ():
                for branch in part if isinstance(part, list) else (part,):
                    if isinstance(branch, parser.SubPattern):
                        check(branch, repeated=repeated or unbounded)

    check(parser.parse(pattern.pattern), repeated=False)


@given(st.text(max_size=200), st.sampled_from([None, "en", "es", "pt", "de", "tr", "hi"]))
def test_any_text_is_read_and_its_spans_lie_in_it(text: str, tongue: str | None) -> None:
    signs = read(text, tongue)
    assert all(0 <= span.start < span.end <= len(text) for span in signs.spans)
    starts = [span.start for span in signs.spans]
    assert starts == sorted(starts)


@given(st.text(max_size=200))
def test_every_word_is_where_it_says(text: str) -> None:
    for word in fold(text).words:
        assert fold_word(text[word.start : word.end]) == word.key


def test_what_holds_words_of_a_message_does_not_print_them() -> None:
    folded = fold("the secret word")
    assert "secret" not in repr(folded) + repr(folded.words[1]) + repr(read("the secret word"))


@pytest.mark.parametrize("tongue", TONGUES, ids=lambda tongue: tongue.code)
@pytest.mark.parametrize("kind", KINDS)
def test_a_table_says_nothing_twice(tongue: Tongue, kind: str) -> None:
    table: str = getattr(tongue, kind)
    phrases = [" ".join(part.split()) for part in table.replace("\n", ",").split(",") if part.strip()]
    assert len(phrases) == len(set(phrases))


@pytest.mark.parametrize("tongue", TONGUES, ids=lambda tongue: tongue.code)
def test_every_list_of_a_tongue_is_used(tongue: Tongue) -> None:
    text = " ".join(getattr(tongue, kind) for kind in KINDS)
    assert all(f"<{name}>" in text for name in tongue.lists)
