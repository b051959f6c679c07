"""What of a chat one request can hold."""

from datetime import datetime

from seclude.client.chats import ChatMessage
from seclude.client.fit import fit
from seclude.tasks import (
    MAX_MESSAGES,
    MAX_REQUEST_BYTES,
    MAX_SENDER,
    MAX_TEXT,
    SummarizeRequest,
    decode,
    encode,
)


def chat(count: int, text: str = "hello") -> list[ChatMessage]:
    return [ChatMessage(f"sender {number}", text, datetime(2025, 6, 13, 12)) for number in range(count)]


def test_a_small_chat_fits_whole() -> None:
    fitted = fit(chat(3))
    assert [message.sender for message in fitted.messages] == ["sender 0", "sender 1", "sender 2"]
    assert (fitted.left_out, fitted.shortened) == (0, 0)


def test_no_messages_fit() -> None:
    assert fit([]).messages == ()


def test_the_newest_stay_at_the_limit_of_messages() -> None:
    assert fit(chat(MAX_MESSAGES)).left_out == 0
    fitted = fit(chat(MAX_MESSAGES + 1))
    assert fitted.left_out == 1
    assert fitted.messages[0].sender == "sender 1"


def test_what_fits_is_a_request_that_the_worker_reads() -> None:
    fitted = fit(chat(2000, "é" * 2000))
    content = encode(SummarizeRequest(messages=fitted.messages))
    assert len(content) <= MAX_REQUEST_BYTES
    assert len(decode(SummarizeRequest, content).messages) == len(fitted.messages) > 200
    assert fitted.left_out == 2000 - len(fitted.messages)
    assert fitted.messages[-1].sender == "sender 1999"


def test_long_texts_and_senders_are_cut_and_counted() -> None:
    fitted = fit(
        [ChatMessage("A", "x" * (MAX_TEXT + 1), None), ChatMessage("B" * (MAX_SENDER + 1), "y", None), *chat(1)]
    )
    assert fitted.shortened == 2
    assert len(fitted.messages[0].text) == MAX_TEXT
    assert len(fitted.messages[1].sender) == MAX_SENDER
