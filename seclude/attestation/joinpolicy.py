"""Whom a pool lets in, as its core says it, and whether whoever passes that would pass a device's own policy too.

Members hold a policy for whom they share keys with. Its canonical encoding stands in every core, so that a device sees
who else may come to hold the key. It has no measurements, for a member lets in its own software only.

    join policy = head, production u8, origin vec8, t0 u64, period_seconds u32, document vec32
    document    = JSON, keys in ascending order, defaults written out, no measurements
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, cast

import msgspec
from msgspec.structs import replace as replace_fields

from seclude.attestation.accept import Bit, SnpTable, Table
from seclude.attestation.bundle import MAX_JOIN_POLICY, expect_head, read_name
from seclude.attestation.launchlog import ZERO
from seclude.attestation.pins import Ledger
from seclude.attestation.policy import Demonstration, Policy, PolicyDocument, Production
from seclude.attestation.slots import Slots
from seclude.attestation.tpm import LAUNCH_PCR
from seclude.errors import ConfigError, DecodeError, PolicyError
from seclude.wire import Reader, Writer

JOIN_POLICY_HEAD: Final = b"SECLUDE-JOIN-POLICY\x02"
UNSAID_PCRS: Final = MappingProxyType({str(LAUNCH_PCR): ZERO.hex()})
TABLES: Final = ("sev_snp", "tdx", "nitro", "tpm", "nvidia", "simulated")


def serialize_join_policy(policy: Policy) -> bytes:
    """Return the canonical encoding of everything in a policy but its measurements; `ConfigError` where too long."""
    document = msgspec.json.encode(_without_measurements(policy.document), order="sorted")
    encoded = (
        Writer()
        .raw(JOIN_POLICY_HEAD)
        .u8(isinstance(policy.document, Production))
        .vec8(policy.origin.encode("ascii"))
        .u64(policy.slots.t0)
        .u32(policy.slots.period_seconds)
        .vec32(document)
        .getvalue()
    )
    if len(encoded) > MAX_JOIN_POLICY:
        raise ConfigError(
            f"policy: it takes {len(encoded)} octets, limit {MAX_JOIN_POLICY}; name fewer chips, roots or witnesses"
        )
    return encoded


def parse_join_policy(data: bytes) -> Policy:
    """Read a join policy; what it lacks, measurements, is empty."""
    reader = Reader(data)
    expect_head(reader, JOIN_POLICY_HEAD, "a join policy")
    kind: type[Production | Demonstration] = Production if reader.u8("production") == 1 else Demonstration
    origin = read_name(reader, "origin")
    t0, period_seconds = reader.u64("t0"), reader.u32("period_seconds")
    text = reader.vec32("document", MAX_JOIN_POLICY)
    reader.finish("join policy")
    try:
        document = msgspec.json.decode(text, type=kind)
        policy = Policy(origin=origin, slots=Slots(t0=t0, period_seconds=period_seconds), document=document)
        canonical = serialize_join_policy(policy)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DecodeError("the document of the join policy does not have its form") from None
    except ConfigError as exc:
        raise DecodeError(f"join {exc}") from exc
    if canonical != data:
        raise DecodeError("the join policy is not in its one encoding")
    return policy


def verify_join_policy(theirs: Policy, ours: Policy) -> Policy:
    """Return the pool's join policy, if whoever passes it would pass ours too; raises `PolicyError` otherwise.

    Age and skew are not compared: a joiner's evidence holds a nonce of the member's, which dates it better.
    """
    if theirs.role != ours.role or theirs.origin != ours.origin:
        raise PolicyError("the pool lets in workers of another role or origin")
    if theirs.slots != ours.slots:
        raise PolicyError("the pool divides time into other slots")
    if isinstance(ours.document, Production) and not isinstance(theirs.document, Production):
        raise PolicyError("the pool lets in workers by a demonstration policy")
    _require_same_ledger(theirs.ledger, ours.ledger)
    platforms = ours.document.platforms()
    for name, table in theirs.document.platforms().items():
        if name not in platforms:
            raise PolicyError(f'the pool lets in workers with evidence of format "{name}"')
        _require_no_laxer(name, table, platforms[name])
    additions = theirs.document.additions()
    for name, table in ours.document.additions().items():
        if name not in additions:
            raise PolicyError(f'the pool lets in workers without evidence of format "{name}"')
        _require_no_laxer(name, additions[name], table)
    return theirs


def _require_same_ledger(theirs: Ledger | None, ours: Ledger | None) -> None:
    """Refuse a pool whose members look at another ledger; for how long a release must have stood is for each to say.

    Keys and the rule are compared, and not their texts: one of two may have addresses, comments or another order.
    """
    if ours is None:
        return
    if theirs is None:
        raise PolicyError("the pool shares keys that no ledger shows")
    believed = _believed(theirs)
    for field, value in _believed(ours).items():
        if believed[field] != value:
            raise PolicyError(f"the pool believes another ledger than we do: {field}")


def _believed(ledger: Ledger) -> dict[str, object]:
    return {
        "keys_log": ledger.keys_log,
        "state_log": ledger.state_log,
        "publishers": frozenset(ledger.publishers),
        "witnesses": (ledger.quorum.rule, frozenset((each.name, each.key) for each in ledger.quorum.witnesses)),
    }


def _without_measurements(document: PolicyDocument) -> PolicyDocument:
    bare: dict[str, object] = {"manifests": ()}
    for name in TABLES:
        table = getattr(document, name, None)
        if isinstance(table, Table) and hasattr(table, "measurements"):
            bare[name] = replace_fields(table, measurements=())
    return replace_fields(document, **bare)


def _require_no_laxer(name: str, theirs: Table, ours: Table) -> None:
    if isinstance(theirs, SnpTable):  # of a product that they do not accept, no level counts
        floors = {product: theirs.minimum_tcb[product] for product in theirs.products}
        theirs = replace_fields(theirs, minimum_tcb=floors)
    for field in theirs.__struct_fields__:
        is_no_laxer = RULES.get(field, _bit_is_no_laxer)
        if not is_no_laxer(getattr(theirs, field), getattr(ours, field)):
            raise PolicyError(f"the pool is laxer than we are: {name}.{field}")


def _bit_is_no_laxer(theirs: Bit, ours: Bit) -> bool:
    return ours is Bit.ALLOW or theirs is ours


def _at_least(theirs: int, ours: int) -> bool:
    return theirs >= ours


def _among(theirs: tuple[str | bytes, ...], ours: tuple[str | bytes, ...]) -> bool:
    return set(theirs) <= set(ours)


def _among_any(theirs: tuple[str, ...], ours: tuple[str, ...]) -> bool:
    """Compare two lists of which an empty one accepts everything."""
    return not ours or (bool(theirs) and set(theirs) <= set(ours))


def _levels(theirs: Mapping[str, Table], ours: Mapping[str, Table]) -> bool:
    return all(
        product in ours
        and all(getattr(levels, field) >= getattr(ours[product], field) for field in levels.__struct_fields__)
        for product, levels in theirs.items()
    )


def _values(theirs: Mapping[str, str], ours: Mapping[str, str]) -> bool:
    """Compare the PCRs that are pinned; one that counts launches is pinned to zero where nothing is said of it."""
    return {**UNSAID_PCRS, **ours}.items() <= {**UNSAID_PCRS, **theirs}.items()


def _rule(compare: object) -> Callable[[object, object], bool]:
    return cast("Callable[[object, object], bool]", compare)


# How each key of a table is compared; a key that is not named here is a `Bit`.
RULES: Final[Mapping[str, Callable[[object, object], bool]]] = MappingProxyType(
    {
        "products": _rule(_among),
        "statuses": _rule(_among),
        "roots": _rule(_among),
        "minimum_tcb": _rule(_levels),
        "minimum_guest_svn": _rule(_at_least),
        "minimum_tcb_evaluation": _rule(_at_least),
        "minimum_firmware": _rule(_at_least),
        "chips": _rule(_among_any),
        "parents": _rule(_among_any),
        "signers": _rule(_among_any),
        "keys": _rule(_among_any),
        "pcrs": _rule(_values),
        "vmpl": _rule(lambda theirs, ours: theirs == ours),
        "measurements": _rule(lambda _theirs, _ours: True),  # a member lets in its own and no other
    }
)
