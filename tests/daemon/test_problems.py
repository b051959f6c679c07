"""Every error has a row, and no row lets an exception speak."""

import inspect
import json

import pytest

from seclude import errors
from seclude.daemon.problems import REASONS, STATUSES, TABLE, PeerTimeoutError, answer_for, refusal

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.Error)]
PEER_KINDS = [kind for kind in [*KINDS, PeerTimeoutError] if issubclass(kind, errors.PeerError)]


@pytest.mark.parametrize("kind", PEER_KINDS)
def test_a_peers_error_is_answered_with_the_status_and_type_of_its_class(kind: type[errors.PeerError]) -> None:
    answer = answer_for(kind("private detail"))
    assert kind in TABLE
    assert answer.status == kind.status
    assert json.loads(answer.body)["type"] == kind.problem


@pytest.mark.parametrize("kind", [*KINDS, PeerTimeoutError, ValueError, KeyError, TimeoutError, MemoryError])
def test_a_document_has_three_members_and_no_text_of_the_exception(kind: type[Exception]) -> None:
    answer = answer_for(kind("private detail"))
    document = json.loads(answer.body)
    assert set(document) == {"type", "title", "status"}
    assert document["status"] == answer.status
    assert answer.content_type == "application/problem+json"
    assert b"private" not in answer.body
    assert answer.reason in REASONS


@pytest.mark.parametrize(
    "kind", [errors.UsageError, errors.ConfigError, errors.VerificationError, errors.EvidenceError, errors.PolicyError]
)
def test_our_own_faults_look_exactly_like_an_unknown_exception(kind: type[Exception]) -> None:
    assert answer_for(kind("x")) == answer_for(ValueError("y"))
    assert answer_for(kind("x")).status == 500


def test_a_busy_server_says_when_to_come_back() -> None:
    answer = answer_for(errors.BusyError("full", retry_after_seconds=7))
    assert (answer.status, answer.fields) == (503, (("Retry-After", "7"),))


def test_the_next_hop_is_down_or_slow() -> None:
    assert answer_for(errors.UpstreamError("x")).status == 502
    assert answer_for(errors.UpstreamError("x", timed_out=True)).status == 504


def test_an_unlisted_subclass_is_answered_like_its_nearest_base() -> None:
    class OddError(errors.TooLargeError):
        pass

    assert answer_for(OddError("x")).status == 413


@pytest.mark.parametrize("status", STATUSES)
def test_a_refusal_has_its_status_and_fields(status: int) -> None:
    answer = refusal(status, fields=(("Allow", "GET"),))
    assert (answer.status, json.loads(answer.body)["status"]) == (status, status)
    assert answer.fields == (("Allow", "GET"),)
    assert answer.reason in REASONS


def test_a_refusal_without_a_row_is_a_bug() -> None:
    with pytest.raises(errors.UsageError):
        refusal(418)


def test_an_unknown_key_has_the_type_and_title_of_the_rfc() -> None:
    expected = {"type": errors.OHTTP_KEY, "title": "key identifier unknown"}
    assert json.loads(answer_for(errors.UnknownKeyError("x")).body) == {**expected, "status": 422}
    assert json.loads(refusal(400, problem=errors.OHTTP_KEY).body) == {**expected, "status": 400}
