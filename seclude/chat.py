"""Chats with a language model: the JSON that devices and workers exchange inside the encapsulation.

A subset of what OpenAI's chat completions look like, with what one answer is made of and nothing else: no identifiers,
no times, no fields that only name who asks. The device adds what its apps want to see. One set of types for both
sides, as in `tasks`, whose `decode` and `encode` read and write them: unknown fields are refused, and no `repr` or
error shows any of what people wrote.

A streamed answer is `text/event-stream`: a `ChatChunk` in each event, of which the last that has a choice says why it
ended, then `DONE`. An answer without it is not whole. Where it goes wrong in the middle, the last event is named
`tasks.ERROR_EVENT` and holds a `Problem`.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from seclude.tasks import Private

CHAT_PATH: Final = "/v1/chat/completions"
MODELS_PATH: Final = "/v1/models"
DONE: Final = b"[DONE]"
"""The data of the last event of a streamed answer that is whole."""

MAX_MODEL: Final = 100  # characters of a model's name; "SmolLM2-135M-Instruct" has 21
MAX_MODELS: Final = 32  # that one worker could hold in memory, and more
MAX_CHAT_MESSAGES: Final = 1_000  # a day of questions and answers; what fits a model is decided by its context
MAX_CONTENT: Final = 1 << 19  # characters of one message; contexts of 128,000 tokens end near there
MAX_ANSWER_TOKENS: Final = 1 << 17  # no model here has a longer context, and the answer is a part of it
MAX_STOPS: Final = 4  # as OpenAI has it
MAX_STOP: Final = 200  # characters; a stop string is a word or a line, and each is held back while it may begin
MAX_TEMPERATURE: Final = 2.0  # as OpenAI has it; above it, text is noise

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length"]
"""Why an answer ends: the model was done or a stop string came; or there was no room for more."""

Temperature = Annotated[float, Meta(ge=0, le=MAX_TEMPERATURE)]
Share = Annotated[float, Meta(gt=0, le=1)]
Seed = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Count = Annotated[int, Meta(ge=0)]
Stop = Annotated[str, Meta(min_length=1, max_length=MAX_STOP)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_MODEL)]


class ChatMessage(Private, frozen=True):
    """One turn of a chat."""

    role: Annotated[Role, Meta(description="Who speaks.")]
    content: Annotated[str, Meta(max_length=MAX_CONTENT, description="What is said.")]


class ChatRequest(Private, frozen=True, omit_defaults=True):
    """Asks a model for the next turn of a chat."""

    model: Annotated[Name, Meta(description="Name of an installed model, as `GET /v1/models` gives it.")]
    messages: Annotated[
        tuple[ChatMessage, ...],
        Meta(min_length=1, max_length=MAX_CHAT_MESSAGES, description="The turns so far, oldest first."),
    ]
    stream: Annotated[bool, Meta(description="Whether the answer comes as events, while it is made.")] = False
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_ANSWER_TOKENS)] | None,
        Meta(description="The most tokens of the answer; null: as many as the model's context has room for."),
    ] = None
    temperature: Annotated[
        Temperature | None, Meta(description="0 takes the likeliest token each time; null: as the model's files say.")
    ] = None
    top_p: Annotated[
        Share | None,
        Meta(description="Choose among the likeliest tokens that together have this share; null: as above."),
    ] = None
    stop: Annotated[
        tuple[Stop, ...], Meta(max_length=MAX_STOPS, description="The answer ends before any of these, never with it.")
    ] = ()
    seed: Annotated[
        Seed | None,
        Meta(description="The same for the same choices, on the same worker software; null: drawn for the request."),
    ] = None
    n: Annotated[Literal[1], Meta(description="How many answers; one.")] = 1


class Usage(Private, frozen=True):
    """How many tokens were read and written."""

    prompt_tokens: Annotated[Count, Meta(description="Of the request, with what the chat template adds.")]
    completion_tokens: Annotated[Count, Meta(description="Of the answer.")]
    total_tokens: Annotated[Count, Meta(description="The sum of both.")]


class AnswerMessage(Private, frozen=True):
    """The next turn."""

    content: Annotated[str, Meta(description="What the model says.")]
    role: Annotated[Literal["assistant"], Meta(description="The model's turn.")] = "assistant"


class Choice(Private, frozen=True):
    """The answer, and why it ended."""

    message: Annotated[AnswerMessage, Meta(description="The next turn.")]
    finish_reason: Annotated[Finish, Meta(description="`length`: there was no room for more.")]
    index: Annotated[Literal[0], Meta(description="There is one choice.")] = 0


class ChatResponse(Private, frozen=True):
    """A whole answer."""

    choices: Annotated[tuple[Choice, ...], Meta(min_length=1, max_length=1, description="Exactly one.")]
    usage: Annotated[Usage, Meta(description="How many tokens it took.")]


class Delta(Private, frozen=True, omit_defaults=True):
    """What an answer goes on with."""

    content: Annotated[str, Meta(description="Whole characters; empty where only the end is said.")] = ""


class ChunkChoice(Private, frozen=True, omit_defaults=True):
    """A piece of the answer."""

    delta: Annotated[Delta, Meta(description="What the answer goes on with.")]
    finish_reason: Annotated[Finish | None, Meta(description="Of the last piece; no content follows it.")] = None
    index: Annotated[Literal[0], Meta(description="There is one choice.")] = 0


class ChatChunk(Private, frozen=True, omit_defaults=True):
    """One event of a streamed answer."""

    choices: Annotated[tuple[ChunkChoice, ...], Meta(max_length=1, description="One, or none beside `usage`.")] = ()
    usage: Annotated[Usage | None, Meta(description="Once, with the end or after it.")] = None


class Model(Private, frozen=True):
    """A model that a worker has."""

    id: Annotated[Name, Meta(description="What `model` of a request names.")]


class ModelList(Private, frozen=True):
    """The language models of a pool's workers."""

    data: Annotated[tuple[Model, ...], Meta(max_length=MAX_MODELS, description="None where there is no such model.")]
