"""Certificates: whole chains to pinned roots, and each rule broken alone by authorities of the tests' own."""

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from seclude.attestation.certificates import (
    MAX_CERTIFICATE,
    MAX_CHAIN,
    MAX_CRL,
    Chain,
    Revocations,
    check_validity,
    is_issued_by,
    load_certificate,
    verify_chain,
    verify_crl,
)
from seclude.errors import EvidenceError

NOW = 1_790_000_000
DAY = 86_400
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@functools.cache
def curve_key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


@functools.cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2048)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def sign(builder: x509.CertificateBuilder, key: Key) -> bytes:
    """Sign as the vendors do: RSASSA-PSS with SHA-384 and a salt of 48 octets, or ECDSA."""
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(SHA384()), 48)
        return builder.sign(key, SHA384(), rsa_padding=pss).public_bytes(Encoding.DER)
    return builder.sign(key, SHA384()).public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Link:
    """A certificate of a chain, as it should be made."""

    name: str
    ca: bool | None = True
    """basicConstraints; None leaves the extension out."""
    room: int | None = None
    signs: bool | None = True
    """keyCertSign; None leaves keyUsage out."""
    start: int = NOW - DAY
    end: int = NOW + 30 * DAY
    serial: int = 1
    others: Sequence[x509.ExtensionType] = ()
    critical: bool = False
    """Whether `others` are."""
    signs_lists: bool | None = None
    """cRLSign, where it is not as keyCertSign."""
    issuer: str | None = None
    """Where it names another issuer than the one that signs it."""
    signer: int | None = None
    """Where another key signs it than its issuer's."""
    key: Callable[[int], Key] = field(default=curve_key)


ROOT, MIDDLE, LEAF = Link("root", room=1), Link("middle", room=0), Link("leaf", ca=False, signs=False)
LINKS = (ROOT, MIDDLE, LEAF)
OTHER_KEY = 99


def build(link: Link, number: int, issuer: Link, issuer_number: int) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(link.name))
        .issuer_name(named(link.issuer or issuer.name))
        .public_key(link.key(number).public_key())
        .serial_number(link.serial)
        .not_valid_before(moment(link.start))
        .not_valid_after(moment(link.end))
    )
    if link.ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(link.ca, link.room), critical=True)
    if link.signs is not None:
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        usage |= {"encipher_only": False, "decipher_only": False, "crl_sign": link.signs}
        usage |= {} if link.signs_lists is None else {"crl_sign": link.signs_lists}
        usage |= {"digital_signature": not link.signs, "key_cert_sign": link.signs}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    for other in link.others:
        builder = builder.add_extension(other, critical=link.critical)
    return sign(builder, issuer.key(issuer_number if link.signer is None else link.signer))


def chain(*links: Link) -> tuple[bytes, ...]:
    """Return the chain, leaf first and root last; the links come root first, and each key is of its place."""
    ders = [
        build(link, place, links[max(place - 1, 0)], max(place - 1, 0)) for place, link in enumerate(links or LINKS)
    ]
    return tuple(reversed(ders))


def pins(ders: Sequence[bytes]) -> Mapping[bytes, str]:
    return {hashlib.sha256(ders[-1]).digest(): "root of tests"}


def verify(ders: Sequence[bytes], now: float = NOW, pinned: Mapping[bytes, str] | None = None) -> Chain:
    return verify_chain(ders, pins(ders) if pinned is None else pinned, now, name="test")


def refuse(words: str, ders: Sequence[bytes], now: float = NOW, pinned: Mapping[bytes, str] | None = None) -> None:
    with pytest.raises(EvidenceError, match=words):
        verify(ders, now, pinned)


GOOD = chain(*LINKS)


def test_a_chain_says_its_certificates_its_root_and_its_end() -> None:
    found = verify(GOOD)
    assert [each.public_bytes(Encoding.DER) for each in found.certificates] == list(GOOD)
    assert found.leaf == found.certificates[0]
    assert (found.root, found.expires_at) == ("root of tests", NOW + 30 * DAY)


def test_rsa_pss_and_ecdsa_chains_pass_alone_and_mixed() -> None:
    mixtures: list[tuple[Callable[[int], Key], ...]] = [
        (rsa_key, rsa_key, rsa_key),
        (rsa_key, rsa_key, curve_key),
        (curve_key, rsa_key, curve_key),
    ]
    for kinds in mixtures:
        ders = chain(*(replace(link, key=kind) for link, kind in zip(LINKS, kinds, strict=True)))
        assert verify(ders).root == "root of tests"
        for place in range(2):  # the root is refused by its pin, whatever is flipped
            flipped = bytearray(ders[place])
            flipped[-9] ^= 1
            changed = (*ders[:place], bytes(flipped), *ders[place + 1 :])
            refuse(f"certificate {place} of the test chain is not signed by the next", changed)


# Length and root.


def test_a_chain_has_two_certificates_to_eight() -> None:
    longest = chain(Link("root"), *(Link(f"ca {number}") for number in range(MAX_CHAIN - 2)), LEAF)
    assert len(verify(longest).certificates) == MAX_CHAIN
    longer = chain(Link("root"), *(Link(f"ca {number}") for number in range(MAX_CHAIN - 1)), LEAF)
    refuse("the test chain has 9 certificates, not 2 to 8", longer)
    assert len(verify(chain(ROOT, LEAF)).certificates) == 2
    refuse("the test chain has 1 certificates, not 2 to 8", GOOD[-1:])
    with pytest.raises(EvidenceError, match="0 certificates"):
        verify((), pinned={})


def test_a_root_that_is_not_pinned_is_refused_before_anything_is_parsed() -> None:
    refuse("the test chain does not end at a pinned root", GOOD, pinned={})
    refuse("the test chain does not end at a pinned root", (b"junk", b"junk"), pinned=pins(GOOD))
    refuse("the test chain does not end at a pinned root", GOOD[:-1], pinned=pins(GOOD))


def test_a_root_is_pinned_by_all_of_its_octets_and_not_by_its_key() -> None:
    twin = (*GOOD[:-1], build(replace(ROOT, serial=2), 0, ROOT, 0))
    assert verify(twin).root == "root of tests"
    refuse("does not end at a pinned root", twin, pinned=pins(GOOD))


def test_the_pin_that_fits_says_which_root_it_is() -> None:
    assert verify(GOOD, pinned={bytes(32): "another", **pins(GOOD)}).root == "root of tests"


# Signatures.


@pytest.mark.parametrize("place", range(3))
def test_a_certificate_that_another_key_signed_is_refused(place: int) -> None:
    links = [replace(link, signer=OTHER_KEY) if at == place else link for at, link in enumerate(LINKS)]
    refuse(f"certificate {2 - place} of the test chain is not signed by the next", chain(*links))


@pytest.mark.parametrize("place", range(3))
def test_a_certificate_that_names_another_issuer_is_refused(place: int) -> None:
    links = [replace(link, issuer="another") if at == place else link for at, link in enumerate(LINKS)]
    refuse(f"certificate {2 - place} of the test chain is not signed by the next", chain(*links))


def test_a_chain_in_another_order_or_with_a_gap_is_refused() -> None:
    leaf, middle, root = GOOD
    for ders in ((middle, leaf, root), (leaf, root), (leaf, leaf, middle, root), (leaf, middle, middle, root)):
        refuse("is not signed by the next", ders)
    refuse("certificate 0 of the test chain is that of a CA", (middle, root))


def test_a_pinned_root_that_did_not_sign_itself_is_refused() -> None:
    refuse("certificate 1 of the test chain is not signed by the next", GOOD[:-1])


def test_an_issuer_whose_key_cannot_sign_is_no_issuer() -> None:
    builder = (
        x509.CertificateBuilder()
        .subject_name(named("middle"))
        .issuer_name(named("root"))
        .public_key(X25519PrivateKey.generate().public_key())
        .serial_number(1)
        .not_valid_before(moment(NOW))
        .not_valid_after(moment(NOW + DAY))
    )
    middle = load_certificate(sign(builder, curve_key(0)), "test")
    assert not is_issued_by(load_certificate(GOOD[0], "test"), middle)
    assert is_issued_by(middle, load_certificate(GOOD[-1], "test"))


# What a certificate may be used for.

MAY_NOT = "may sign no certificates"


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "change", [{"ca": False, "room": None}, {"ca": None}, {"signs": False}, {"signs": None}], ids=lambda each: str(each)
)
def test_above_the_leaf_are_authorities_that_may_sign_certificates(place: int, change: dict[str, bool | None]) -> None:
    links = [replace(link, **change) if at == place else link for at, link in enumerate(LINKS)]  # type: ignore[arg-type]
    refuse(f"certificate {2 - place} of the test chain {MAY_NOT}", chain(*links))


@pytest.mark.parametrize(("ca", "signs"), [(True, False), (True, True), (False, True), (None, True), (True, None)])
def test_the_leaf_is_no_authority(ca: bool | None, signs: bool | None) -> None:
    refuse(
        "certificate 0 of the test chain is that of a CA, which signs no evidence",
        chain(ROOT, MIDDLE, replace(LEAF, ca=ca, signs=signs)),
    )


@pytest.mark.parametrize(("ca", "signs"), [(False, False), (None, False), (False, None), (None, None)])
def test_a_leaf_may_leave_out_what_says_that_it_is_none(ca: bool | None, signs: bool | None) -> None:
    assert verify(chain(ROOT, MIDDLE, replace(LEAF, ca=ca, signs=signs))).root == "root of tests"


@pytest.mark.parametrize(
    ("rooms", "refused"),
    [
        ((2, 1, 0), None),
        ((None, None, None), None),
        ((255, 255, 255), None),
        ((1, 1, 0), "certificate 3 of the test chain allows 1 certificates of CAs below it, and there are 2"),
        ((0, 1, 0), "certificate 3 of the test chain allows 0"),
        ((2, 0, 0), "certificate 2 of the test chain allows 0 certificates of CAs below it, and there are 1"),
        ((None, 0, None), "certificate 2 of the test chain allows 0"),
    ],
)
def test_an_authority_has_room_for_the_path_below_it(rooms: tuple[int | None, ...], refused: str | None) -> None:
    links = [Link(f"ca {place}", room=room) for place, room in enumerate(rooms)]
    ders = chain(*links, LEAF)
    if refused is None:
        assert len(verify(ders).certificates) == 4
    else:
        refuse(refused, ders)


def test_extensions_that_are_not_well_formed_are_refused() -> None:
    broken = x509.UnrecognizedExtension(x509.ExtendedKeyUsage.oid, b"\x30\x05")
    for place in (1, 2):
        links = [replace(link, others=[broken]) if at == place else link for at, link in enumerate(LINKS)]
        refuse(f"certificate {2 - place} of the test chain has extensions that are not well formed", chain(*links))


def test_extensions_that_mean_nothing_here_are_left_alone() -> None:
    others = [
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.3704.1.4"), bytes(64)),
    ]
    assert verify(chain(ROOT, MIDDLE, replace(LEAF, others=others))).root == "root of tests"


@pytest.mark.parametrize("place", range(3))
def test_a_critical_extension_that_is_not_known_is_refused_wherever_it_is(place: int) -> None:
    limits = x509.NameConstraints(permitted_subtrees=[x509.DNSName("elsewhere.example")], excluded_subtrees=None)
    links = list(LINKS)
    links[place] = replace(links[place], others=[limits], critical=True)
    refuse("has a critical extension that is not known here: 2.5.29.30", chain(*links))
    known = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    links[place] = replace(links[place], others=[known])
    assert verify(chain(*links)).root == "root of tests"


def test_an_extension_that_the_parser_stumbles_over_is_refused() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24"), bytes.fromhex("3003020100"))
    refuse("has extensions that are not well formed", chain(ROOT, MIDDLE, replace(LEAF, others=[odd])))


# Dates.


@pytest.mark.parametrize("place", range(3))
def test_a_certificate_is_valid_from_its_first_second_up_to_but_not_at_its_last(place: int) -> None:
    links = [replace(link, start=NOW, end=NOW + 100) if at == place else link for at, link in enumerate(LINKS)]
    ders = chain(*links)
    assert verify(ders, NOW).expires_at == NOW + 100
    assert verify(ders, NOW + 99.999).expires_at == NOW + 100
    words = f"certificate {2 - place} of the test chain is valid from 2026-09-21 .* UTC, not at"
    for now in (NOW - 0.001, NOW + 100, NOW + 10**6):
        refuse(words, ders, now)


def test_a_chain_ends_with_whichever_of_its_certificates_ends_first() -> None:
    for place in range(3):
        links = [replace(link, end=NOW + 10 + at) if at >= place else link for at, link in enumerate(LINKS)]
        assert verify(chain(*links)).expires_at == NOW + 10 + place


def test_the_dates_of_one_certificate_can_be_checked_alone() -> None:
    leaf = load_certificate(GOOD[0], "test")
    check_validity(leaf, NOW, "it")
    with pytest.raises(EvidenceError, match=r"^it is valid from .* to .* UTC, not at 1970-01-01 00:00 UTC"):
        check_validity(leaf, 0, "it")


# Serial numbers.


def with_serial_zero(der: bytes, signer: Key) -> bytes:
    """Return the certificate with serial number 0, signed anew; the library makes none itself."""
    certificate = x509.load_der_x509_certificate(der)
    tbs = certificate.tbs_certificate_bytes
    zero = tbs.replace(b"\x02\x01\x01", b"\x02\x01\x00", 1)
    assert zero != tbs
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    signature = signer.sign(zero, ec.ECDSA(SHA384()))
    algorithm = der[4 + len(tbs) :][:12]
    inner = zero + algorithm + bytes([3, len(signature) + 1, 0]) + signature
    return b"\x30\x82" + len(inner).to_bytes(2) + inner


def test_serial_number_0_is_no_fault() -> None:
    leaf = with_serial_zero(GOOD[0], curve_key(1))
    assert verify((leaf, *GOOD[1:])).leaf.public_bytes(Encoding.DER) == leaf


# One encoding.


def test_every_truncation_of_a_certificate_is_refused() -> None:
    for cut in range(len(GOOD[0])):
        with pytest.raises(EvidenceError, match="the test certificate is not"):
            load_certificate(GOOD[0][:cut], "test")


def test_octets_behind_a_certificate_are_refused() -> None:
    with pytest.raises(EvidenceError, match="is not a certificate"):
        load_certificate(GOOD[0] + b"\0", "test")
    with pytest.raises(EvidenceError, match="is not a certificate"):
        load_certificate(x509.load_der_x509_certificate(GOOD[0]).public_bytes(Encoding.PEM), "test")


def test_every_flipped_bit_of_a_leaf_breaks_its_chain() -> None:
    for position in range(len(GOOD[0]) * 8):
        flipped = bytearray(GOOD[0])
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(EvidenceError):
            verify((bytes(flipped), *GOOD[1:]))


def test_the_signature_has_one_encoding_also_where_its_last_bits_are_zero() -> None:
    """A DER parser takes a BIT STRING with n unused bits if those are zero, and so two encodings of one signature."""
    rsa_leaf = chain(*(replace(link, key=rsa_key) for link in LINKS))[0]
    body = rsa_leaf[:-257]
    signature = rsa_leaf[-256:-1] + b"\x10"
    assert load_certificate(body + b"\x00" + signature, "test").signature == signature
    for unused in range(1, 9):
        with pytest.raises(EvidenceError, match="is not in DER" if unused <= 4 else "is not"):
            load_certificate(body + bytes([unused]) + signature, "test")


def test_a_length_in_more_octets_than_it_takes_is_refused() -> None:
    assert GOOD[0][:2] == b"\x30\x82"
    with pytest.raises(EvidenceError, match="is not"):
        load_certificate(b"\x30\x83\x00" + GOOD[0][2:], "test")
    with pytest.raises(EvidenceError, match="is not"):
        load_certificate(b"\x30\x80" + GOOD[0][4:] + b"\0\0", "test")


def test_a_certificate_may_reach_its_limit_and_not_pass_it() -> None:
    def sized(octets: int) -> bytes:
        filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(octets))
        return build(replace(LEAF, key=rsa_key, others=[filler]), 2, replace(MIDDLE, key=rsa_key), 1)

    spare = MAX_CERTIFICATE - len(sized(3000))
    exact = sized(3000 + spare)
    assert len(exact) == MAX_CERTIFICATE
    assert load_certificate(exact, "test").serial_number == 1
    with pytest.raises(EvidenceError, match=f"the test certificate has {MAX_CERTIFICATE + 1} octets, limit"):
        load_certificate(sized(3001 + spare), "test")


# Revocation lists.


def crl(
    *serials: int,
    issuer: str = "root",
    key: Key | None = None,
    start: int = NOW - DAY,
    end: int = NOW + DAY,
    extension: tuple[x509.ExtensionType, bool] | None = None,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(named(issuer))
        .last_update(moment(start))
        .next_update(moment(end))
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(start)).build()
        builder = builder.add_revoked_certificate(revoked)
    if extension is not None:
        builder = builder.add_extension(extension[0], critical=extension[1])
    key = key or curve_key(0)
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(SHA384()), 48)
        return builder.sign(key, SHA384(), rsa_padding=pss).public_bytes(Encoding.DER)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


AUTHORITY = load_certificate(GOOD[-1], "root")
LIST = crl(5, 7)


def revoked(der: bytes, now: float = NOW, issuer: x509.Certificate = AUTHORITY) -> Revocations:
    return verify_crl(der, issuer, now, name="test")


def refuse_crl(words: str, der: bytes, now: float = NOW, issuer: x509.Certificate = AUTHORITY) -> None:
    with pytest.raises(EvidenceError, match=f"^the test revocation list {words}"):
        revoked(der, now, issuer)


def test_a_list_says_what_is_revoked_and_until_when_it_counts() -> None:
    assert revoked(LIST) == Revocations(frozenset({5, 7}), NOW + DAY)
    assert revoked(crl()) == Revocations(frozenset(), NOW + DAY)


def test_a_list_signed_with_rsa_pss_counts_too() -> None:
    root = load_certificate(build(replace(ROOT, key=rsa_key), 0, replace(ROOT, key=rsa_key), 0), "root")
    assert revoked(crl(5, key=rsa_key(0)), issuer=root).serials == {5}
    refuse_crl("is not signed by its issuer", crl(5, key=rsa_key(1)), issuer=root)
    refuse_crl("is not signed by its issuer|is not a well-formed one", LIST, issuer=root)


def test_a_list_of_another_issuer_is_refused() -> None:
    refuse_crl("is not signed by its issuer", crl(key=curve_key(OTHER_KEY)))
    refuse_crl("is not signed by its issuer", crl(issuer="another"))
    refuse_crl("is not signed by its issuer", LIST, issuer=load_certificate(GOOD[1], "middle"))


def test_a_list_counts_from_its_first_second_up_to_but_not_at_its_last() -> None:
    assert revoked(LIST, NOW - DAY).serials == revoked(LIST, NOW + DAY - 0.001).serials == {5, 7}
    refuse_crl("is valid from 2026-09-20 .* to 2026-09-22 .* UTC, not at 2026-09-22", LIST, NOW + DAY)
    refuse_crl("is valid from .*, not at 2026-09-20", LIST, NOW - DAY - 0.001)


def test_every_truncation_of_a_list_is_refused() -> None:
    for cut in range(len(LIST)):
        refuse_crl("is not", LIST[:cut])


def test_every_flipped_bit_of_a_list_is_refused() -> None:
    for position in range(len(LIST) * 8):
        flipped = bytearray(LIST)
        flipped[position // 8] ^= 1 << position % 8
        refuse_crl("is not", bytes(flipped))


def test_a_lists_signature_has_one_encoding_also_where_its_last_bits_are_zero() -> None:
    root = load_certificate(build(replace(ROOT, key=rsa_key), 0, replace(ROOT, key=rsa_key), 0), "root")
    even = next(der for serial in range(1, 99) if not (der := crl(serial, key=rsa_key(0)))[-1] & 1)
    assert revoked(even, issuer=root)
    refuse_crl("is not in DER", even[:-257] + b"\x01" + even[-256:], issuer=root)


def test_an_authority_that_may_sign_no_lists_signed_none() -> None:
    (*_, root) = chain(replace(ROOT, signs_lists=False), MIDDLE, LEAF)
    refuse_crl("is not signed by its issuer", LIST, issuer=load_certificate(root, "root"))
    (*_, root) = chain(replace(ROOT, signs_lists=True), MIDDLE, LEAF)
    assert revoked(LIST, issuer=load_certificate(root, "root")).serials == {5, 7}


def test_what_is_no_list_is_refused() -> None:
    for der in (b"", b"junk", GOOD[0], LIST + b"\0", bytes(MAX_CRL)):
        refuse_crl("is not", der)
    refuse_crl(f"has {MAX_CRL + 1} octets, limit {MAX_CRL}", bytes(MAX_CRL + 1))


def test_a_list_that_tells_only_what_changed_is_refused() -> None:
    """RFC 5280, section 5.2: a critical extension that is not understood makes a list useless."""
    refuse_crl("has a critical extension", crl(5, extension=(x509.DeltaCRLIndicator(1), True)))
    assert revoked(crl(5, extension=(x509.CRLNumber(1), False))).serials == {5}
