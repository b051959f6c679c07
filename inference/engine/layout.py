"""A model's folder, told by its files: which of three layouts it has, what its JSON files say, and its tokenizer.

An encoder-decoder model as Optimum exports it, a decoder-only model with grouped-query attention, or a sentence
encoder. Nothing else in a folder counts, and nothing of a model's own code is ever run.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram

from inference.engine import session
from inference.engine.logits import Rules
from seclude.errors import ConfigError

MAX_JSON_OCTETS: Final = 1 << 20  # config.json of a model with hundreds of labels has some 30 kB
MAX_BEAMS: Final = 16  # each takes as much memory and work as a request; published models ask for at most 8
MAX_WHOLE: Final = 1 << 31  # no vocabulary and no length comes near it
DEFAULT_POSITIONS: Final = 512  # T5 has relative positions, and was taught with so many; its files do not always say
OCTET: Final = re.compile("<0x[0-9A-F]{2}>")  # how tokenizers that fall back to octets call those

_POSITIONS: Final = ("max_position_embeddings", "n_positions")
# What other engines can do at each token and this one cannot, and which values ask for nothing.
_NOT_DONE: Final = MappingProxyType(
    {
        "num_beam_groups": (None, 1),
        "penalty_alpha": (None, 0, 0.0),
        "constraints": (None,),
        "force_words_ids": (None,),
        "exponential_decay_length_penalty": (None,),
        "encoder_no_repeat_ngram_size": (None, 0),
        "encoder_repetition_penalty": (None, 1, 1.0),
        "guidance_scale": (None, 1, 1.0),
        "sequence_bias": (None,),
        "typical_p": (None, 1, 1.0),
        "min_p": (None, 0, 0.0),
        "min_new_tokens": (None, 0),
        "forced_decoder_ids": (None,),
    }
)


class Layout(StrEnum):
    """What kind of model a folder holds."""

    ENCODER = "sentence-encoder"
    SEQ2SEQ = "encoder-decoder"
    DECODER = "decoder-only"


FILES: Final[Mapping[Layout, tuple[str, ...]]] = MappingProxyType(
    {
        Layout.SEQ2SEQ: ("encoder_model.onnx", "decoder_model_merged.onnx", "config.json", "tokenizer.json"),
        Layout.DECODER: ("genai_config.json", "model.onnx", "tokenizer.json"),
        Layout.ENCODER: ("model.onnx", "tokenizer.json"),
    }
)
"""What each layout must have, in the order in which they are looked for: the last one's files are in the second too."""

# A file that only one layout has: where it stands, what is missing of that layout is worth a sentence of its own.
_TELLTALES: Final = MappingProxyType(
    {
        "encoder_model.onnx": Layout.SEQ2SEQ,
        "decoder_model_merged.onnx": Layout.SEQ2SEQ,
        "decoder_model.onnx": Layout.SEQ2SEQ,
        "genai_config.json": Layout.DECODER,
    }
)


def layout_of(folder: Path) -> Layout:
    """Return the layout of a model's folder; ConfigError says which files are missing for which."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: install a model with seclude-model")
    likely = [layout for name, layout in _TELLTALES.items() if (folder / name).is_file()]
    for layout in likely[:1] or FILES:
        if not _missing(folder, layout):
            return layout
    lacks = [f"{layout} lacks {', '.join(_missing(folder, layout))}" for layout in likely[:1] or FILES]
    merge = "; export it with Optimum's merged decoder" if (folder / "decoder_model.onnx").is_file() else ""
    raise ConfigError(f"{folder} is no whole model: as {'; as '.join(lacks)}{merge}")


def batchable(path: Path) -> str | None:
    """Return why requests must not share a run of the model in this folder or file; None if its operators allow it."""
    graphs = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
    if not graphs:
        raise ConfigError(f"{path} has no ONNX file: install a model with seclude-model")
    return next((reason for graph in graphs if (reason := session.batchable(graph))), None)


def settings_of(path: Path) -> dict[str, object]:
    """Return the object in one of a model's JSON files."""
    try:
        octets = path.read_bytes() if path.stat().st_size <= MAX_JSON_OCTETS else b""
        settings = json.loads(octets)
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigError(f"cannot read {path}: it must be a JSON object of at most {MAX_JSON_OCTETS} octets") from exc
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} is no JSON object")
    return settings


@dataclass(frozen=True, slots=True)
class Generation:
    """How an encoder-decoder model wants to be used, by its own files."""

    start: int
    """The token that every text begins with."""
    pad: int
    beams: int
    length_penalty: float
    early: bool | Literal["never"]
    rules: Rules
    max_input: int
    """Tokens, the marks that its tokenizer adds included."""
    prefix: str
    """What the model was taught to find before a text to summarise; empty for most."""

    @property
    def highest(self) -> int:
        """The highest token that the settings name."""
        rules = self.rules
        named = {self.start, self.pad, rules.forced_bos or 0, *rules.eos, *rules.forced_eos}
        return max(named.union(rules.suppressed, rules.suppressed_first, *rules.bad_words))


def generation_of(folder: Path) -> Generation:
    """Return what the files say, later ones over earlier: transformers' defaults, `config.json` where there is no
    `generation_config.json`, that file, and what `config.json` says of summarising in particular."""
    config = settings_of(folder / "config.json")
    own = folder / "generation_config.json"
    special = _object(_object(config, "task_specific_params"), "summarization")
    said = _Said(own, (settings_of(own) if own.is_file() else config) | special)
    for name, harmless in _NOT_DONE.items():
        if said.settings.get(name) not in harmless:
            raise ConfigError(f"{own} asks for {name}, which this engine does not do: remove it if it is not needed")
    beams = said.whole("num_beams", 1)
    sampled = bool(said.settings.get("do_sample"))
    if sampled and beams > 1:
        raise ConfigError(
            f"{own} asks for chance in a beam search, which this engine does not do: set one or the other"
        )
    limits = (_Said(folder / "config.json", config).whole(name, 0) for name in _POSITIONS)
    positions = min((limit for limit in limits if limit > 0), default=DEFAULT_POSITIONS)
    longest = said.whole("max_length", 20)
    if (new := said.whole("max_new_tokens", 0)) > 0:
        longest = new + 1  # transformers lets it win
    rules = Rules(
        eos=frozenset(said.tokens("eos_token_id")),
        min_length=said.whole("min_length", 0),
        max_length=min(longest, positions),
        forced_bos=next(iter(said.tokens("forced_bos_token_id")), None),
        forced_eos=said.tokens("forced_eos_token_id"),
        no_repeat_ngram=said.whole("no_repeat_ngram_size", 0),
        repetition_penalty=said.number("repetition_penalty", 1.0),
        bad_words=said.words("bad_words_ids"),
        suppressed=said.tokens("suppress_tokens"),
        suppressed_first=said.tokens("begin_suppress_tokens"),
        temperature=said.number("temperature", 1.0) if sampled else 0.0,
        top_k=said.whole("top_k", 50) if sampled else 0,
        top_p=said.number("top_p", 1.0) if sampled else 1.0,
    )
    start = said.tokens("decoder_start_token_id") or said.tokens("bos_token_id")
    if not start or not rules.eos or not 1 <= beams <= MAX_BEAMS or longest < 2 or rules.repetition_penalty <= 0:
        raise ConfigError(
            f"{own} must name decoder_start_token_id, eos_token_id, 1 to {MAX_BEAMS} beams and limits above zero"
        )
    early = said.settings.get("early_stopping")
    prefix = special.get("prefix")
    return Generation(
        start=start[0],
        pad=next(iter(said.tokens("pad_token_id")), 0),
        beams=beams,
        length_penalty=said.number("length_penalty", 1.0),
        early="never" if early == "never" else early is True,
        rules=rules,
        max_input=positions,
        prefix=prefix if isinstance(prefix, str) else "",
    )


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a tokenizer that remembers no words; its file's own padding and truncation give way to ours."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # tokenizers raises plain Exception
        raise ConfigError(f"cannot read {path}: install a model with seclude-model") from exc
    if not isinstance(tokenizer.model, BPE | Unigram):
        raise ConfigError(f"{path} is neither a BPE nor a Unigram tokenizer, as an encoder-decoder model here has it")
    tokenizer.model._resize_cache(0)  # words that were cut would stay, those of all requests together
    tokenizer.model._clear_cache()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # a "</s>" in somebody's message is not the model's mark
    return tokenizer


def octets_of(tokenizer: Tokenizer) -> list[bytes]:
    """Return what each token stands for: octets that are characters only when put together; nothing for marks."""
    plain = _reading(tokenizer.decoder.decode)
    vocabulary = tokenizer.get_vocab()
    octets = [b""] * (max(vocabulary.values()) + 1)
    for piece, token in vocabulary.items():
        octets[token] = plain(piece)
    for token, added in tokenizer.get_added_tokens_decoder().items():
        octets[token] = b"" if added.special else added.content.encode()
    return octets


def _reading(decode: Callable[[list[str]], str]) -> Callable[[str], bytes]:
    """Return how a piece of the vocabulary is read, told by what the tokenizer makes of two pieces."""
    if decode(["x", "\u0120y"]) == "x y":  # the alphabet of GPT-2: each octet is a character that can be seen
        shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        hidden = [octet for octet in range(0x100) if octet not in shown]
        alphabet = {chr(octet): octet for octet in shown} | {chr(0x100 + n): octet for n, octet in enumerate(hidden)}
        return lambda piece: (
            bytes(map(alphabet.__getitem__, piece)) if alphabet.keys() >= set(piece) else piece.encode()
        )
    if decode(["x", "\u2581y"]) == "x y":  # the mark of SentencePiece
        fallback = decode(["x", "<0x79>"]) == "xy"
        return lambda piece: (
            bytes.fromhex(piece[3:5]) if fallback and OCTET.fullmatch(piece) else piece.replace("\u2581", " ").encode()
        )
    raise ConfigError("this tokenizer.json joins tokens in a way that is not known here")


@dataclass(frozen=True, slots=True)
class _Said:
    """Settings of a file, each of the kind that it must have."""

    path: Path
    settings: Mapping[str, object]

    def number(self, name: str, default: float) -> float:
        value = self.settings.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(name, "a number")
        return float(value)

    def whole(self, name: str, default: int) -> int:
        value = self.number(name, default)
        if value != int(value) or not 0 <= value <= MAX_WHOLE:
            raise self._wrong(name, "a whole number")
        return int(value)

    def tokens(self, name: str) -> tuple[int, ...]:
        """Return one token or several, as the file has it."""
        value = self.settings.get(name)
        several = [] if value is None else value if isinstance(value, list) else [value]
        if not all(type(token) is int and 0 <= token <= MAX_WHOLE for token in several):
            raise self._wrong(name, "one token or a list of tokens")
        return tuple(several)

    def words(self, name: str) -> tuple[tuple[int, ...], ...]:
        value = self.settings.get(name) or []
        if not isinstance(value, list):
            raise self._wrong(name, "a list of lists of tokens")
        return tuple(_Said(self.path, {name: word}).tokens(name) for word in value)

    def _wrong(self, name: str, kind: str) -> ConfigError:
        return ConfigError(f"{self.path}: {name} must be {kind}")


def _object(settings: Mapping[str, object], name: str) -> dict[str, object]:
    value = settings.get(name)
    return value if isinstance(value, dict) else {}


def _missing(folder: Path, layout: Layout) -> list[str]:
    return [name for name in FILES[layout] if not (folder / name).is_file()]
