"""The models that a worker is told of, loaded: each in its place, and nothing of them read from a file afterwards."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from inference.config import LANGUAGE, MODEL, SUMMARISER, LanguageSettings, Measured
from inference.engine.decoder import Decoder
from inference.engine.encoder import SentenceEncoder
from inference.engine.generation import template_of
from inference.engine.layout import Layout, layout_of
from inference.engine.seq2seq import Seq2Seq
from inference.runner import Runner
from inference.tasks.language import LanguageModel, wishes_of
from inference.tasks.router import Tasks
from seclude.errors import ConfigError

LAYOUTS: Final = {MODEL: Layout.ENCODER, LANGUAGE: Layout.DECODER, SUMMARISER: Layout.SEQ2SEQ}
KEYS: Final = {Layout.ENCODER: "model", Layout.DECODER: "language_model", Layout.SEQ2SEQ: "summariser"}
SLOTS_PER_CORE: Final = 4
MAX_SLOTS: Final = 32  # of those that a machine's size gives: with more at once, each waits too long for a word


def load_tasks(folders: Mapping[str, Path], measured: Measured, runner: Runner) -> Tasks:
    """Return the tasks over the models of `Launch.folders`, which work with the runner; to be closed.

    Raises ConfigError for a model in a place that is not for its kind.
    """
    for word, folder in folders.items():
        layout = layout_of(folder)
        if layout is not LAYOUTS[word]:
            raise ConfigError(f"{folder} holds a model of the kind {layout}: name it as launch.{KEYS[layout]}")
    encoder, summariser, language = SentenceEncoder(folders[MODEL], measured.model_threads), None, None
    if SUMMARISER in folders:
        summariser = Seq2Seq(folders[SUMMARISER], measured.summariser.threads)
    if LANGUAGE in folders:  # the last one, as its engine runs from here on
        language = _load_language(folders[LANGUAGE], measured.language, runner)
    return Tasks(encoder, runner=runner, language=language, summariser=summariser)


def _load_language(folder: Path, settings: LanguageSettings, runner: Runner) -> LanguageModel:
    cores = len(os.sched_getaffinity(0))
    slots = settings.slots or min(SLOTS_PER_CORE * cores, MAX_SLOTS)
    decoder = Decoder(folder, settings.threads or max(1, cores - 1), slots, context=settings.context)
    wishes = wishes_of(folder, max_tokens=settings.most_tokens, wait_seconds=settings.wait_seconds)
    name, template = folder.resolve().name, template_of(folder, decoder)
    return LanguageModel(name, decoder, template, runner, waiting=settings.waiting, defaults=wishes)
