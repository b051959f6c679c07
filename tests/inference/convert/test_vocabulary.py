"""Vocabularies: the numbers that a model was taught with."""

import json

import pytest
from tokenizers import Tokenizer

from inference.convert.gguf import Gguf, parse_gguf
from inference.convert.vocabulary import CUTS, tokenizer, tokenizer_config
from seclude.errors import ConfigError
from tests.inference.convert import tiny


def said(**changes: object) -> Gguf:
    metadata = tiny.metadata() | {f"tokenizer.{key.replace('__', '.')}": value for key, value in changes.items()}
    return parse_gguf(memoryview(tiny.octets(metadata, {})))


def pieces(gguf: Gguf, text: str) -> list[str]:
    found: list[str] = Tokenizer.from_str(tokenizer(gguf)).encode(text).tokens
    return found


def test_digits_stand_alone_where_the_model_was_taught_so() -> None:
    assert pieces(said(), "in 12") == ["in", "Ġ", "1", "2"]
    assert pieces(said(ggml__pre="gpt-2"), "in 12") == ["in", "Ġ", "12"]
    assert pieces(said(ggml__pre="llama-bpe"), "in 12") == ["in", "Ġ", "12"]


def test_words_are_joined_in_the_order_of_the_merges() -> None:
    assert pieces(said(), "then the ann") == ["the", "n", "Ġthe", "Ġa", "n", "n"]


def test_a_text_comes_back() -> None:
    text = "Größe, 12 €\n<|im_end|>"
    whole = Tokenizer.from_str(tokenizer(said()))
    assert whole.decode(whole.encode(text).ids, skip_special_tokens=False) == text
    assert whole.encode(text).ids[-1] == 2


def test_the_template_stays_text() -> None:
    assert json.loads(tokenizer_config(said())) == {
        "add_bos_token": False,
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "chat_template": tiny.TEMPLATE,
    }


@pytest.mark.parametrize("cut", CUTS)
def test_every_cut_is_one_that_the_library_reads(cut: str) -> None:
    assert pieces(said(ggml__pre=cut), "a\n b")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("ggml__model", "llama", "kind 'llama'"),
        ("ggml__pre", "viking", "'viking'"),
        ("ggml__merges", ["h x"], "joins pieces"),
        ("ggml__merges", ["h"], "joins pieces"),
        ("ggml__token_type", [1, 2], "token_type"),
        ("ggml__tokens", [*tiny.WORDS[:-1], "a"], "twice"),
        ("ggml__eos_token_id", len(tiny.WORDS), "mark eos"),
    ],
)
def test_what_does_not_fit_is_refused(key: str, value: object, word: str) -> None:
    gguf = said(**{key: value})
    with pytest.raises(ConfigError, match=word):
        (tokenizer if key != "ggml__eos_token_id" else tokenizer_config)(gguf)
