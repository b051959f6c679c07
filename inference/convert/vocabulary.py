"""The vocabulary of a GGUF file as `tokenizer.json` (Hugging Face tokenizers), and what chat templates need beside it.

Only byte-level BPE ("gpt2" in the file), of which llama.cpp knows how text is first cut by a name, tokenizer.ggml.pre.
That cut is no detail: without the one for digits SmolLM2 reads other numbers than it was trained on.
"""

import json
from types import MappingProxyType
from typing import Final

from inference.convert.gguf import Gguf
from seclude.errors import ConfigError

CONTROL: Final = 3  # ggml's token types (llama.h, llama_token_type): marks that are never text
USER_DEFINED: Final = 4  # text that is always one token
TEMPLATE: Final = "tokenizer.chat_template"

Json = dict[str, object]


def _cut(pattern: str) -> Json:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _bytes(*, use_regex: bool) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


LLAMA_3: Final = (  # as Meta publishes it with the model, in its tokenizer.json
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUTS: Final[MappingProxyType[str, tuple[Json, ...]]] = MappingProxyType(
    {
        "gpt-2": (_bytes(use_regex=True),),
        "smollm": ({"type": "Digits", "individual_digits": True}, _bytes(use_regex=True)),
        "llama-bpe": (_cut(LLAMA_3), _bytes(use_regex=False)),
    }
)
WHOLE_WORDS: Final = frozenset({"llama-bpe"})  # where a word that is in the vocabulary is not put together from pieces


def tokenizer(gguf: Gguf) -> str:
    """Return tokenizer.json."""
    if (kind := gguf.text("tokenizer.ggml.model")) != "gpt2":
        raise ConfigError(f"the GGUF file has a vocabulary of kind {kind[:40]!a}: only gpt2 can be converted")
    cut = gguf.text("tokenizer.ggml.pre", "")
    if cut not in CUTS:
        raise ConfigError(f"the GGUF file cuts text as {cut[:40]!a} does; known here are {', '.join(CUTS)}")
    words = _words(gguf)
    merges = [merge.split(" ") for merge in gguf.texts("tokenizer.ggml.merges")]
    known = set(words)
    if any(len(merge) != 2 or not {*merge, "".join(merge)} <= known for merge in merges):
        raise ConfigError("the GGUF file joins pieces that its vocabulary does not have")
    document: Json = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(gguf, words),
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": CUTS[cut]},
        "post_processor": None,
        "decoder": _bytes(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": cut in WHOLE_WORDS,
            "vocab": {word: index for index, word in enumerate(words)},
            "merges": merges,
        },
    }
    return _text(document)


def tokenizer_config(gguf: Gguf) -> str:
    """Return tokenizer_config.json: the marks at a text's ends, and the chat template as it is."""
    words = _words(gguf)
    document: Json = {"add_bos_token": bool(gguf.metadata.get("tokenizer.ggml.add_bos_token", False))}
    for mark in ("bos", "eos"):
        if (index := marks(gguf, len(words)).get(mark)) is not None:
            document[f"{mark}_token"] = words[index]
    if TEMPLATE in gguf.metadata:
        document["chat_template"] = gguf.text(TEMPLATE)
    return _text(document)


def marks(gguf: Gguf, size: int) -> dict[str, int]:
    """Return the tokens that begin and end a text, as far as the file names them."""
    found: dict[str, int] = {}
    for mark in ("bos", "eos", "eot"):
        value = gguf.metadata.get(f"tokenizer.ggml.{mark}_token_id")
        if value is None:
            continue
        if not isinstance(value, int) or not 0 <= value < size:
            raise ConfigError(f"the GGUF file has a mark {mark} that its vocabulary does not have")
        found[mark] = value
    return found


def _words(gguf: Gguf) -> list[str]:
    words = gguf.texts("tokenizer.ggml.tokens")
    if len(set(words)) != len(words):
        raise ConfigError("the GGUF file has a word of its vocabulary twice")
    return words


def _added(gguf: Gguf, words: list[str]) -> list[Json]:
    """Return the tokens that are not put together from pieces."""
    types = gguf.metadata.get("tokenizer.ggml.token_type")
    if not isinstance(types, list) or len(types) != len(words):
        raise ConfigError("the GGUF file has no token_type for each word")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": index, "content": word, **flags, "special": kind == CONTROL}
        for index, (word, kind) in enumerate(zip(words, types, strict=True))
        if kind in {CONTROL, USER_DEFINED}
    ]


def _text(document: Json) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
