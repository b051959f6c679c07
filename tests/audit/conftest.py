"""Parties for the audit: a platform, an AMD, and the relay of `tests/relay` with a gateway that records everything."""

from pathlib import Path

import pytest

from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from seclude.attestation import formats
from tests.attestation.nitro_signer import Module
from tests.attestation.snp_signer import Amd
from tests.audit.ground import NOW, trusting
from tests.gateway.conftest import build
from tests.relay.conftest import gateway, relay

__all__ = ["build", "gateway", "relay"]


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> SimulatedPlatform:
    return create_simulated_platform(Path(tmp_path_factory.mktemp("platform")), NOW - 86_400)


@pytest.fixture(scope="session")
def amd() -> Amd:
    return Amd()


@pytest.fixture(scope="session")
def module() -> Module:
    return Module()


@pytest.fixture
def trusted_amd(amd: Amd, monkeypatch: pytest.MonkeyPatch) -> Amd:
    """An AMD of tests whose root is pinned."""
    monkeypatch.setattr(formats, "FORMATS", trusting("sev-snp", amd.roots))
    return amd


@pytest.fixture
def trusted_module(module: Module, monkeypatch: pytest.MonkeyPatch) -> Module:
    """A Nitro Security Module of tests whose root is pinned."""
    monkeypatch.setattr(formats, "FORMATS", trusting("nitro", module.roots))
    return module
