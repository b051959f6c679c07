"""Folders told by their files, and what the files say."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from inference.engine.layout import FILES, Layout, batchable, generation_of, layout_of, load_tokenizer, octets_of
from inference.engine.logits import Rules
from seclude.errors import ConfigError
from tests.exports import tiny
from tests.inference.engine.test_session import by_row

# What generation_config.json of facebook/bart-large-cnn says, as far as it matters here.
LIKE_BART_CNN: dict[str, object] = {
    "decoder_start_token_id": 2,
    "eos_token_id": 2,
    "pad_token_id": 1,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "max_length": 142,
    "min_length": 56,
    "length_penalty": 2.0,
    "no_repeat_ngram_size": 3,
    "num_beams": 4,
    "early_stopping": True,
}


def folder_with(path: Path, *names: str) -> Path:
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).write_bytes(b"{}")
    return path


def said(folder: Path, config: Mapping[str, object], generation: Mapping[str, object] | None = None) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


@pytest.mark.parametrize("layout", Layout)
def test_a_layout_is_told_by_its_files(tmp_path: Path, layout: Layout) -> None:
    assert layout_of(folder_with(tmp_path / "m", *FILES[layout], "README.md")) is layout


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout in Layout for name in FILES[layout]])
def test_a_missing_file_is_named(tmp_path: Path, layout: Layout, name: str) -> None:
    folder = folder_with(tmp_path / "m", *(set(FILES[layout]) - {name}))
    if layout is Layout.DECODER and name == "genai_config.json":
        assert layout_of(folder) is Layout.ENCODER  # by files; its inputs say otherwise when it is loaded
        return
    with pytest.raises(ConfigError, match=f"{layout} lacks .*{name}"):
        layout_of(folder)


def test_what_could_be_anything_is_told_what_each_lacks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        layout_of(folder_with(tmp_path / "m", "tokenizer.json"))
    assert all(f"as {layout} lacks" in str(caught.value) for layout in Layout)


def test_a_decoder_that_is_not_merged_is_told_how_to_export(tmp_path: Path) -> None:
    names = set(FILES[Layout.SEQ2SEQ]) - {"decoder_model_merged.onnx"}
    with pytest.raises(ConfigError, match="merged decoder"):
        layout_of(folder_with(tmp_path / "m", *names, "decoder_model.onnx", "decoder_with_past_model.onnx"))


def test_no_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        layout_of(tmp_path / "none")


def test_one_graph_that_shares_makes_the_model_run_alone(tmp_path: Path) -> None:
    (tmp_path / "decoder.onnx").write_bytes(by_row("Relu"))
    assert batchable(tmp_path) is None
    (tmp_path / "encoder.onnx").write_bytes(by_row("DynamicQuantizeLinear"))
    assert (batchable(tmp_path) or "").startswith("encoder.onnx has DynamicQuantizeLinear")
    assert batchable(tmp_path / "decoder.onnx") is None
    with pytest.raises(ConfigError, match="no ONNX file"):
        batchable(folder_with(tmp_path / "empty"))


def test_a_summariser_is_used_as_its_file_says(tmp_path: Path) -> None:
    told = generation_of(said(tmp_path, {"max_position_embeddings": 1024}, LIKE_BART_CNN))
    assert (told.start, told.pad, told.beams, told.length_penalty, told.early) == (2, 1, 4, 2.0, True)
    assert (told.max_input, told.prefix) == (1024, "")
    assert told.rules == Rules(
        eos=frozenset({2}), min_length=56, max_length=142, forced_bos=0, forced_eos=(2,), no_repeat_ngram=3
    )


def test_a_task_has_the_last_word(tmp_path: Path) -> None:
    task = {"prefix": "summarize: ", "num_beams": 4, "max_length": 200, "min_length": 30, "early_stopping": True}
    config = {"n_positions": 512, "task_specific_params": {"summarization": task, "translation_en_to_de": {}}}
    told = generation_of(said(tmp_path, config, {"decoder_start_token_id": 0, "eos_token_id": [1, 5]}))
    assert (told.prefix, told.beams, told.early, told.max_input) == ("summarize: ", 4, True, 512)
    assert (told.rules.eos, told.rules.max_length, told.rules.min_length) == (frozenset({1, 5}), 200, 30)


def test_an_old_model_says_it_all_in_its_config(tmp_path: Path) -> None:
    assert generation_of(said(tmp_path, LIKE_BART_CNN)).beams == 4


def test_what_is_not_said_is_as_in_transformers(tmp_path: Path) -> None:
    told = generation_of(said(tmp_path, {}, {"decoder_start_token_id": 0, "eos_token_id": 1}))
    assert (told.beams, told.rules.max_length, told.rules.temperature, told.max_input) == (1, 20, 0.0, 512)
    assert told.early is False


def test_chance_is_taken_over_with_its_limits(tmp_path: Path) -> None:
    given = {"decoder_start_token_id": 0, "eos_token_id": 1, "do_sample": True, "temperature": 0.7, "top_p": 0.9}
    rules = generation_of(said(tmp_path, {}, given)).rules
    assert (rules.temperature, rules.top_p, rules.top_k) == (0.7, 0.9, 50)


def test_no_text_is_longer_than_the_model_has_positions(tmp_path: Path) -> None:
    given = {"decoder_start_token_id": 0, "eos_token_id": 1, "max_new_tokens": 500}
    assert generation_of(said(tmp_path, {"max_position_embeddings": 64}, given)).rules.max_length == 64
    assert generation_of(said(tmp_path, {}, given)).rules.max_length == 501


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"num_beam_groups": 2}, "num_beam_groups"),
        ({"penalty_alpha": 0.6}, "penalty_alpha"),
        ({"encoder_no_repeat_ngram_size": 3}, "encoder_no_repeat_ngram_size"),
        ({"do_sample": True, "num_beams": 4}, "chance in a beam search"),
        ({"num_beams": 0}, "beams"),
        ({"num_beams": 17}, "beams"),
        ({"num_beams": "4"}, "num_beams must be a number"),
        ({"num_beams": 1.5}, "num_beams must be a whole number"),
        ({"max_length": True}, "max_length"),
        ({"max_length": 1}, "limits"),
        ({"length_penalty": float("nan")}, "length_penalty"),
        ({"eos_token_id": None}, "eos_token_id"),
        ({"eos_token_id": [1, "2"]}, "eos_token_id"),
        ({"eos_token_id": -1}, "eos_token_id"),
        ({"decoder_start_token_id": None}, "decoder_start_token_id"),
        ({"bad_words_ids": [3]}, None),
        ({"bad_words_ids": 3}, "bad_words_ids"),
        ({"repetition_penalty": 0}, "above zero"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, wrong: dict[str, object], word: str | None) -> None:
    folder = said(tmp_path, {}, LIKE_BART_CNN | wrong)
    if word is None:
        assert generation_of(folder).rules.bad_words == ((3,),)
        return
    with pytest.raises(ConfigError, match=word):
        generation_of(folder)


@pytest.mark.parametrize("octets", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a": "' + b"a" * (1 << 20) + b'"}'])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "config.json").write_bytes(octets)
    with pytest.raises(ConfigError, match=r"config\.json"):
        generation_of(tmp_path)


def sentencepiece(path: Path) -> Path:
    """A tokenizer as T5 and Pegasus have it."""
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyzé"]
    octets = [(f"<0x{octet:02X}>", -9.0) for octet in range(256)]
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("\u2581", -2.0), ("\u2581the", -1.0), *letters, *octets]
    made = Tokenizer(models.Unigram(pieces, 0, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    made.add_special_tokens(["</s>"])
    made.save(str(path))
    return path


def joined(tokenizer: Tokenizer, text: str) -> str:
    octets = octets_of(tokenizer)
    return b"".join(octets[token] for token in tokenizer.encode(text).ids).decode()


def test_octets_of_a_sentencepiece_tokenizer_join_to_the_text(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(sentencepiece(tmp_path / "tokenizer.json"))
    assert joined(tokenizer, "the plumber, café 🎉") == " the plumber, café 🎉"


def test_octets_of_a_byte_level_tokenizer_join_to_the_text() -> None:
    tokenizer = load_tokenizer(tiny("tiny-bart") / "tokenizer.json")
    text = "see you tomorrow, café 🎉\n\tat 7 €"
    assert joined(tokenizer, text) == text


def test_the_name_of_a_mark_in_a_text_is_only_text() -> None:
    tokenizer = load_tokenizer(tiny("tiny-bart") / "tokenizer.json")
    ids = tokenizer.encode("a</s>b").ids
    assert ids.count(2) == 1  # the one at the end
    assert joined(tokenizer, "a</s>b") == "a</s>b"


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(path))
    with pytest.raises(ConfigError, match="neither"):
        load_tokenizer(path)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="cannot read"):
        load_tokenizer(path)
    strange = Tokenizer(models.BPE({"a": 0}, []))
    strange.decoder = decoders.BPEDecoder()
    with pytest.raises(ConfigError, match="joins tokens"):
        octets_of(strange)
