"""A peer's gateway, for a module that has a fixture `peer`."""

from collections.abc import Iterator

import pytest

from tests.interop.peers import Peer, relay_before

pytest.register_assert_rewrite("tests.interop.suite")  # its failed assertions are explained, as in a test module


@pytest.fixture(scope="module")
def gateway(peer: Peer) -> Iterator[str]:
    """The peer's gateway itself."""
    with peer.serving() as url:
        yield url


@pytest.fixture(scope="module")
def relay(gateway: str) -> Iterator[str]:
    """Our relay before that gateway."""
    with relay_before(gateway) as url:
        yield url
