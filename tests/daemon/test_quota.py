"""What one address may cost, and that nothing of it can be told from outside."""

import pytest

import seclude.daemon.quota
from seclude.daemon.quota import SALT_SECONDS, Quota, QuotaLimits, Quotas

LIMITS = QuotaLimits(connections=2, requests_per_second=10.0, burst=3)


def entered(quotas: Quotas, address: str, now: float = 0.0) -> Quota:
    quota = quotas.enter(address, now)
    assert quota is not None
    return quota


def test_an_address_has_as_many_connections_as_the_limit_and_not_one_more() -> None:
    quotas = Quotas(LIMITS, 0.0)
    first, second = entered(quotas, "192.0.2.1"), entered(quotas, "192.0.2.1")
    assert first is second
    assert quotas.enter("192.0.2.1", 0.0) is None
    assert quotas.enter("192.0.2.2", 0.0) is not None
    first.leave()
    assert quotas.enter("192.0.2.1", 0.0) is not None


def test_a_burst_passes_and_then_the_rate() -> None:
    quota = entered(Quotas(LIMITS, 0.0), "192.0.2.1")
    assert [quota.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [quota.take(0.1), quota.take(0.1)] == [True, False]
    assert [quota.take(9.0) for _ in range(4)] == [True, True, True, False], "no more than a burst is saved up"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("127.0.0.1", False),
        ("127.9.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("192.0.2.1", True),
        ("::ffff:192.0.2.1", True),
        ("2001:db8::1", True),
    ],
)
def test_this_machine_is_limited_only_where_told(address: str, counted: bool) -> None:
    assert Quotas(LIMITS, 0.0).counts(address) is counted
    assert Quotas(QuotaLimits(loopback=True), 0.0).counts(address)


def test_zero_sets_no_limit() -> None:
    quotas = Quotas(QuotaLimits(connections=0, requests_per_second=0.0), 0.0)
    for _ in range(100):
        assert entered(quotas, "192.0.2.1").take(0.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_what_counts_is_the_holder_of_an_address(one: str, other: str, same: bool) -> None:
    quotas = Quotas(LIMITS, 0.0)
    assert (entered(quotas, one) is entered(quotas, other)) is same


def test_the_count_is_forgotten_with_the_salt_and_open_connections_keep_theirs() -> None:
    quotas = Quotas(LIMITS, 0.0)
    before = entered(quotas, "192.0.2.1")
    assert quotas.enter("192.0.2.1", SALT_SECONDS - 1) is before
    after = entered(quotas, "192.0.2.1", SALT_SECONDS)
    assert after is not before
    before.leave()
    before.leave()
    assert (before.connections, after.connections) == (0, 1)


def test_the_table_is_bounded_and_newcomers_then_share_one_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seclude.daemon.quota, "MAX_ADDRESSES", 2)
    quotas = Quotas(LIMITS, 0.0)
    kept = [entered(quotas, f"192.0.2.{number}") for number in range(2)]
    shared = entered(quotas, "192.0.2.7")
    assert entered(quotas, "192.0.2.8") is shared
    assert quotas.enter("192.0.2.9", 0.0) is None
    kept[0].leave()
    assert entered(quotas, "192.0.2.9") is not shared, "an idle count makes room"


def test_nothing_shows_an_address_or_the_salt() -> None:
    quotas = Quotas(LIMITS, 0.0)
    assert (repr(quotas), repr(entered(quotas, "192.0.2.1"))) == ("<Quotas>", "<Quota>")
    assert not hasattr(quotas, "__dict__")
