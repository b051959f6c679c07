"""A policy as text: TOML, in a file of its own or as a table of another (`docs/policy.md`)."""

import tomllib
from collections.abc import Mapping

import msgspec

from seclude.attestation.evidence import SIMULATED
from seclude.attestation.policy import PRODUCTION, PolicyDocument
from seclude.errors import ConfigError
from seclude.toml import render_toml


def parse_policy_document(text: str) -> PolicyDocument:
    """Read a policy of its own file; raises `ConfigError` that names the key at fault."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"policy is not TOML: {exc}") from exc
    except RecursionError:
        raise ConfigError("policy is not TOML that can be read: it is nested too deeply") from None
    return convert_policy_document(tables)


def convert_policy_document(tables: object) -> PolicyDocument:
    """Return the policy that parsed TOML holds; raises `ConfigError` that says what such a policy cannot express."""
    if isinstance(tables, Mapping) and tables.get("purpose") == PRODUCTION and SIMULATED in tables:
        raise ConfigError("policy: a production policy cannot accept SIMULATED evidence; take [simulated] out")
    try:
        document: PolicyDocument = msgspec.convert(tables, PolicyDocument)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"policy: {exc}") from exc
    return document


def render_policy_document(document: PolicyDocument, table: str = "") -> str:
    """Return the TOML of a policy; as the contents of `table` where it is part of another file."""
    return render_toml(document, table)
