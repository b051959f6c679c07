"""Signs on the surface of a message that it matters: what it decides, promises, asks, or names.

A sentence that asks is never a decision or a promise: "Shall we say five?" names a time and settles nothing. Words are
English; digits, clock times, dates, currencies, links and question marks count in every language. Every pattern has
bounded repetitions, so that reading takes time linear in the text, whatever the text.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from inference.engine.language import plain, words_of
from seclude.tasks import Reason

# How likely a message with this sign belongs to the highlights, were it the only sign.
WEIGHTS: Final[dict[Reason, float]] = {
    "decision": 0.6,
    "promise": 0.5,
    "problem": 0.6,
    "question": 0.5,
    "time": 0.4,
    "request": 0.4,
    "amount": 0.4,
    "place": 0.35,
    "event": 0.3,
    "link": 0.2,
}


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_DAY: Final = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|tues?|wed|thurs?|fri)"
_FOREIGN_DAY: Final = (
    r"(?:heute|morgen|übermorgen|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|"
    r"demain|aujourd'hui|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|"
    r"mañana|hoy|lunes|martes|miércoles|jueves|viernes|sábado|domingo|"
    r"domani|oggi|stasera|lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica|"
    r"amanhã|hoje|segunda|terça|quarta|quinta|sexta)"
)
_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_FOREIGN_MONTH: Final = (
    r"(?:januar|februar|märz|mai|juni|juli|oktober|dezember|janvier|février|mars|avril|juin|juillet|août|septembre|"
    r"octobre|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|"
    r"diciembre|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|dicembre)"
)
_HOUR: Final = r"(?:\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_SOME: Final = rf"(?:{_HOUR}|\d{{3}}|an?|half an|a few|a couple of)"
_UNIT: Final = r"(?:min(?:ute)?s?|hours?|hrs?|days?|weeks?|months?|years?)"
_COUNTED: Final = (
    r"(?:people|persons|adults|kids|guests|tickets|seats|nights|bottles|boxes|bags|packs|crates|copies|pages|slots|"
    r"chairs|tables|kg|kilos?|grams?|miles|km|met(?:er|re)s|lit(?:er|re)s|bedrooms?)"
)
_COIN: Final = r"(?:dollars?|bucks|euros?|eur|usd|gbp|chf|pounds?|quid|cents|yen|rupees|percent)"

TIME: Final = _any(
    r"(?<![\d:])\d{1,2}[:h]\d{2}\b",
    r"(?<!\d)\d{1,2}(?:[.:]\d{2})? ?(?:am|pm|a\.m|p\.m|o'?clock|uhr|h)\b",
    r"\b\d{4}-\d{2}-\d{2}\b",
    r"(?<![\d/])\d{1,2}/\d{1,2}(?:/\d{2,4})?(?![\d/])",
    r"(?<![\d.])\d{1,2}\.\d{1,2}\.(?!\d{5})",
    rf"\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}\b",
    rf"\b{_MONTH}\.? \d{{1,2}}\b",
    rf"\b\d{{1,2}}\.? (?:de )?{_FOREIGN_MONTH}\b",
    r"\b\d{1,2}(?:st|nd|rd|th)\b(?! (?:floor|street|time|place|st|avenue|ave|grade|year))",
    rf"\b(?:{_DAY}|{_FOREIGN_DAY}|tonight|tomorrow|tmrw?|tmw|noon|midnight|midday|eod|eow)\b",
    r"\b(?:next|this|the following) (?:week|weekend|month|year|morning|afternoon|evening|summer|winter)\b",
    rf"\b(?:in|within) {_SOME} {_UNIT}\b",
    r"\b(?:half past|quarter (?:past|to))\b",
    rf"(?:\b(?:at|by|around|until|till|before|after|from|between|um|alle|las|às)|@) ?~?{_HOUR}(?:ish)?\b"
    rf"(?! ?(?:%|{_COIN}|{_COUNTED}|{_UNIT}|the |of |other |more |times|things))",
    r"\d{1,2} ?(?:点|點|时|時|月|日|분|시)",
    r"明天|今天|今晚|明日|今日",
)
AMOUNT: Final = _any(
    r"[$€£¥₹₽₩]\s?\d",
    r"\d\s?k?\s?[$€£¥₹₽₩%]",
    rf"\d\s?k?\s?{_COIN}\b",
    r"\b(?:usd|eur|gbp|chf|inr|rs)\.?\s?\d",
    r"\b(?:a hundred|hundred|fifty|forty|thirty|twenty|ten|five) (?:dollars|bucks|euros?|pounds|quid)\b",
    rf"\b{_SOME} (?:\w{{1,12}} )?{_COUNTED}\b",
    r"\b\d{1,4} ?(?:kg|km|gb|mb|m²)\b",
    r"\b\d{1,5} each\b",
    rf"\b(?:table|room|party|seats?|tickets?) for {_HOUR}\b",
    rf"\b(?:there (?:are|will be)|we(?:'re| are)(?: now)?) {_HOUR}(?: of us)?\b",
    r"(?<![\d.,:/-])\d{3,10}(?![\d:/-])",
)
_VENUE: Final = (
    r"(?:station|airport|office|restaurant|cafe|café|bar|pub|park|cinema|theatre|theater|gym|school|hospital|church|"
    r"hotel|beach|mall|market|library|museum|stadium|lobby|entrance|garage|garden|supermarket|bank|pharmacy|clinic|"
    r"university|campus|cent(?:re|er)|square|bridge|harbou?r|house|place|flat|apartment|yard|courtyard|hall|pool|"
    r"playground|parking lot|car park|bus stop|corner|canteen|cafeteria|kitchen|basement|roof|terrace|bahnhof)"
)
PLACE: Final = _any(
    rf"\b(?:at|in|near|outside|opposite|behind|inside|by|to|from|am|im) (?:the |my |your |our |his |her |their |a )?"
    rf"(?:\w{{1,20}}(?:'s)? ){{0,2}}{_VENUE}\b",
    r"\b(?:room|platform|gate|terminal|floor|exit|building|table|hall|apartment|apt|flat|suite|aisle) "
    r"(?:no\.? ?|number )?[a-z]?\d{1,4}[a-z]?\b",
    r"\b\d{1,5}[a-z]? (?:\w{1,20} ){1,3}(?:street|st|road|rd|avenue|ave|lane|drive|boulevard|blvd|court)\b",
    r"\b(?:on|at|in) (?:\w{1,20} ){1,2}(?:street|road|avenue|lane|drive|boulevard)\b",
    r"\b\w{2,20}(?:straße|strasse|str\.) ?\d",
    r"\b(?:address is|pick-? ?up point|meeting point)\b",
    r"\bat \w{2,20}'s\b",
    r"\bmeet (?:\w{1,12} )?(?:at|in|by|outside|near) ",
)
# A capital after a preposition names a place, unless it is a day, a month or a language; "to" also names people.
_CAPITAL_PLACE: Final = re.compile(
    r"\b(?:at|in|near|from) (?:the )?(?!(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|"
    r"June|July|August|September|October|November|December|English|German|French|Spanish)[A-Z][a-zà-ÿ]{2,20}"
)
DECISION: Final = _any(
    r"\b(?:let'?s|lets) (?!see\b|hope\b|be\b|face\b|not (?:worry|panic)|say\b)\w",
    r"\bwe(?:'ll| will|'re going to| are going to|'re gonna| should)\b",
    r"\b(?:decided|agreed (?:to|on|that)|confirmed|i confirm|settled|finali[sz]ed|approved|booked|booking|reserved|"
    r"signed|scheduled|rescheduled|postponed|merged|shipped|hired|paid|bought|submitted|changed)\b",
    r"\b(?:going|go|went) (?:with|ahead)\b",
    r"\b(?:the )?plan is\b",
    r"\bchange of plans?\b",
    r"\bfinal(?:ly)? (?:answer|decision|version|call|date)\b",
    r"\b(?:moved?|moving|push(?:ed|ing)?|shift(?:ed)?) (?:it |this |that |the \w{1,20} |back )?(?:to|back|until)\b",
    r"\bcancel(?:l?ed|l?ing)?\b",
    r"\binstead\b(?! of)",
    r"^(?:actually|correction|scratch that|nvm|never ?mind)\b",
    r"\bmake (?:it|that) (?:\d|an?\b|the\b|one|two|three|four|five|six|seven|eight|nine|ten|on|at)",
    r"\b(?:it's|that's|is|are) (?:off|sorted|decided|final|happening)\b",
    r"\b(?!(?:yes|yeah|yep|sure|what|where|how|when|who|that|because|but|and|now|here|think|know|hope) )"
    r"(?:\w{3,20}|\d{1,2}) it is\b",
    r"^(?:ok|okay|alright|great|fine|so)[, ]{1,2}\w{1,20}(?: \w{1,20}){0,4} then\b",
    r"\bwe (?:won|chose|picked|got) \w",
    r"\b(?:majority|voted?)\b",
    r"\bdeadline\b",
    r"\b(?:summary|recap)\b.{0,20}:|\bto sum up\b|\btl;?dr\b",
    r"\bdue (?:on|by|date|tomorrow|today)\b",
    r"\b(?:is|are) not allowed\b",
    r"\bdon'?t (?:tell|say anything|mention)\b",
)
_TAKE_ON: Final = (
    r"(?:bring|take|make|book|pick|send|call|check|drive|cook|get|help|cover|handle|host|grab|write|review|fix|look|"
    r"ask|print|order|buy|pay|come|do|set|share|post|update|lend|borrow|text|email|reserve|organi[sz]e|prepare|deploy|"
    r"start|run|bake|be there)"
)
# "I bring the grill" says what will be, unless it says what is usual.
_USUAL: Final = r"(?:always|usually|often|never|sometimes|every|each|normally)"
PROMISE: Final = _any(
    rf"(?:^|[,.;] |\b(?:and|then|so|ok|but) )i (?:also |just |only )?(?:bring|bake|book|pay|order|print|organi[sz]e|"
    rf"prepare|reserve|hand in|pick up|do the|do a|make the|make a|take the|take care|cook|replace|send)\b"
    rf"(?!.{{0,60}}\b{_USUAL}\b)",
    r"\b(?:i'll|i will|i'?m going to|i am going to|i'?m gonna|imma) "
    r"(?!be honest|admit|say\b|never\b|think\b|have to (?:see|check)|see\b|miss\b|love\b|die\b|cry\b)\w",
    rf"\b(?:i can|i could|happy to|ill) (?:also |probably |easily |just )?{_TAKE_ON}\b",
    rf"(?:^|[,.;] |\b(?:and|then) )(?:will|gonna) (?:also |probably )?{_TAKE_ON}\b",
    r"(?:^|[,.;] |\band )will re\w{2,10}\b",
    r"\b(?:leave (?:it|that) (?:to|with) me|count on me|on it|i promise|i(?:'ve)? got this|"
    r"my treat|will do|count me in)\b",
    r"\b(?:i'?m |^)(?:bringing|taking|making|booking|picking|driving|cooking|getting|buying|paying|handling|covering|"
    r"hosting|reviewing|baking|ordering)\b",
    r"\b(?:i volunteer|will be there)\b",
)
REQUEST: Final = _any(
    r"\b(?:can|could|would|will) (?:you|u|someone|somebody|anyone|anybody|everybody|everyone|one of you|all of you)\b",
    r"\b(?:please|pls|plz)\b",
    r"\bneeds? to\b",
    r"\b(?:i|we) need (?:\w{1,20} ){0,3}\w",
    r"\b(?:you|we|i|everyone) (?:have|has) (?:got )?to\b",
    r"\bdon'?t forget\b",
    r"\b(?:remember|remind \w{1,12}|make sure|be sure) to\b",
    r"\bmake sure\b",
    r"\blet (?:me|us) know\b",
    r"\b(?:send|bring|give|tell|text|call|email|pay|show|lend|remind) (?:me|us)\b",
    r"\b(?:you|we|i|they|everyone|everybody) must (?!be\b|have\b|say\b|admit\b)",
    r"\brsvp\b",
    r"\b(?:someone|somebody|you|one of us|one of you) (?:should|must|has to|have to)\b",
    r"\bwe owe\b|\byou owe\b|\bi owe\b",
)
PROBLEM: Final = _any(
    r"\b(?:broken?|error|errors|fail(?:s|ed|ing|ure)?|crash(?:ed|es|ing)?|outage|urgent|emergency|sick|hospital|"
    r"accident|delay(?:ed)?|stuck|missing|stolen|unfortunately|leak(?:s|ed|ing)?|forgot|flood(?:ed)?|closed|lost|warning|"
    r"blocked|complain(?:ed|s|ing)?|allerg(?:y|ic|ies)|died)\b",
    r"\b(?:is|are|was|be|'s|went|running) (?:down|late|wrong|ill)\b",
    r"\b(?:ran|sold|running|run) out\b",
    r"\bcan'?t (?:make|come|go|do|find|get|open|reach|attend|join|log|access)\b",
    r"\b(?:won'?t|not going to) (?:make|be able|work|fit|come)\b",
    r"\b(?:doesn'?t|don'?t|isn'?t|not|stopped) work(?:ing)?\b",
    r"\b(?:a|the|another|big) (?:problem|issue|bug) (?:with|is|in)\b",
    r"\b(?:again|strange|weird|awful) (?:noise|smell)|\bnoise again\b",
)
EVENT: Final = re.compile(
    r"\b(?:birthday|wedding|party|meeting|appointment|interview|exam|flight|train|surgery|funeral|graduation|anniversary|"
    r"concert|match|launch|release|audit|demo|training|barbecue|bbq|picnic|workshop|conference|holiday|dinner|lunch|"
    r"brunch|delivery|viewing|inspection|check-?up)s?\b"
)
LINK: Final = re.compile(r"\b(?:https?://|www\.)\S{1,2000}")

_OPENERS: Final = r"(?:(?:so|and|but|ok|okay|hey|guys|also|btw|wait|oh|hm+|well|lol|haha|actually)[, ]+){0,3}"
_ASKS: Final = _any(
    r"[?\uff1f\u061f]",
    rf"^{_OPENERS}(?:who|what|when|where|which|why|how)(?:'s| is| are| was| were| do| does| did| can| could|"
    r" should| shall| has| have| will| would| time| much| many| about| long| come)\b",
    rf"^{_OPENERS}(?:can|could|should|shall|would|will|do|does|did|is|are|was|were|has|have) "
    r"(?:you|u|we|i|they|he|she|it|there|anyone|anybody|someone|somebody|everyone)\b",
    rf"^{_OPENERS}any(?:one|body) (?:know|want|have|got|up|free|else|seen|bring|in)\b",
    rf"^{_OPENERS}(?:any (?:ideas?|news|updates?|thoughts?|suggestions?)|what if|does \w{{1,20}}|which one)\b",
)
# Questions that want company, not an answer.
_PHATIC: Final = re.compile(
    rf"^{_OPENERS}(?:how are (?:you|things|u)|how(?:'s| is) (?:it going|life|everyone|everybody)|how r u|what'?s up|"
    r"sup|you ok(?:ay)?|how was (?:your|the) (?:day|weekend|night)|really|right|seriously|what|huh|no way|"
    r"are you (?:kidding|serious|joking)|see|remember|isn'?t it|who knows|you know|why not|did you sleep well|"
    r"everyone (?:ok|okay|good)|good,? (?:and )?you|and you|wie geht'?s|ça va|qué tal|come stai)\W*$"
)
# "Sunday at five then": what follows from the talk before it.
_THEN: Final = re.compile(
    r"(?<!\bsince)(?<!\buntil)(?<!\btill)(?<!\bby)(?<!\bback)(?<!\beven)(?<!\bjust)(?<!\byou)(?<!\bnow and) then"
    r"(?=[.!,;]|\W*$)"
)
# "I'll pay on the 28th, ok?" is a promise all the same.
_TAG: Final = re.compile(r"[,.!] ?(?:ok(?:ay)?|right|yeah|yes|deal|cool|alright|fine|no)\s?[?\uff1f]+\W*$")
# The dot of "19. Juni" makes an ordinal.
_SENTENCE: Final = re.compile(
    r"(?<=[.!?…])(?<!\d\.)\s+|(?<=\d\.)\s+(?!(?:jan|feb|mär|maer|apr|mai|jun|jul|aug|sep|okt|nov|dez)\w{0,6}\b)|"
    r"(?<=[.!?…][\"')\]])\s+|\n|(?<=[\u3002\uff01\uff1f])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Cues:
    """What stands out in a piece of text."""

    reasons: frozenset[Reason]
    asks: bool
    """It holds a question that wants an answer: not one that wants company, and no "..., ok?"."""
    stated: frozenset[Reason] = frozenset()
    """Those of the reasons that stand in sentences that ask nothing."""

    @property
    def score(self) -> float:
        """0 to 1: the chance that one of the reasons holds, as if they were independent."""
        return score(self.reasons)


def score(reasons: Iterable[Reason]) -> float:
    """Return what reasons are worth together, 0 to 1."""
    rest = 1.0
    for reason in reasons:
        rest *= 1 - WEIGHTS.get(reason, 0.0)
    return 1 - rest


def sentences_of(text: str) -> list[str]:
    """Return the sentences and lines of a text, as they stand there."""
    return [piece.strip() for piece in _SENTENCE.split(text) if piece and not piece.isspace()]


def read_message(text: str) -> Cues:
    """Return the cues of all sentences together; it asks if one of them does."""
    each = [read_sentence(sentence) for sentence in sentences_of(text)]
    reasons = frozenset(reason for cues in each for reason in cues.reasons)
    stated = frozenset(reason for cues in each for reason in cues.stated)
    return Cues(reasons, any(cues.asks for cues in each), stated)


_ANYWHERE: Final[tuple[tuple[Reason, re.Pattern[str]], ...]] = (
    ("time", TIME),
    ("place", PLACE),
    ("amount", AMOUNT),
    ("event", EVENT),
    ("request", REQUEST),
)
_STATED: Final[tuple[tuple[Reason, re.Pattern[str]], ...]] = (
    ("decision", DECISION),
    ("promise", PROMISE),
    ("problem", PROBLEM),
)
CONCRETE: Final[frozenset[Reason]] = frozenset({"time", "place", "amount"})


def read_sentence(text: str) -> Cues:
    """Return the cues of one sentence."""
    cased = LINK.sub(" ", plain(text)).strip()
    low = cased.lower()
    asks = _ASKS.search(low) is not None
    if asks and _PHATIC.match(low):
        return Cues(frozenset(), asks=False)
    tagged = _TAG.search(low) is not None
    tables = _ANYWHERE if asks and not tagged else _ANYWHERE + _STATED
    reasons = {reason for reason, pattern in tables if pattern.search(low)}
    if not asks and _THEN.search(low) and reasons & CONCRETE:
        reasons.add("decision")
    if _CAPITAL_PLACE.search(cased):
        reasons.add("place")
    if LINK.search(text):
        reasons.add("link")
    if asks:
        reasons.add("question")
    found = frozenset(reasons)
    return Cues(found, asks and not tagged, frozenset() if asks else found)


_SMALL_TALK: Final = frozenset(
    """
    ok okay k kk yes yeah yep yup ya no nope nah sure fine cool nice great good perfect awesome amazing lovely sweet wow
    thanks thank thx ty you u so much very lol lmao rofl haha hehe hihi omg oh ah aw aww hmm hm mm ugh wait
    hi hello hey hiya yo bye goodbye cya see ya later good morning afternoon evening night gn gm sleep well sweet dreams
    congrats congratulations happy birthday merry christmas love miss xx xoxo x welcome np no worries problem
    same me too agreed deal exactly right true indeed totally absolutely definitely done noted got it i am we is that
    the all everyone guys team folks dear mate bro dude again today day have a nice to for and my just really such this
    works sounds what how are how's that's it's yay yess yesss hurray brilliant excellent wonderful cheap funny
    hilarious point
    ja nein danke bitte gut morgen hallo tschüss super oui non merci bonjour salut bien ciao sì grazie gracias hola vale
    zusammen passt bis bonne nuit buenas noches
    """.split()  # noqa: SIM905 (a list of words reads as one)
)
_LAUGHTER: Final = re.compile(r"(?:[hj]+[aeio]+){2,40}[hj]?")


def is_small_talk(text: str) -> bool:
    """Whether a message only greets, thanks, agrees, laughs or is a bare link: it says nothing by itself."""
    unlinked = LINK.sub(" ", text)
    if any(character.isdigit() for character in unlinked):
        return False
    return all(word in _SMALL_TALK or _LAUGHTER.fullmatch(word) for word in words_of(unlinked))
