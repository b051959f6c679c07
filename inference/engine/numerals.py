"""Words that stand for numbers, days, months and currencies, in six languages, and what they stand for.

Words are compared as `fold_word` writes them. Left out are words that mean something else in another of the languages
(Turkish "on", ten; Spanish "once", eleven; German "um"): what cannot be told is not claimed.
"""
# ruff: noqa: RUF001 - Turkish has an i without a dot

from collections.abc import Iterable, Mapping
from typing import Final

from inference.engine.tongues.folding import fold_word

_COUNTING: Final = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
cero uno dos tres cuatro cinco seis siete ocho nueve diez - doce trece catorce quince dieciséis diecisiete dieciocho
zero - dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis dezessete dezoito
null eins zwei drei vier fünf sechs sieben acht neun zehn - zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn
sıfır - iki üç dört beş altı yedi sekiz dokuz
शून्य एक दो तीन चार पांच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह
"""
"""From 0 to 18, where there is such a word."""
_TENS: Final = """
twenty thirty forty fifty sixty seventy eighty ninety hundred
veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa cien
vinte trinta quarenta cinquenta sessenta setenta oitenta noventa cem
zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert
yirmi otuz kırk elli altmış yetmiş seksen doksan yüz
बीस तीस चालीस पचास साठ सत्तर अस्सी नब्बे सौ
"""
_OTHERS: Final = {
    2: "duas zwo",
    5: "पाँच",
    6: "छः",
    12: "dozen",
    14: "catorze",
    16: "dezasseis",
    19: "nineteen diecinueve dezenove neunzehn उन्नीस",
    200: "doscientos duzentos",
    300: "trescientos trezentos",
    1000: "thousand mil tausend हज़ार",
}
_GERMAN_UNITS: Final = "- ein zwei drei vier fünf sechs sieben acht neun"
_GERMAN_TENS: Final = "- - zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig"
JOINERS: Final = frozenset({"and", "y", "e", "und"})
"""Between the parts of a number: "treinta y cinco"."""

_DAYS: Final = """
monday mon lunes segunda montag pazartesi सोमवार
tuesday tue tues martes terça dienstag salı मंगलवार
wednesday wed miércoles quarta mittwoch çarşamba बुधवार
thursday thu thur thurs jueves quinta donnerstag perşembe गुरुवार
friday fri viernes sexta freitag cuma शुक्रवार
saturday sat sábado samstag sonnabend cumartesi शनिवार
sunday sun domingo sonntag pazar रविवार इतवार
"""
_MONTHS: Final = """
january jan enero janeiro januar jänner ocak जनवरी
february feb febrero fevereiro februar şubat फरवरी
march mar marzo março märz mart मार्च
april apr abril nisan अप्रैल
may mayo maio mai mayıs मई
june jun junio junho juni haziran जून
july jul julio julho juli temmuz जुलाई
august aug agosto ağustos अगस्त
september sep sept septiembre setembro eylül सितंबर
october oct octubre outubro oktober okt ekim अक्टूबर
november nov noviembre novembro kasım नवंबर
december dec diciembre dezembro dezember dez aralık दिसंबर
"""
_NEAR: Final = {
    "today": "today tonight hoy hoje heute bugün आज aaj",
    "tomorrow": "tomorrow tmrw tmr tmw tomorow tommorow tomorro mañana amanhã morgen yarın कल kal",
    "yesterday": "yesterday ayer ontem gestern dün कल kal",
    "weekend": "weekend wochenende haftasonu finde",
}
_CURRENCIES: Final = {
    "dollar": "$ usd dollar dollars bucks",
    "euro": "€ eur euro euros",
    "pound": "£ gbp pounds quid",
    "lira": "₺ try lira liraya tl",
    "rupee": "₹ inr rs rupee rupees rupaye रुपये रुपए",
    "real": "r$ brl reais",
    "yen": "¥ jpy yen",
    "franc": "chf francs franken",
    "percent": "% percent prozent porcento",
}
# Written small, these are mostly other words: "we may", "in the sun", "mar" (the sea), "try".
UNCLEAR: Final = frozenset(
    """
    may march mar sun sat wed mon fri dec jan try segunda quarta quinta
    """.split()  # noqa: SIM905 (a list of words reads as one)
)


def _folded(row: str) -> list[str]:
    return [fold_word(word) for word in row.split()]


def _numbers() -> dict[str, int]:
    found: dict[str, int] = {}
    for row in _COUNTING.splitlines():
        found |= {word: value for value, word in enumerate(_folded(row)) if word != "-"}
    for row in _TENS.splitlines():
        found |= {word: 10 * value for value, word in enumerate(_folded(row), start=2)}
    for value, row in _OTHERS.items():
        found |= dict.fromkeys(_folded(row), value)
    for ten, stem in enumerate(_folded(_GERMAN_TENS)[2:], start=2):
        found |= {f"{unit}und{stem}": 10 * ten + one for one, unit in enumerate(_folded(_GERMAN_UNITS)[1:], start=1)}
    return found


def _named(rows: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Return which names each word has; some have two, as the Hindi word for the day beside today."""
    found: dict[str, frozenset[str]] = {}
    for name, row in rows:
        for word in _folded(row):
            found[word] = found.get(word, frozenset()) | {name}
    return found


def _numbered(name: str, table: str) -> list[tuple[str, str]]:
    return [(f"{name} {number}", row) for number, row in enumerate(table.split("\n")[1:-1], start=1)]


NUMBERS: Final[Mapping[str, int]] = _numbers()
DATES: Final[Mapping[str, frozenset[str]]] = _named(
    [*_numbered("day", _DAYS), *_numbered("month", _MONTHS), *_NEAR.items()]
)
CURRENCIES: Final[Mapping[str, frozenset[str]]] = _named(_CURRENCIES.items())
