r"""How a conversation is written down for a model: seven kinds of chat templates, told by `tokenizer_config.json`.

A chat template is a program (Jinja) that comes with a model. It is not run here: it is looked at once, when the model
is loaded, for the marks of the kinds that we know and for the few places where templates of one kind differ. What is
none of them is refused.

    chatml    <|im_start|>user\n Hello <|im_end|>\n <|im_start|>assistant\n
    llama-3   bos <|start_header_id|> user <|end_header_id|>\n\n Hello <|eot_id|> ...
    llama-2   bos [INST] <<SYS>>\n Be brief. \n<</SYS>>\n\n Hello [/INST] Hi eos bos [INST] ...
    mistral   bos [INST] Hello [/INST] Hi eos [INST] ...
    gemma     bos <start_of_turn>user\n Hello <end_of_turn>\n <start_of_turn>model\n
    zephyr    <|user|>\n Hello eos \n <|assistant|>\n
    phi       <|user|>\n Hello <|end|>\n <|assistant|>\n

What people wrote must not become a mark, or a message that somebody quotes could speak as the system. So the text is
returned in parts. Those that are `special` are tokens of their own; the others are to be encoded with special tokens
switched off. Where a tokenizer has no token for a mark, as Llama 2's has none for [INST], the mark is a text like any
other: there, a space is put into what looks like one in somebody's words.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from seclude.errors import ConfigError, DecodeError

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, repr=False)
class Turn:
    """Who says what."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Part:
    """A piece of what the model reads: one special token, or text in which nothing is special."""

    text: str
    special: bool = False


class Kind(StrEnum):
    """The kinds of templates."""

    CHATML = "chatml"
    LLAMA2 = "llama-2"
    LLAMA3 = "llama-3"
    MISTRAL = "mistral"
    GEMMA = "gemma"
    ZEPHYR = "zephyr"
    PHI = "phi"


# Looked for in this order: all of the first must be there, and none of the second.
_MARKS: Final[Mapping[Kind, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    Kind.LLAMA3: (("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), ()),
    Kind.CHATML: (("<|im_start|>", "<|im_end|>"), ("<|im_sep|>",)),  # the third is Phi 4's
    Kind.GEMMA: (("<start_of_turn>", "<end_of_turn>"), ()),
    Kind.LLAMA2: (("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"), ()),
    Kind.MISTRAL: (("[INST]", "[/INST]"), ("[SYSTEM_PROMPT]",)),  # of later ones, which write it otherwise
    Kind.PHI: (("<|end|>", "<|assistant|>"), ("<|channel|>",)),
    Kind.ZEPHYR: (("<|user|>", "<|system|>", "<|assistant|>", "eos_token"), ("gMASK",)),
}
_SPEAKERS: Final = ("<|system|>", "<|user|>", "<|assistant|>")  # some of Phi's templates put them together of parts
_ALTERNATING: Final = frozenset({Kind.LLAMA2, Kind.MISTRAL, Kind.GEMMA})  # their templates refuse anything else


@dataclass(frozen=True, slots=True)
class Template:
    """One model's way of writing conversations down."""

    kind: Kind
    bos: str
    """What stands before everything; empty if the template writes nothing there."""
    eos: str
    tokens: frozenset[str]
    """Those marks that are tokens of their own."""
    trims: bool = False
    """Whether white space around a message is dropped; with Mistral, around the assistant's alone."""
    system: str = ""
    """What the system says where nobody else lets it speak; with Llama 3, what it says first in any case."""
    opens: str = ""
    """What stands before a message, behind the mark or with it."""
    closes: str = ""
    """What stands behind it."""
    before: str = ""
    """What Mistral's templates put before the assistant's words."""
    after: str = ""
    """What they put behind eos."""
    into: Literal["", "first", "last"] = ""
    """Into which message of the user's that of the system goes, where it gets none of its own."""

    def parts(self, turns: Sequence[Turn]) -> list[Part]:
        """Return what the model reads before it answers. Raises DecodeError for turns that it cannot take."""
        if not turns or turns[-1].role != "user":
            raise DecodeError("messages: the last one must be the user's")
        if any(turn.role == "system" for turn in turns[1:]):
            raise DecodeError("messages: the system may only speak first")
        said = [turn for turn in turns if turn.role != "system"]
        if self.kind in _ALTERNATING and any((turn.role == "user") != (at % 2 == 0) for at, turn in enumerate(said)):
            raise DecodeError("messages: this model needs user and assistant to alternate, the user first")
        return self._join(_WRITERS[self.kind](self, [Turn(turn.role, self._harmless(turn.text)) for turn in turns]))

    def text_of(self, turn: Turn) -> str:
        """Return a message, without white space around it if the template drops it."""
        return turn.text.strip() if self.trims else turn.text

    def folded(self, turns: Sequence[Turn]) -> Iterator[tuple[Turn, str | None]]:
        """Return the turns, those of the system with the one that it goes into, if there is one for it."""
        system = turns[0].text if self.into and turns[0].role == "system" else None
        said = turns if system is None else turns[1:]
        users = [at for at, turn in enumerate(said) if turn.role == "user"]
        for at, turn in enumerate(said):
            yield turn, system if at == users[-1 if self.into == "last" else 0] else None

    def _harmless(self, text: str) -> str:
        """Put a space into what would be read as a mark, since for this tokenizer it is a text like any other."""
        for mark in marks_of(self.kind, self.bos, self.eos) - self.tokens:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
        return text

    def _join(self, written: Iterable[str | Part]) -> list[Part]:
        """Join what is text, and marks that are no tokens with it: a tokenizer cuts it as a whole."""
        parts: list[Part] = []
        for piece in written:
            part = piece if isinstance(piece, Part) else Part(piece)
            if not part.text:
                continue
            if part.special and part.text in self.tokens:
                parts.append(part)
            elif parts and not parts[-1].special:
                parts[-1] = Part(parts[-1].text + part.text)
            else:
                parts.append(Part(part.text))
        return parts


def marks_of(kind: Kind, bos: str, eos: str) -> set[str]:
    """Return all that must not be written by anybody but us."""
    speakers = _SPEAKERS if kind in (Kind.ZEPHYR, Kind.PHI) else ()
    return {*_MARKS[kind][0], *speakers, bos, eos} - {"", "eos_token"}


def load_template(folder: Path, is_token: Callable[[str], bool]) -> Template:
    """Read a model's template; `is_token` says whether the model's tokenizer has a token for a mark."""
    path = folder / "tokenizer_config.json"
    try:
        config = json.loads(path.read_bytes())
        apart = folder / "chat_template.jinja"
        source = apart.read_text() if apart.exists() else config.get("chat_template")
        if isinstance(source, list):  # several, each with a name
            source = next((one["template"] for one in source if one["name"] == "default"), None)
        bos, eos = (_token(config.get(name)) for name in ("bos_token", "eos_token"))
    except (OSError, ValueError, AttributeError, LookupError, TypeError) as exc:
        raise ConfigError(f"cannot read {path}, or what it says of tokens and chats") from exc
    if not isinstance(source, str):
        raise ConfigError(f"{path} has no chat_template: this model cannot chat")
    return recognise(source, bos, eos, is_token)


def recognise(source: str, bos: str, eos: str, is_token: Callable[[str], bool]) -> Template:
    """Tell a template by its text. Raises ConfigError for one that is of no kind that we know."""
    for speaker in _SPEAKERS if "'<|' + message['role'] + '|>'" in source else ():
        source += f"{{# {speaker} #}}"  # it is written all the same
    has = source.__contains__
    found = [
        kind for kind, (these, not_these) in _MARKS.items() if all(map(has, these)) and not any(map(has, not_these))
    ]
    if not found:
        raise ConfigError(f"the model's chat_template is none of {', '.join(Kind)}")
    kind, source = found[0], source.replace("\\n", "\n")  # a line break in a string, written either way
    begins, tokens = bos if "bos_token" in source else "", frozenset(filter(is_token, marks_of(kind, bos, eos)))
    template = Template(kind, begins, eos, tokens, trims=re.search(r"\|\s*trim|\.strip\(\)", source) is not None)
    match kind:
        case Kind.CHATML:
            said = re.search(r"<\|im_start\|>system\n([^'\"{}<]+)<\|im_end\|>", source)
            return replace(template, system=said[1] if said else "")
        case Kind.LLAMA3:
            return replace(template, system=_dates(source))
        case Kind.LLAMA2 | Kind.GEMMA:
            return replace(template, into="first")
        case Kind.MISTRAL:
            return _mistral(source, template)
        case Kind.PHI:
            line = "\n" if re.search(r"<\|end\|>('\s*\+\s*')?\n", source) else ""
            return replace(template, opens=line, closes=line, into="" if "<|system|>" in source else "first")
        case Kind.ZEPHYR:
            return replace(template, opens="\n", closes="\n")


def _dates(source: str) -> str:
    """Return what the templates since Llama 3.1 let the system always say: two dates, the later one their default."""
    until = re.search(r"Cutting Knowledge Date: [A-Za-z]+ \d{4}\n", source)
    today = re.search(r"date_string = [\"'](\d+ [A-Za-z]+ \d{4})[\"']", source)
    return f"{until[0]}Today Date: {today[1]}\n\n" if until and today else ""


def _mistral(source: str, template: Template) -> Template:
    """Tell Mistral's templates apart by their strings."""
    opens, closes = (re.search(rf"(['\"])( ?\[{mark}\] ?)\1", source) for mark in ("INST", "/INST"))
    if opens is None or closes is None:
        raise ConfigError("the model's chat_template is none of Mistral's that are known here")
    return replace(
        template,
        opens=opens[2],
        closes=closes[2],
        before=" " if re.search(r"(['\"]) \1\s*\+\s*message", source) else "",
        after=" " if re.search(r"eos_token\s*\+\s*(['\"]) \1", source) else "",
        into="last" if "loop.last and system_message" in source else "first",
    )


def _token(value: str | Mapping[str, str] | None) -> str:
    """Return a token that is written as a string, as an object with a `content`, or not at all; else a TypeError."""
    token = value["content"] if isinstance(value, dict) else value or ""
    if not isinstance(token, str):
        raise TypeError(f"a token is no text but {type(token).__name__}")
    return token


def _mark(text: str) -> Part:
    return Part(text, special=True)


Written = Iterator[str | Part]


def _chatml(template: Template, turns: Sequence[Turn]) -> Written:
    yield _mark(template.bos)
    if template.system and turns[0].role != "system":
        turns = [Turn("system", template.system), *turns]
    for turn in turns:
        yield from (_mark("<|im_start|>"), f"{turn.role}\n{template.text_of(turn)}", _mark("<|im_end|>"), "\n")
    yield from (_mark("<|im_start|>"), "assistant\n")


def _llama3(template: Template, turns: Sequence[Turn]) -> Written:
    yield _mark(template.bos)
    if template.system and turns[0].role != "system":
        turns = [Turn("system", ""), *turns]
    for turn in turns:
        always = template.system if turn.role == "system" else ""
        yield from (_mark("<|start_header_id|>"), turn.role, _mark("<|end_header_id|>"))
        yield from ("\n\n", always, template.text_of(turn), _mark("<|eot_id|>"))
    yield from (_mark("<|start_header_id|>"), "assistant", _mark("<|end_header_id|>"), "\n\n")


def _llama2(template: Template, turns: Sequence[Turn]) -> Written:
    for turn, system in template.folded(turns):
        if turn.role == "assistant":
            yield from (f" {turn.text.strip()} ", _mark(template.eos))
            continue
        yield from (_mark(template.bos), _mark("[INST]"), " ")
        if system is None:
            yield turn.text.strip()
        else:
            yield from (_mark("<<SYS>>"), f"\n{system}\n", _mark("<</SYS>>"), f"\n\n{turn.text.rstrip()}")
        yield from (" ", _mark("[/INST]"))


def _mistral_turns(template: Template, turns: Sequence[Turn]) -> Written:
    yield _mark(template.bos)
    for turn, system in template.folded(turns):
        if turn.role == "assistant":
            yield from (template.before, template.text_of(turn), _mark(template.eos), template.after)
            continue
        for literal, mark in ((template.opens, "[INST]"), (template.closes, "[/INST]")):
            left, _, right = literal.partition(mark)
            yield from (left, _mark(mark), right)
            if mark == "[INST]":
                yield turn.text if system is None else f"{system}\n\n{turn.text}"


def _gemma(template: Template, turns: Sequence[Turn]) -> Written:
    yield _mark(template.bos)
    for turn, system in template.folded(turns):
        yield from (_mark("<start_of_turn>"), "user\n" if turn.role == "user" else "model\n")
        yield turn.text.strip() if system is None else f"{system}\n\n{turn.text.strip()}"
        yield from (_mark("<end_of_turn>"), "\n")
    yield from (_mark("<start_of_turn>"), "model\n")


def _named(template: Template, turns: Sequence[Turn]) -> Written:
    """Zephyr's and Phi's way: a mark for each speaker."""
    end = template.eos if template.kind is Kind.ZEPHYR else "<|end|>"
    yield _mark(template.bos)
    for turn, system in template.folded(turns):
        yield from (_mark(f"<|{turn.role}|>"), template.opens, "" if system is None else f"{system}\n\n")
        yield from (template.text_of(turn), _mark(end), template.closes)
    yield from (_mark("<|assistant|>"), template.opens)


_WRITERS: Final[Mapping[Kind, Callable[[Template, Sequence[Turn]], Written]]] = dict(
    zip(Kind, (_chatml, _llama2, _llama3, _mistral_turns, _gemma, _named, _named), strict=True)
)
