"""The models of a worker: each in its place, loaded, at work, and every task done once before anybody is let in."""

import os
import shutil
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from inference.answer import Answer, refuse
from inference.config import LANGUAGE, MODEL, SUMMARISER, LanguageSettings, Launch, Measured
from inference.models import load_tasks
from inference.runner import Runner
from inference.tasks.router import Tasks
from inference.warmup import at_work, warm_up
from seclude import bhttp
from seclude.attestation.policy import Demonstration
from seclude.chat import MODELS_PATH, ModelList
from seclude.errors import ConfigError
from seclude.tasks import decode
from tests.inference.test_router import ConstantEncoder
from tests.languagemodel import small_model


def measured(**language: int) -> Measured:
    settings = LanguageSettings(**language)
    return Measured(origin="a.example", t0=0, period_seconds=600, policy=Demonstration(), language=settings)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def bart() -> Path:
    folder = os.environ.get("SECLUDE_TEST_MODELS")
    if folder is None:
        pytest.skip("SECLUDE_TEST_MODELS is not set")
    return Path(folder) / "tiny-bart"


async def test_every_task_is_done_once_and_the_threads_end_with_the_block(model: Path, small: Path) -> None:
    before = set(threading.enumerate())
    async with at_work({MODEL: model, LANGUAGE: small}, measured(slots=2, threads=1)) as (tasks, runner):
        assert {thread.name for thread in set(threading.enumerate()) - before} == {"task", "engine"}
        assert tasks.language is not None
        assert tasks.language.tally.running == runner.busy == 0
        assert tasks.language.tally.written >= 2, "chats were answered"
        answer = tasks.handle(bhttp.Request(b"GET", b"https", b"", MODELS_PATH.encode(), (), b""))
        assert isinstance(answer, bhttp.Response)
        assert [each.id for each in decode(ModelList, answer.content).data] == [small.name]
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) == before


async def test_a_summariser_writes_the_abstracts(model: Path, small: Path, bart: Path) -> None:
    async with at_work({MODEL: model, SUMMARISER: bart}, measured()) as (tasks, _):
        assert tasks.language is None
    async with at_work({MODEL: model, LANGUAGE: small, SUMMARISER: bart}, measured(slots=2, threads=1)) as (tasks, _):
        assert tasks.language is not None


async def test_a_model_with_little_context_is_served_for_what_it_can(model: Path, tmp_path: Path) -> None:
    short = small_model(tmp_path, context=300)
    async with at_work({MODEL: model, LANGUAGE: short}, measured(slots=1, threads=1)) as (tasks, _):
        assert tasks.language is not None
        assert tasks.language.context == 300


def test_a_model_in_the_wrong_place_is_told_its_own(model: Path, small: Path, bart: Path) -> None:
    for folders, place in (
        ({MODEL: small}, "language_model"),
        ({MODEL: model, LANGUAGE: bart}, "summariser"),
        ({MODEL: model, SUMMARISER: model}, "model"),
    ):
        with (
            closing(Runner(1, 1)) as runner,
            pytest.raises(ConfigError, match=rf"holds a model of the kind .*: name it as launch\.{place}$"),
        ):
            load_tasks(folders, measured(), runner)


def test_a_name_that_no_device_could_ask_for_is_refused(model: Path, small: Path, tmp_path: Path) -> None:
    place = shutil.copytree(small, tmp_path / ("n" * 101))
    with closing(Runner(1, 1)) as runner, pytest.raises(ConfigError, match="may have 100 characters"):
        load_tasks({MODEL: model, LANGUAGE: place}, measured(slots=1, threads=1), runner)


class _Refusing(Tasks):
    """Refuses everything."""

    def handle(self, request: bhttp.Request) -> Answer:
        return refuse(503, "too little of everything")


async def test_a_worker_whose_tasks_do_not_work_does_not_start_and_says_what_was_answered() -> None:
    with closing(Runner(1, 1)) as runner, pytest.raises(ConfigError, match=r"/v1/models .* 503: .*too little"):
        await warm_up(_Refusing(ConstantEncoder()), runner)


def test_the_engine_is_sized_to_the_machine_unless_it_is_told(model: Path, small: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    for settings, slots, context in (
        (measured(), min(4 * cores, 32), 2048),
        (measured(slots=3, context=256), 3, 256),
    ):
        with (
            closing(Runner(1, 1)) as runner,
            closing(load_tasks({MODEL: model, LANGUAGE: small}, settings, runner)) as tasks,
        ):
            assert tasks.language is not None
            assert (tasks.language.slots, tasks.language.context) == (slots, context)


def test_the_places_of_a_configuration(tmp_path: Path) -> None:
    launch = {"model": "m", "manifest": "w", "attestation": {"format": "nitro"}, "language_model": "l"}
    assert msgspec.convert(launch, Launch).folders == {MODEL: Path("m"), LANGUAGE: Path("l")}
    settings = msgspec.convert({"slots": None, "wait_seconds": 1}, LanguageSettings)
    assert (settings.slots, settings.wait_seconds) == (None, 1.0)
    for wrong in (
        {"slots": 0},
        {"most_tokens": 1025},
        {"context": 128},
        {"waiting": -1},
        {"wait_seconds": 0},
        {"x": 1},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, LanguageSettings)
