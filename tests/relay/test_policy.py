"""What passes the relay and what does not."""

import json
from dataclasses import replace

import pytest

from relay.policy import Forward, Serve, admit, check_length, passes, rebuild
from seclude.daemon.messages import Request, Response, UpstreamResponse
from seclude.errors import OHTTP_KEY, DecodeError, MediaTypeError, PeerError, TooLargeError
from seclude.ohttp.media import OHTTP_CHUNKED_REQ, OHTTP_REQ

PATH = "/.well-known/ohttp-gateway"
POST = Request("POST", PATH, "message/ohttp-req", None, 10, None)  # type: ignore[arg-type] # admit() reads no body
GET = replace(POST, method="GET", content_type=None, content_length=None)


def problem(status: int, body: bytes, kind: str = "application/problem+json", retry: str | None = None) -> Response:
    return rebuild(UpstreamResponse(status, kind, body, retry))


def test_a_post_of_an_encapsulated_request_is_forwarded() -> None:
    assert admit(POST, 100) == Forward(OHTTP_REQ, incremental=False)
    assert admit(replace(POST, content_length=None), 100) == Forward(OHTTP_REQ, incremental=False)
    assert admit(replace(POST, content_type="Message/OHTTP-Req"), 100) == Forward(OHTTP_REQ, incremental=False)
    assert admit(replace(POST, content_type="message/ohttp-chunked-req"), 100) == Forward(
        OHTTP_CHUNKED_REQ, incremental=True
    )


@pytest.mark.parametrize(
    "path",
    ["/", "", PATH + "/", PATH[:-1], PATH.upper(), "/.well-known//ohttp-gateway", "/.well-known/ohttp%2Dgateway"],
)
def test_there_is_one_path(path: str) -> None:
    answer = admit(replace(POST, path=path), 100)
    assert isinstance(answer, Response)
    assert answer.status == 404


def test_a_client_that_knows_no_chunks_is_given_none() -> None:
    with pytest.raises(DecodeError):
        admit(replace(POST, content_type="message/ohttp-chunked-req", is_http11=False), 100)
    assert admit(replace(POST, is_http11=False), 100) == Forward(OHTTP_REQ, incremental=False)


@pytest.mark.parametrize("method", ["PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "post", "TRACE"])
def test_there_are_two_methods(method: str) -> None:
    answer = admit(replace(POST, method=method), 100)
    assert isinstance(answer, Response)
    assert (answer.status, answer.fields) == (405, (("Allow", "GET, POST"),))


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "message/ohttp-req2",
        "xmessage/ohttp-req",
        "message/ohttp-res",
        "message/ohttp-chunked-res",
        "*/*",
        "text/plain; message/ohttp-req",
        "application/octet-stream",
    ],
)
def test_the_media_type_is_compared_whole(kind: str | None) -> None:
    with pytest.raises(MediaTypeError):
        admit(replace(POST, content_type=kind), 100)


@pytest.mark.parametrize(("length", "error"), [(0, DecodeError), (1, None), (100, None), (101, TooLargeError)])
def test_a_request_is_neither_empty_nor_over_the_limit(length: int, error: type[PeerError] | None) -> None:
    if error is None:
        check_length(length, 100)
        assert admit(replace(POST, content_length=length), 100) == Forward(OHTTP_REQ, incremental=False)
        return
    with pytest.raises(error):
        check_length(length, 100)
    with pytest.raises(error):
        admit(replace(POST, content_length=length), 100)


@pytest.mark.parametrize(
    ("accept", "served"),
    [
        (None, "application/ohttp-keys"),
        ("*/*", "application/ohttp-keys"),
        ("application/ohttp-keys", "application/ohttp-keys"),
        ("application/seclude-key-bundles", "application/seclude-key-bundles"),
    ],
)
def test_keys_are_served_by_accept(accept: str | None, served: str) -> None:
    assert admit(replace(GET, accept=accept), 100) == Serve(served)


def test_other_representations_are_not_acceptable() -> None:
    answer = admit(replace(GET, accept="text/html"), 100)
    assert isinstance(answer, Response)
    assert answer.status == 406


def test_a_sealed_answer_passes() -> None:
    assert passes(OHTTP_REQ, 200, "message/ohttp-res") == "message/ohttp-res"
    assert passes(OHTTP_CHUNKED_REQ, 200, "message/ohttp-chunked-res") == "message/ohttp-chunked-res"


@pytest.mark.parametrize(
    ("asked", "status", "kind"),
    [
        (OHTTP_REQ, 201, "message/ohttp-res"),
        (OHTTP_REQ, 200, "text/html"),
        (OHTTP_REQ, 200, ""),
        (OHTTP_REQ, 200, "message/ohttp-chunked-res"),
        (OHTTP_CHUNKED_REQ, 200, "message/ohttp-res"),
        (OHTTP_CHUNKED_REQ, 201, "message/ohttp-chunked-res"),
    ],
)
def test_no_other_answer_passes(asked: str, status: int, kind: str) -> None:
    assert passes(asked, status, kind) is None


@pytest.mark.parametrize(
    "answer",
    [
        UpstreamResponse(200, "message/ohttp-res", b""),
        UpstreamResponse(200, "text/html", b"<script>"),
        UpstreamResponse(200, None, b"sealed"),
        UpstreamResponse(200, "message/ohttp-res2", b"sealed"),
        *(UpstreamResponse(s, "message/ohttp-res", b"sealed") for s in (201, 204, 206, 301, 302, 304, 307, 401, 403)),
        *(UpstreamResponse(s, "message/ohttp-res", b"sealed") for s in (404, 418, 451, 501, 505, 599, 999)),
    ],
)
def test_everything_else_that_is_no_listed_error_is_a_bad_gateway(answer: UpstreamResponse) -> None:
    rebuilt = rebuild(answer)
    assert rebuilt.status == 502
    assert rebuilt.fields == ()
    assert json.loads(rebuilt.body) == {"type": "about:blank", "title": "Bad Gateway", "status": 502}


@pytest.mark.parametrize("status", [400, 413, 415, 422, 429, 500, 502, 503, 504])
def test_a_listed_error_keeps_its_status_and_nothing_of_its_body(status: int) -> None:
    body = b'{"type":"https://evil.example/42","title":"you are 42","detail":"42","status":200}'
    rebuilt = problem(status, body)
    assert rebuilt.status == status
    assert json.loads(rebuilt.body)["type"] == "about:blank"
    assert b"42" not in rebuilt.body.replace(b"422", b"").replace(b"429", b"")


def test_the_type_for_an_unknown_key_passes() -> None:
    body = json.dumps({"type": OHTTP_KEY, "title": "tracking", "detail": "tracking"}).encode()
    rebuilt = problem(422, body)
    assert json.loads(rebuilt.body) == {"type": OHTTP_KEY, "title": "key identifier unknown", "status": 422}
    assert json.loads(problem(422, body, "text/plain").body)["type"] == "about:blank"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"type":1}', b"\xff", b"[" * 4000, b'{"type":"' + b"x" * 10_000 + b'"}']
)
def test_a_broken_problem_document_is_a_blank_one(body: bytes) -> None:
    assert json.loads(problem(400, body).body)["type"] == "about:blank"


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("0", "0"),
        ("7", "7"),
        ("007", "7"),
        ("600", "600"),
        ("601", None),
        ("0007", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        (" 7", None),
        ("٧", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        (None, None),
    ],
)
def test_a_small_number_of_seconds_passes_in_one_spelling(text: str | None, passed: str | None) -> None:
    fields = (("Retry-After", passed),) if passed is not None else ()
    assert problem(503, b"", retry=text).fields == fields
    assert problem(429, b"", retry=text).fields == fields
    assert problem(400, b"", retry=text).fields == ()
