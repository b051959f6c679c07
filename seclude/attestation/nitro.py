"""AWS Nitro Enclaves: the attestation document of the Nitro Security Module, which AWS signs.

The body is the COSE_Sign1 message (RFC 9052, section 4.2) as `/dev/nsm` returns it, untagged or under tag 18. Its
payload is a CBOR map of claims, specified in "Nitro Enclaves attestation document" of the AWS user guide. The leaf
certificate lives three hours; the chain is checked at `now` and at no other time.

Seven steps:
 1. The body is a COSE_Sign1 message that says ES384 and nothing else.
 2. Its claims have the form that AWS specifies.
 3. The certificates chain to a pinned root with ECDSA over P-384 and SHA-384 throughout, and are valid at `now`.
 4. The message is signed by the key of the leaf.
 5. The enclave is not in debug mode, in which PCR0, PCR1 and PCR2 are zero.
 6. Parent instance and image signer are among those accepted, where a policy names any.
 7. The document binds 64 octets in `user_data`, and nothing in `public_key` or `nonce`.

Step 7 comes last, so that a genuine document made for another purpose fails there and nowhere else.
Not signed are the tag, and which of the two values an ECDSA signature has that verify (s and n - s).
AWS publishes no revocation list for these chains.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from seclude.attestation.accept import NitroTable
from seclude.attestation.bundle import REPORT_DATA_BYTES
from seclude.attestation.cbor import Value, expect, expect_array, expect_map, parse_item, serialize_item
from seclude.attestation.evidence import NITRO, TrustedReport
from seclude.attestation.p384 import COORDINATE, verify_p384, verify_p384_chain
from seclude.attestation.slots import in_words
from seclude.attestation.steps import Steps
from seclude.errors import DecodeError, EvidenceError, PolicyError

# The fingerprint (SHA-256 of the DER) that AWS's user guide states in "Verifying the root of trust"; until 2049.
ROOTS: Final[Mapping[bytes, str]] = MappingProxyType(
    {bytes.fromhex("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"): "AWS Nitro Enclaves root G1"}
)

TITLES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "document is a COSE_Sign1 message of ES384",
        2: "claims have the form that AWS specifies",
        3: "certificates chain to a pinned root",
        4: "document is signed by the leaf",
        5: "enclave is not in debug mode",
        6: "parent instance and image signer are accepted",
        7: "document binds 64 octets and nothing else",
    }
)
STAGES: Final[Mapping[int, int]] = MappingProxyType({1: 2, 2: 2, 3: 3, 4: 4, 5: 5, 6: 5, 7: 5})

TAG_18: Final = b"\xd2"  # COSE_Sign1 (RFC 9052, section 2)
PROTECTED: Final = bytes.fromhex("a1013822")  # the map {1: -35}: `alg` is ES384 (RFC 9053, section 2.1)

REQUIRED: Final = frozenset({"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"})
# Octets that AWS allows in what the enclave itself puts in: the least and the most.
OPTIONAL: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"public_key": (1, 1024), "user_data": (0, 512), "nonce": (0, 512)}
)
MAX_CERTIFICATE: Final = 1024  # octets of DER, as AWS specifies
MAX_PCRS: Final = 32
PCR_LENGTHS: Final = (32, 48, 64)
IMAGE: Final = (0, 1, 2)  # PCRs of image, kernel with boot ramdisk, and application
PARENT: Final = 4
SIGNER: Final = 8
DIGEST: Final = 48  # octets of SHA-384


@dataclass(frozen=True, slots=True)
class NitroEvidence:
    """The two parts of a body that are not constant, not verified."""

    payload: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class NitroClaims:
    """What a document states; counts only with a verified signature."""

    module_id: str
    timestamp: int
    """Milliseconds since 1970."""
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    """The root first."""
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None

    @property
    def measurement(self) -> bytes:
        """SHA-384 over PCR0, PCR1 and PCR2."""
        return hashlib.sha384(b"".join(self.pcrs[index] for index in IMAGE)).digest()

    @property
    def platform_id(self) -> bytes:
        """SHA-256 of the parent instance's name: what comes before `-enc` in `module_id`.

        A document names no hardware. Enclaves of one instance share this, and those of another never have it.
        """
        return hashlib.sha256(self.module_id.partition("-enc")[0].encode()).digest()


def serialize_body(evidence: NitroEvidence) -> bytes:
    """Return the untagged COSE_Sign1 message."""
    return serialize_item((PROTECTED, {}, evidence.payload, evidence.signature))


def parse_body(data: bytes) -> NitroEvidence:
    """Read a COSE_Sign1 message, under its tag or not, whose one header parameter is ES384."""
    message = expect_array(parse_item(data.removeprefix(TAG_18), "COSE_Sign1"), "COSE_Sign1")
    if len(message) != 4:
        raise DecodeError(f"COSE_Sign1 has {len(message)} entries, not 4")
    protected, unprotected, payload, signature = message
    if protected != PROTECTED:
        raise DecodeError("the protected header is not exactly that of ES384")
    if expect_map(unprotected, "unprotected header"):
        raise DecodeError("the unprotected header is not empty")
    evidence = NitroEvidence(expect(payload, bytes, "payload"), expect(signature, bytes, "signature"))
    if len(evidence.signature) != 2 * COORDINATE:
        raise DecodeError(f"the signature has {len(evidence.signature)} octets, not {2 * COORDINATE}")
    return evidence


def parse_claims(payload: bytes) -> NitroClaims:
    """Read the claims, and hold them against the syntactic rules of AWS's specification."""
    document = expect_map(parse_item(payload, "document"), "document")
    if missing := sorted(REQUIRED - document.keys()):
        raise DecodeError(f"the document has no {', '.join(missing)}")
    if unknown := document.keys() - REQUIRED - OPTIONAL.keys():
        raise DecodeError(f"the document has {len(unknown)} claims that are not specified")
    module_id = expect(document["module_id"], str, "module_id")
    if not module_id:
        raise DecodeError("module_id is empty")
    if not (module_id.isascii() and module_id.isprintable()):  # it is shown to whoever verifies
        raise DecodeError("module_id is not printable ASCII")
    if document["digest"] != "SHA384":
        raise DecodeError("digest is not SHA384")
    timestamp = expect(document["timestamp"], int, "timestamp")
    if timestamp <= 0:
        raise DecodeError("timestamp is not above 0")
    return NitroClaims(
        module_id=module_id,
        timestamp=timestamp,
        pcrs=_parse_pcrs(document["pcrs"]),
        certificate=_sized(document["certificate"], 1, MAX_CERTIFICATE, "certificate"),
        cabundle=_parse_cabundle(document["cabundle"]),
        public_key=_optional(document.get("public_key"), "public_key"),
        user_data=_optional(document.get("user_data"), "user_data"),
        nonce=_optional(document.get("nonce"), "nonce"),
    )


def signed_octets(payload: bytes) -> bytes:
    """Return what the leaf's key signs: the Sig_structure (RFC 9052, section 4.4) of a message."""
    return serialize_item(("Signature1", PROTECTED, b"", payload))


def verify(
    body: bytes, table: NitroTable, now: float, steps: Steps, *, roots: Mapping[bytes, str] = ROOTS
) -> TrustedReport:
    """Return what an enclave's document says, if all seven steps pass."""
    with steps.step(1) as found:
        evidence = parse_body(body)
        found.append(f"{len(evidence.payload)} octets of claims")
    with steps.step(2) as found:
        claims = parse_claims(evidence.payload)
        found.append(f"{len(claims.pcrs)} PCRs")
    with steps.step(3) as found:
        # `cabundle` starts with the root and ends with the issuer of the leaf.
        ders = (claims.certificate, *reversed(claims.cabundle))
        chain = verify_p384_chain(ders, roots, now, name="Nitro")
        found.append(f"{chain.root}; the chain is valid until {in_words(chain.expires_at)}")
    with steps.step(4) as found:
        # ES384 (RFC 9053, section 2.1)
        verify_p384(evidence.signature, signed_octets(evidence.payload), chain.leaf, what="document")
        found.append(f"module {claims.module_id}")
    with steps.step(5) as found:
        _check_debug(claims.pcrs)
        found.append(f"debug off; SHA-384 over PCR0 to PCR2 is {claims.measurement.hex()}")
    with steps.step(6) as found:
        found.append(_check_pcr(claims.pcrs, PARENT, table.parents, "a parent instance"))
        found.append(_check_pcr(claims.pcrs, SIGNER, table.signers, "an image signer"))
    with steps.step(7) as found:
        bound = _bound(claims)
        found.append(f"{len(bound)} octets of user_data")
    return TrustedReport(
        format=NITRO,
        measurement=claims.measurement,
        bound=bound,
        platform_id=claims.platform_id,
        firmware="Nitro hypervisor, no level stated",
        expires_at=chain.expires_at,
        issued_at=claims.timestamp // 1000,
    )


def _parse_pcrs(value: Value) -> Mapping[int, bytes]:
    entries = expect_map(value, "pcrs")
    if not entries:
        raise DecodeError("pcrs is empty")
    pcrs: dict[int, bytes] = {}
    for key, entry in entries.items():
        if not isinstance(key, int) or not 0 <= key < MAX_PCRS:
            raise DecodeError(f"the index of a PCR is not a number of 0 to {MAX_PCRS - 1}")
        pcrs[key] = expect(entry, bytes, f"PCR{key}")
        if len(pcrs[key]) not in PCR_LENGTHS:
            raise DecodeError(f"PCR{key} has {len(pcrs[key])} octets, not 32, 48 or 64")
    for index in IMAGE:  # of one length, so that what is hashed together comes apart in one way only
        if len(pcrs.get(index, b"")) != DIGEST:
            raise DecodeError(f"PCR{index} is not there with the {DIGEST} octets of SHA-384")
    return MappingProxyType(pcrs)


def _parse_cabundle(value: Value) -> tuple[bytes, ...]:
    entries = expect_array(value, "cabundle")
    if not entries:
        raise DecodeError("cabundle is empty")
    return tuple(
        _sized(entry, 1, MAX_CERTIFICATE, f"certificate {position} of cabundle")
        for position, entry in enumerate(entries)
    )


def _optional(value: Value, field: str) -> bytes | None:
    return None if value is None else _sized(value, *OPTIONAL[field], field)


def _sized(value: Value, least: int, most: int, field: str) -> bytes:
    octets = expect(value, bytes, field)
    if not least <= len(octets) <= most:
        raise DecodeError(f"{field} has {len(octets)} octets, not {least} to {most}")
    return octets


def _check_debug(pcrs: Mapping[int, bytes]) -> None:
    for index in IMAGE:
        if not any(pcrs[index]):
            raise PolicyError(f"PCR{index} is zero: the enclave runs in debug mode")


def _check_pcr(pcrs: Mapping[int, bytes], index: int, accepted: tuple[str, ...], name: str) -> str:
    """Hold one PCR against a list of a policy, and return what was found in words."""
    if not accepted:
        return f"PCR{index}, of {name}: any"
    value = pcrs.get(index)
    if value is None:
        raise PolicyError(f"the document has no PCR{index}, of {name}")
    if value.hex() not in accepted:
        raise PolicyError(f"PCR{index} is of {name} that is not accepted: {value.hex()}")
    return f"PCR{index}, of {name}: {value.hex()}"


def _bound(claims: NitroClaims) -> bytes:
    """Return `user_data`, which is where our own workers put what they bind."""
    for name, value in (("public_key", claims.public_key), ("nonce", claims.nonce)):
        if value is not None:
            raise EvidenceError(f"the document binds a {name} too, which no worker of ours does")
    if claims.user_data is None:
        raise EvidenceError("the document binds no user_data")
    if len(claims.user_data) != REPORT_DATA_BYTES:
        raise EvidenceError(f"the document binds {len(claims.user_data)} octets, not {REPORT_DATA_BYTES}")
    return claims.user_data
