"""Byte-pair encoding as `tokenizers` does it, in Python, without a cache of people's words.

The native library is fast because it keeps the words that it has split, of all requests; told not to, it still leaves
the ends of strings in memory that was freed (docs/scrubbing.md). Python's strings end with zeros there. A folder whose
tokenizer.json asks for what is not here is refused, and so is one whose sample texts come out otherwise than there.

Two families: GPT-2's, which writes octets as characters and cuts text into words by a pattern, and SentencePiece's,
which takes a text as one word, marks spaces, and falls back to tokens for single octets.
"""

import heapq
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from inference.runner import stop_if_given_up
from seclude.errors import ConfigError

MAX_OCTETS: Final = 64 << 20  # of tokenizer.json; Llama 3's has 9 MB, Gemma's 33
LOOK: Final = (
    4096  # neighbours that are joined, in some twenty milliseconds, between two looks at whether somebody waits
)
# White_Space of Unicode; Python's \s has four characters more.
SPACES: Final = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
GPT_2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Byte-level BPE writes each octet as one character (GPT-2's encoder.py): as itself where that is printable in Latin-1,
# and the others in their order from U+0100 on.
PRINTABLE: Final = frozenset({*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)})
OTHERS: Final = [octet for octet in range(256) if octet not in PRINTABLE]
OCTETS: Final = {chr(octet): octet for octet in PRINTABLE} | {chr(256 + i): octet for i, octet in enumerate(OTHERS)}
CHARACTERS: Final = {octet: character for character, octet in OCTETS.items()}
# Enough to tell what a tokenizer does with cases, digits, spaces, line ends, marks, other scripts and rare characters.
SAMPLES: Final = (
    "Hello world, it's 7.50€ or 1234567 ½!\n\n  Indented\ttext…\r\n they'LL we've",
    " leading  and trailing  ",
    "Größe naïve e\u0301 привет नमस्ते こんにちは 🙂\u200d🔥 \x1c\x85\u3000x",
    "<|im_end|> </s> [INST] _under_score_ don't",
)

Cut = Callable[[str], list[str]]
Json = dict[str, object]


class BytePairs:
    """A vocabulary and its merges."""

    def __init__(self, document: Json) -> None:
        model = _object(document, "model")
        self._ids = {str(word): int(str(index)) for word, index in _object(model, "vocab").items()}
        self._fallback = bool(model.get("byte_fallback"))
        self._whole_words = bool(model.get("ignore_merges"))
        unknown = model.get("unk_token")
        self._unknown = self._ids.get(unknown) if isinstance(unknown, str) else None
        self._merges = dict(_merges(model.get("merges"), self._ids))
        self._normalise = _steps(document.get("normalizer"), _normaliser)
        self._cut = _steps(document.get("pre_tokenizer"), _cutter)
        added = document.get("added_tokens")
        tokens = [token for token in (added if isinstance(added, list) else []) if isinstance(token, dict)]
        self._marks = {str(token["content"]): int(token["id"]) for token in tokens if token.get("special")}
        self._added = {str(token["content"]): int(token["id"]) for token in tokens if not token.get("special")}
        self._plain = _either(self._added)
        self._special = _either(self._added | self._marks)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Return a text's tokens. Marks in it, such as "<|im_end|>", are words unless `special` says they are marks.

        A text may be one long word, of which each octet costs some microseconds: when it is given up, it ends there.
        """
        known = self._added | self._marks if special else self._added
        ids: list[int] = []
        for part in (self._special if special else self._plain).split(text):
            if part in known:
                ids.append(known[part])
            elif part:
                for word in _through(self._cut, _through(self._normalise, [part])):
                    stop_if_given_up()
                    ids += self._word(word)
        return ids

    def pieces(self, size: int) -> list[bytes]:
        """Return the octets that each of `size` tokens stands for; none for a mark.

        Raises ConfigError for a tokenizer with tokens beyond them, which no model could read.
        """
        if max((*self._ids.values(), *self._added.values(), *self._marks.values()), default=0) >= size:
            raise ConfigError("the tokenizer has tokens beyond the model's vocabulary")
        found = [b""] * size
        turn = _fallen_back if self._fallback else _octets
        for word, index in self._ids.items():
            found[index] = turn(word)
        for word, index in self._added.items():
            found[index] = word.encode()
        for index in self._marks.values():
            found[index] = b""
        return found

    def _word(self, word: str) -> list[int]:
        """Join the two neighbours that were joined first when the vocabulary was made, until none are left."""
        if self._whole_words and word in self._ids:
            return [self._ids[word]]
        ids = list(self._characters(word))
        count, before, after = len(ids), list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))
        heap: list[tuple[int, int, int, int]] = []

        def consider(place: int) -> None:
            if place >= 0 and after[place] < count:
                pair = ids[place], ids[after[place]]
                if (merge := self._merges.get(pair)) is not None:
                    heapq.heappush(heap, (merge[0], place, *pair))

        for place in range(count - 1):
            consider(place)
        looks = 0
        while heap:
            looks += 1
            if looks % LOOK == 0:
                stop_if_given_up()
            _, place, left, right = heapq.heappop(heap)
            other = after[place]
            if ids[place] != left or other >= count or ids[other] != right:
                continue  # one of them was joined with another since
            ids[place], ids[other] = self._merges[left, right][1], -1
            after[place] = after[other]
            if after[place] < count:
                before[after[place]] = place
            consider(before[place])
            consider(place)
        return [index for index in ids if index >= 0]

    def _characters(self, word: str) -> Iterator[int]:
        for character in word:
            if (index := self._ids.get(character)) is not None:
                yield index
                continue
            octets = [self._ids.get(f"<0x{octet:02X}>") for octet in character.encode("utf-8", "replace")]
            if self._fallback and None not in octets:
                yield from (octet for octet in octets if octet is not None)
            elif self._unknown is not None:
                yield self._unknown


def load_pairs(path: Path) -> BytePairs:
    """Return the vocabulary of a tokenizer.json that cuts as the library does."""
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= MAX_OCTETS else ""
        document = json.loads(text)
        tokenizer = Tokenizer.from_str(text)
    except Exception as exc:  # tokenizers raises plain Exception
        raise ConfigError(f"cannot read {path}: install a model with seclude-model") from exc
    if _object(document, "model").get("type") != "BPE":
        raise ConfigError(f"{path} is no BPE tokenizer, as a language model here has it")
    try:
        pairs = BytePairs(document)
    except (KeyError, TypeError, ValueError, re.error) as exc:
        raise ConfigError(f"{path} asks for what no tokenizer here does: {exc}") from exc
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for special in (False, True):
        tokenizer.encode_special_tokens = not special
        for sample in SAMPLES:
            if pairs.encode(sample, special=special) != tokenizer.encode(sample, add_special_tokens=False).ids:
                raise ConfigError(f"{path} cuts text otherwise than is done here")
    return pairs


def _object(parent: Json, name: str) -> Json:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _merges(merges: object, ids: dict[str, int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield pairs of tokens, each with its rank and what it becomes."""
    for rank, merge in enumerate(merges if isinstance(merges, list) else []):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield (ids[left], ids[right]), (rank, ids[left + right])


def _either(words: dict[str, int]) -> re.Pattern[str]:
    """Return a pattern for any of these words, the longest first; one that matches nothing if there are none."""
    ordered = sorted(words, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, ordered))})" if ordered else r"((?!))")


def _through(steps: list[Cut], parts: list[str]) -> list[str]:
    for step in steps:
        parts = [piece for part in parts for piece in step(part) if piece]
    return parts


def _steps(said: object, kind: Callable[[Json], Cut]) -> list[Cut]:
    """Return what is done one after the other."""
    if said is None:
        return []
    assert isinstance(said, dict)
    inner = said.get("normalizers", said.get("pretokenizers"))
    return [step for each in inner for step in _steps(each, kind)] if isinstance(inner, list) else [kind(said)]


def _normaliser(said: Json) -> Cut:
    match said:
        case {"type": "NFC"}:
            return lambda text: [unicodedata.normalize("NFC", text)]
        case {"type": "Prepend", "prepend": str(mark)}:
            return lambda text: [mark + text]
        case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)}:
            return lambda text: [text.replace(old, new)]
    raise ValueError(f"normalizer {said.get('type')}")


def _cutter(said: Json) -> Cut:
    match said:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": bool(by_pattern)}:
            words = _pattern(GPT_2).findall if by_pattern else lambda text: [text]
            return lambda text: ["".join(CHARACTERS[octet] for octet in word.encode()) for word in words(text)]
        case {"type": "Digits", "individual_digits": bool(single)}:
            return _pattern(r"\p{N}|[^\p{N}]+" if single else r"\p{N}+|[^\p{N}]+").findall
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
            return _isolate(_pattern(pattern))
    raise ValueError(f"pre_tokenizer {said.get('type')}")


def _isolate(pattern: re.Pattern[str]) -> Cut:
    """Return what cuts before and after each match."""

    def cut(text: str) -> list[str]:
        pieces, end = [], 0
        for match in pattern.finditer(text):
            pieces += [text[end : match.start()], match[0]]
            end = match.end()
        return [*pieces, text[end:]]

    return cut


def _pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of tokenizers' kind, whose classes of characters Python's lacks or has wider."""
    out, inside = [], False
    for token in re.findall(r"\\[pP]\{\w+\}|\\.|.", pattern, re.DOTALL):
        if token in {"[", "]"}:
            inside = token == "["
        if token[:2] not in {r"\p", r"\P", r"\s", r"\S"}:
            out.append(token)
        elif not inside:
            out.append(f"[{'^' if token[1].isupper() else ''}{_class(token)}]")
        elif token[1].islower():
            out.append(_class(token))
        else:
            raise ValueError("a pattern with a class in a class")
    return re.compile("".join(out))


def _class(token: str) -> str:
    return SPACES if token[1] in "sS" else _category(token[3:-1])


@cache
def _category(name: str) -> str:
    """Return the ranges of a general category of Unicode, as they stand within brackets."""
    starts: list[int] = []
    within = False
    for code in range(sys.maxunicode + 2):
        now = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(name)
        if now is not within:
            starts.append(code)
            within = now
    return "".join(f"\\U{first:08x}-\\U{end - 1:08x}" for first, end in zip(starts[::2], starts[1::2], strict=True))


def _fallen_back(word: str) -> bytes:
    """Return the octets of a word of SentencePiece's kind: spaces are marked, and "<0x0A>" is one octet."""
    if re.fullmatch("<0x[0-9A-F]{2}>", word):
        return bytes.fromhex(word[3:5])
    return word.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()


def _octets(word: str) -> bytes:
    """Return the octets of a word of byte-level BPE."""
    return b"".join(bytes([OCTETS[character]]) if character in OCTETS else character.encode() for character in word)
