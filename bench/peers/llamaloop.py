"""The same greedy loop on llama.cpp, for a Python that has `llama-cpp-python`; started by `bench.peers.llama`.

    python llamaloop.py FILE.gguf THREADS ROWS

It imports nothing of the project. For each line of JSON `{"ids": [...], "rows": N, "steps": N}` on standard input it
answers with one: CPU and wall nanoseconds of the steps after the first token, and what each row wrote.
"""

import json
import sys
from importlib import import_module
from time import perf_counter_ns, process_time_ns
from types import ModuleType
from typing import Any

import numpy as np

CONTEXT = 1024  # places of each row
BATCH = 512


class Model:
    """A model and a context with so many sequences."""

    def __init__(self, llama: ModuleType, path: str, threads: int, rows: int) -> None:
        self._llama = llama
        self._quiet = llama.llama_log_callback(lambda level, text, data: None)  # it would tell of each tensor
        llama.llama_log_set(self._quiet, None)
        llama.llama_backend_init()
        self._model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
        if not self._model:
            sys.exit(f"llama.cpp cannot load {path}")
        settings = llama.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_seq_max = CONTEXT * rows, BATCH, rows
        settings.n_threads = settings.n_threads_batch = threads
        settings.no_perf = True
        self._context = llama.llama_init_from_model(self._model, settings)
        self._words = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        self._batch = llama.llama_batch_init(BATCH, 0, 1)

    def decode(self, ids: list[int], rows: int, steps: int) -> dict[str, Any]:
        """Read the tokens in each row, then take so many steps of all rows."""
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), True)
        last = []
        for row in range(rows):
            self._run([(token, place, row, place == len(ids) - 1) for place, token in enumerate(ids)])
            last.append(self._likeliest(len(ids) - 1))
        written: list[list[int]] = [[] for _ in range(rows)]
        cpu, wall = process_time_ns(), perf_counter_ns()
        for place in range(len(ids), len(ids) + steps):
            for row, token in enumerate(last):
                written[row].append(token)
            self._run([(token, place, row, True) for row, token in enumerate(last)])
            last = [self._likeliest(row) for row in range(rows)]
        return {"cpu": process_time_ns() - cpu, "wall": perf_counter_ns() - wall, "tokens": written}

    def _run(self, entries: list[tuple[int, int, int, bool]]) -> None:
        batch = self._batch
        batch.n_tokens = len(entries)
        for at, (token, place, row, shown) in enumerate(entries):
            batch.token[at], batch.pos[at], batch.logits[at] = token, place, shown
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, row
        if self._llama.llama_decode(self._context, batch):
            sys.exit("llama.cpp failed")

    def _likeliest(self, place: int) -> int:
        logits = self._llama.llama_get_logits_ith(self._context, place)
        return int(np.ctypeslib.as_array(logits, shape=(self._words,)).argmax())


def main() -> None:
    """Answer line by line, until there are no more."""
    path, threads, rows = sys.argv[1:]
    llama = import_module("llama_cpp")  # which this project's own Python need not have
    model = Model(llama, path, int(threads), int(rows))
    print(json.dumps(llama.llama_print_system_info().decode()), flush=True)
    for line in sys.stdin:
        print(json.dumps(model.decode(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
