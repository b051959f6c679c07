"""The words of a text and their numbers, against the library that models are published for."""

import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from inference.engine.wordpiece import WordPieces, words_of
from tests.running import MODEL, ROOT

MOST = 128
NEWER = 600  # characters of newer Unicode than the library knows, whose kind it does not know
MARKS = ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]")


@pytest.fixture(scope="module")
def library(model: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST)
    return tokenizer


@pytest.fixture(scope="module")
def pieces(library: Tokenizer) -> WordPieces:
    return WordPieces(library.get_vocab(), MOST)


def test_every_line_of_this_project_gives_the_librarys_numbers(library: Tokenizer, pieces: WordPieces) -> None:
    files = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "tests" / "client").glob("*.py"))]
    lines = {line for file in files for line in file.read_text().splitlines()}
    assert len(lines) > 1000
    lines -= {line for line in lines if any(mark in line for mark in MARKS)}
    assert [line for line in sorted(lines) if pieces.encode(line) != library.encode(line).ids] == []


def test_every_character_is_taken_as_the_library_takes_it(library: Tokenizer, pieces: WordPieces) -> None:
    characters = [chr(point) for point in (*range(0x3400), *range(0xA000, 0xD800, 7), *range(0xF900, 0x20000, 3))]
    texts = [f"a{each}b {each}{each}" for each in characters]
    differ = [text[1] for text in texts if pieces.encode(text) != library.encode(text).ids]
    assert len(differ) < NEWER
    assert min(differ) > "\u0600"
    assert {unicodedata.category(each) for each in differ} <= {"Po", "Mn", "Mc", "Cf", "So", "Ps", "Pe", "Pd"}


@pytest.mark.skipif(not (MODEL / "tokenizer.json").exists(), reason="no model")
@given(
    st.text(
        st.characters(max_codepoint=0x5FF, exclude_categories=("Cs", "Cn"))
        | st.sampled_from("你好世界한국어日本語かな\U00020000\u1e9e\u0130\u200d\ufe0f🎉👍🏽"),
        max_size=200,
    )
)
def test_any_text_gives_the_librarys_numbers(library: Tokenizer, pieces: WordPieces, text: str) -> None:
    if not any(mark in text for mark in MARKS):
        assert pieces.encode(text) == library.encode(text).ids


@pytest.mark.parametrize("length", [99, 100, 101])
def test_words_too_long_are_unknown_as_in_the_library(library: Tokenizer, pieces: WordPieces, length: int) -> None:
    assert pieces.encode("a" * length) == library.encode("a" * length).ids


@pytest.mark.parametrize("words", [0, 1, 125, 126, 127, 128, 1000])
def test_long_texts_end_where_the_librarys_do(library: Tokenizer, pieces: WordPieces, words: int) -> None:
    text = "unaffable " * words
    assert pieces.encode(text) == library.encode(text).ids
    assert len(pieces.encode(text)) <= MOST


def test_a_mark_in_a_message_is_text(library: Tokenizer, pieces: WordPieces) -> None:
    end = library.token_to_id("[SEP]")
    assert end is not None
    assert library.encode("a [SEP] b").ids.count(end) == 2
    assert pieces.encode("a [SEP] b").count(end) == 1


def test_a_vocabulary_without_marks_is_refused() -> None:
    with pytest.raises(KeyError):
        WordPieces({"a": 0}, MOST)


def test_nothing_of_a_text_is_referred_to_afterwards(pieces: WordPieces) -> None:
    text = "".join(("Grüße, ", "Wombat-7f3a"))
    before = sys.getrefcount(text)
    pieces.encode(text)
    words_of(text)
    assert sys.getrefcount(text) == before
