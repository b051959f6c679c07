"""Reports through configfs-tsm: on an object that behaves as the kernel does, and by system calls on real files."""

import errno
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from inference.producers.configfs import (
    MAX_BLOB,
    MAX_ENTRIES,
    TRIES,
    ConfigfsTsm,
    KernelDirectory,
    SnpProducer,
    TdxProducer,
    parse_certificate_table,
)
from seclude.attestation import snp, tdx
from seclude.attestation.accept import SnpTable, SnpTcb, TdxTable
from seclude.attestation.steps import Steps
from seclude.attestation.tdx_collateral import Collateral
from seclude.attestation.tdx_quote import serialize_pem_chain
from seclude.errors import BusyError, ConfigError, DecodeError, UpstreamError
from tests.attestation import tdx_signer
from tests.attestation.snp_signer import NOW, Amd
from tests.inference.fake_tsm import MAX_INBLOB, SEV_GUEST, TDX_GUEST, FakeTsm, certificate_table, fail
from tests.vectors import vector

VCEK = "63da758d-e664-4564-adc5-f4b93be8accd"
VLEK = "a8074bc2-a25a-483e-aae6-39c045a0b8a1"
ASK = "4ab7b379-bbac-4fe4-a02f-05aef327c782"
ARK = "c0b406a4-a803-4952-9743-3fb6014cd0ae"
OTHER = "92f81bc3-5811-4d3d-97ff-d19f88dc67ea"
DATA = bytes(range(64))
TABLE = SnpTable(minimum_tcb={"genoa": SnpTcb()})


def echo(inblob: bytes, privlevel: int) -> tuple[bytes, bytes]:
    return b"report:" + bytes([privlevel]) + inblob, b"certificates"


def make(fake: FakeTsm, privlevel: int | None = None) -> tuple[ConfigfsTsm, list[float]]:
    pauses: list[float] = []
    provider = fake.provider or SEV_GUEST
    return ConfigfsTsm(fake, provider, privlevel=privlevel, pause=pauses.append), pauses


# The fake itself: what it refuses is what the kernel refuses.


def error_of(act: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what is looked at
        act()
    return caught.value.errno


def test_the_fake_is_as_strict_as_the_kernel() -> None:
    fake = FakeTsm(echo, privlevel_floor=1)
    assert error_of(lambda: fake.read("e", "generation")) == errno.ENOENT
    fake.mkdir("e")
    assert error_of(lambda: fake.mkdir("e")) == errno.EEXIST
    assert fake.read("e", "generation") == b"0\n"
    assert error_of(lambda: fake.read("e", "outblob")) == errno.EINVAL
    assert error_of(lambda: fake.read("e", "inblob")) == errno.EACCES
    assert error_of(lambda: fake.write("e", "outblob", b"x")) == errno.EACCES
    assert error_of(lambda: fake.write("e", "inblob", bytes(MAX_INBLOB + 1))) == errno.EFBIG
    assert error_of(lambda: fake.write("e", "privlevel", b"0")) == errno.EINVAL
    assert fake.read("e", "generation") == b"0\n"
    fake.write("e", "privlevel", b"2")
    fake.write("e", "inblob", b"x")
    assert fake.read("e", "generation") == b"2\n"
    assert fake.read("e", "outblob") == fake.read("e", "outblob") == b"report:\2x"
    assert fake.calls == 1  # read again, it is the same report
    fake.write("e", "inblob", b"y")
    assert fake.read("e", "auxblob") == b"certificates"
    assert fake.calls == 2
    assert error_of(lambda: FakeTsm(echo, provider=None).mkdir("e")) == errno.ENXIO


def test_the_fake_loses_a_write_whose_number_comes_round() -> None:
    fake = FakeTsm(echo)
    fake.mkdir("e")
    fake.entries["e"] = replace(fake.entries["e"], write_generation=4, read_generation=5)
    assert error_of(lambda: fake.write("e", "privlevel", b"1")) == errno.EBUSY
    fake.write("e", "inblob", b"x")  # an error at the end of the file, which nobody is told
    assert fake.read("e", "generation") == b"4\n"


# On the fake.


@pytest.mark.parametrize("length", [1, 32, 64])
def test_a_report_is_over_what_was_written(length: int) -> None:
    fake = FakeTsm(echo)
    tsm, pauses = make(fake)
    blobs = tsm.report(bytes(length))
    assert (blobs.outblob, blobs.auxblob) == (b"report:\0" + bytes(length), b"certificates")
    assert (fake.entries, fake.calls, pauses) == ({}, 1, [])


def test_every_request_has_an_entry_of_its_own() -> None:
    fake = FakeTsm(echo)
    tsm, _ = make(fake)
    for _ in range(20):
        tsm.report(DATA)
    assert len(set(fake.made)) == 20


def test_the_privilege_level_is_asked_for() -> None:
    tsm, _ = make(FakeTsm(echo, privlevel_floor=1), privlevel=2)
    assert tsm.report(DATA).outblob == b"report:\2" + DATA


def test_a_level_below_the_floor_is_refused() -> None:
    fake = FakeTsm(echo, privlevel_floor=2)
    tsm, _ = make(fake, privlevel=1)
    with pytest.raises(UpstreamError, match="Invalid argument"):
        tsm.report(DATA)
    assert fake.entries == {}


def test_tdx_has_no_auxblob() -> None:
    fake = FakeTsm(echo, provider=TDX_GUEST)
    tsm, _ = make(fake)
    assert tsm.report(DATA).auxblob == b""
    with pytest.raises(UpstreamError, match="configfs-tsm failed"):
        make(fake, privlevel=0)[0].report(DATA)


@pytest.mark.parametrize("attribute", ["provider", "outblob", "auxblob", "generation"])
def test_a_report_that_is_over_somebody_elses_octets_is_not_taken(attribute: str) -> None:
    seen: list[str] = []

    def interfere(fake: FakeTsm, entry: str, what: str) -> None:
        if len(fake.made) == 1 and fake.entries and what == attribute and fake.entries[entry].inblob:
            seen.append(what)
            fake.store(entry, "inblob", b"theirs")

    fake = FakeTsm(echo, before=interfere)
    tsm, pauses = make(fake)
    assert tsm.report(DATA).outblob == b"report:\0" + DATA
    assert (seen, len(fake.made), len(pauses), fake.entries) == ([attribute], 2, 1, {})


def test_a_write_before_ours_is_seen_too() -> None:
    def interfere(fake: FakeTsm, entry: str, what: str) -> None:
        if len(fake.made) == 1 and what == "inblob":
            fake.store(entry, "privlevel", b"3")  # ours comes after it, and the report would be of another level

    fake = FakeTsm(echo, before=interfere)
    assert make(fake)[0].report(DATA).outblob == b"report:\0" + DATA
    assert len(fake.made) == 2


def test_a_write_that_never_took_effect_is_seen() -> None:
    def interfere(fake: FakeTsm, entry: str, what: str) -> None:
        if len(fake.made) == 1 and what == "inblob":
            fake.store(entry, "inblob", b"theirs")
            fake.entries[entry].read_generation = fake.entries[entry].write_generation + 1

    fake = FakeTsm(echo, before=interfere)
    assert make(fake)[0].report(DATA).outblob == b"report:\0" + DATA
    assert len(fake.made) == 2


def test_somebody_who_never_stops_writing_is_busy() -> None:
    def interfere(fake: FakeTsm, entry: str, what: str) -> None:
        if what == "outblob":
            fake.store(entry, "inblob", b"theirs")

    fake = FakeTsm(echo, before=interfere)
    tsm, pauses = make(fake)
    with pytest.raises(BusyError, match="another process writes"):
        tsm.report(DATA)
    assert (len(fake.made), len(pauses), fake.entries) == (TRIES, TRIES - 1, {})
    assert sum(pauses) < 2


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EWOULDBLOCK, errno.EINTR])
@pytest.mark.parametrize("what", ["mkdir", "inblob", "provider", "outblob", "auxblob", "platform"])
def test_what_passes_is_tried_again(what: str, number: int) -> None:
    fake = FakeTsm(echo, errors={what: [number] * (TRIES - 1)})
    tsm, pauses = make(fake)
    assert tsm.report(DATA).outblob == b"report:\0" + DATA
    assert (len(pauses), fake.entries) == (TRIES - 1, {})


def test_what_does_not_pass_is_busy() -> None:
    fake = FakeTsm(echo, errors={"platform": [errno.EBUSY] * TRIES})
    with pytest.raises(BusyError, match="Device or resource busy"):
        make(fake)[0].report(DATA)
    assert fake.entries == {}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENXIO, errno.EFBIG, errno.EINVAL, errno.ETIMEDOUT])
@pytest.mark.parametrize("what", ["mkdir", "inblob", "provider", "outblob", "auxblob", "platform"])
def test_other_errors_end_it_at_once(what: str, number: int) -> None:
    fake = FakeTsm(echo, errors={what: [number]})
    tsm, pauses = make(fake)
    with pytest.raises(UpstreamError, match="configfs-tsm failed: "):
        tsm.report(DATA)
    assert (pauses, fake.entries) == ([], {})


def test_a_machine_without_a_driver_is_named() -> None:
    with pytest.raises(UpstreamError, match="no driver of a confidential guest"):
        make(FakeTsm(echo, provider=None))[0].report(DATA)


def test_a_report_over_the_kernels_limit_is_named() -> None:
    with pytest.raises(UpstreamError, match="larger than the kernel allows"):
        make(FakeTsm(echo, max_outblob=10))[0].report(DATA)


def test_more_than_64_octets_are_refused() -> None:
    fake = FakeTsm(echo)
    with pytest.raises(UpstreamError, match="configfs-tsm failed"):
        make(fake)[0].report(bytes(MAX_INBLOB + 1))
    assert fake.entries == {}


def test_another_provider_is_refused_before_it_is_asked() -> None:
    fake = FakeTsm(echo, provider=TDX_GUEST)
    with pytest.raises(UpstreamError, match="the provider of configfs-tsm is tdx_guest, not sev_guest"):
        ConfigfsTsm(fake, SEV_GUEST).report(DATA)
    assert (fake.calls, fake.entries) == (0, {})


def test_a_folder_that_cannot_be_removed_costs_no_report() -> None:
    fake = FakeTsm(echo, errors={"rmdir": [errno.EBUSY]})
    assert make(fake)[0].report(DATA).outblob == b"report:\0" + DATA


def test_a_generation_that_is_no_number_is_refused() -> None:
    class Strange(FakeTsm):
        def read(self, entry: str, attribute: str) -> bytes:
            return b"many\n" if attribute == "generation" else super().read(entry, attribute)

    fake = Strange(echo)
    with pytest.raises(UpstreamError, match="generation is not a number"):
        make(fake)[0].report(DATA)
    assert fake.entries == {}


# By system calls: FIFOs block, so that a thread answers each in turn, as a kernel would.


class Served(KernelDirectory):
    """A real folder in which a thread stands for the kernel: FIFOs are there when mkdir returns, as attributes are."""

    def __init__(self, root: Path, serve: Callable[[Path], None]) -> None:
        super().__init__(root)
        self._folder = root
        self._serve = serve

    def mkdir(self, entry: str) -> None:
        super().mkdir(entry)
        folder = self._folder / entry
        for name in ("generation", "inblob", "provider", "outblob", "auxblob"):
            os.mkfifo(folder / name)
        threading.Thread(target=self._serve, args=(folder,), daemon=True).start()


def kernel(generations: tuple[int, int], outblob: bytes) -> Callable[[Path], None]:
    def serve(folder: Path) -> None:
        (folder / "generation").write_bytes(b"%d\n" % generations[0])
        inblob = (folder / "inblob").read_bytes()
        (folder / "provider").write_bytes(b"sev_guest\n")
        (folder / "outblob").write_bytes(outblob + inblob)
        (folder / "auxblob").write_bytes(b"")
        with (folder / "generation").open("wb") as file:  # it is open on both sides now, and can lose its name
            for path in folder.iterdir():
                path.unlink()  # rmdir(2) on configfs takes the files along
            file.write(b"%d\n" % generations[1])

    return serve


def test_the_system_calls_do_what_the_protocol_says(tmp_path: Path) -> None:
    large = bytes(MAX_BLOB - 64)
    directory = Served(tmp_path, kernel((7, 8), large))
    assert ConfigfsTsm(directory, SEV_GUEST).report(DATA).outblob == large + DATA
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_generation_is_seen_through_them(tmp_path: Path) -> None:
    directory = Served(tmp_path, kernel((7, 9), b""))
    with pytest.raises(BusyError, match="another process writes"):
        ConfigfsTsm(directory, SEV_GUEST, pause=lambda _: None).report(DATA)
    assert list(tmp_path.iterdir()) == []


def test_a_blob_over_our_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "outblob").write_bytes(bytes(MAX_BLOB + 1))
    assert error_of(lambda: KernelDirectory(tmp_path).read("e", "outblob")) == errno.EFBIG


def test_a_machine_without_configfs_is_named(tmp_path: Path) -> None:
    tsm = ConfigfsTsm(KernelDirectory(tmp_path / "tsm" / "report"), SEV_GUEST)
    with pytest.raises(UpstreamError, match="no configfs-tsm here"):
        tsm.report(DATA)


# The host's table of certificates.


def test_a_table_is_read_by_its_guids() -> None:
    table = certificate_table((ARK, b"ark"), (OTHER, b"other"), (VCEK, b"vcek"), (ASK, b""))
    assert parse_certificate_table(table + b"rest") == {"ark": b"ark", "vcek": b"vcek", "ask": b""}
    assert parse_certificate_table(b"") == parse_certificate_table(bytes(24)) == {}
    assert table.startswith(bytes.fromhex("c0b406a4a80349529743 3fb6014cd0ae 78000000 03000000"))


def test_every_truncated_table_is_refused() -> None:
    table = certificate_table((VCEK, bytes(30)), (ASK, bytes(5)))
    for end in range(1, len(table)):
        with pytest.raises(DecodeError):
            parse_certificate_table(table[:end])


@pytest.mark.parametrize(("offset", "length"), [(48, 4), (0xFFFF_FFFF, 1), (0, 0xFFFF_FFFF), (52, 0)])
def test_an_entry_that_points_outside_is_refused(offset: int, length: int) -> None:
    table = bytearray(certificate_table((VCEK, b"abc")))
    table[16:24] = offset.to_bytes(4, "little") + length.to_bytes(4, "little")
    with pytest.raises(DecodeError, match="truncated in"):
        parse_certificate_table(bytes(table))


def test_a_certificate_that_is_there_twice_is_refused() -> None:
    with pytest.raises(DecodeError, match="vcek is there twice"):
        parse_certificate_table(certificate_table((VCEK, b"a"), (VCEK, b"b")))


def test_a_table_has_a_limit() -> None:
    assert parse_certificate_table(certificate_table(*[(OTHER, b"")] * (MAX_ENTRIES - 1))) == {}
    with pytest.raises(DecodeError, match=f"more than {MAX_ENTRIES} entries"):
        parse_certificate_table(certificate_table(*[(OTHER, b"")] * MAX_ENTRIES))


# SEV-SNP as a whole, with a chip of an AMD for tests.


@pytest.fixture(scope="module")
def amd() -> Amd:
    return Amd()


def guest(amd: Amd, *names: str) -> FakeTsm:
    """A guest on the chip, whose host gives the certificates of these names."""
    ders = {VCEK: amd.vcek(), ASK: amd.ask, ARK: amd.ark, VLEK: b"vlek"}
    aux = certificate_table(*((name, ders[name]) for name in names)) if names else b""
    return FakeTsm(lambda inblob, level: (amd.report(report_data=inblob, vmpl=level), aux))


@pytest.fixture
def collateral(tmp_path: Path, amd: Amd) -> Path:
    folder = tmp_path / "collateral"
    folder.mkdir()
    (folder / "crl.der").write_bytes(amd.crl())
    return folder


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return folder


def pem(der: bytes) -> bytes:
    return serialize_pem_chain([der])


def verified(producer: SnpProducer, amd: Amd, table: SnpTable = TABLE) -> bytes:
    return snp.verify(producer.attest(DATA), table, NOW, Steps(snp.TITLES), roots=amd.roots).bound


def test_a_report_is_evidence_that_the_verifier_accepts(amd: Amd, collateral: Path) -> None:
    tsm, _ = make(guest(amd, VCEK, ASK, ARK))
    assert verified(SnpProducer(tsm, None, collateral), amd) == DATA


def test_a_privilege_level_is_part_of_it(amd: Amd, collateral: Path) -> None:
    tsm, _ = make(guest(amd, VCEK, ASK, ARK), privlevel=2)
    table = SnpTable(minimum_tcb={"genoa": SnpTcb()}, vmpl=2)
    assert verified(SnpProducer(tsm, None, collateral), amd, table) == DATA


@pytest.mark.parametrize("form", ["der", "pem"])
@pytest.mark.parametrize("given", [(), (VCEK,), (VCEK, ASK)])
def test_what_the_host_does_not_give_comes_from_files(
    amd: Amd, collateral: Path, certificates: Path, given: tuple[str, ...], form: str
) -> None:
    for name, der in (("vcek", amd.vcek()), ("ask", amd.ask), ("ark", amd.ark)):
        (certificates / f"{name}.{form}").write_bytes(der if form == "der" else pem(der))
    tsm, _ = make(guest(amd, *given))
    assert verified(SnpProducer(tsm, certificates, collateral), amd) == DATA


def test_the_hosts_certificate_goes_before_a_file(amd: Amd, collateral: Path, certificates: Path) -> None:
    (certificates / "vcek.der").write_bytes(b"of the firmware before")
    tsm, _ = make(guest(amd, VCEK, ASK, ARK))
    assert verified(SnpProducer(tsm, certificates, collateral), amd) == DATA


def test_a_host_may_give_pem(amd: Amd, collateral: Path) -> None:
    table = certificate_table((VCEK, pem(amd.vcek())), (ASK, pem(amd.ask)), (ARK, pem(amd.ark)))
    tsm, _ = make(FakeTsm(lambda inblob, _: (amd.report(report_data=inblob), table)))
    assert verified(SnpProducer(tsm, None, collateral), amd) == DATA


def test_openssl_writes_the_pem_that_is_read(amd: Amd, collateral: Path, certificates: Path) -> None:
    (certificates / "ark.pem").write_bytes(x509.load_der_x509_certificate(amd.ark).public_bytes(Encoding.PEM))
    tsm, _ = make(guest(amd, VCEK, ASK))
    assert verified(SnpProducer(tsm, certificates, collateral), amd) == DATA


def test_the_revocation_list_is_read_anew_for_each_report(amd: Amd, collateral: Path) -> None:
    tsm, _ = make(guest(amd, VCEK, ASK, ARK))
    producer = SnpProducer(tsm, None, collateral)
    before = producer.attest(DATA)
    renewed = amd.crl([0xABCD])
    (collateral / "crl.der").write_bytes(renewed)
    assert snp.parse_body(before).crls != snp.parse_body(producer.attest(DATA)).crls == (renewed,)


def test_what_is_missing_is_named(amd: Amd, collateral: Path, certificates: Path) -> None:
    with pytest.raises(UpstreamError, match="neither the host nor a file of --certificates gives ask"):
        SnpProducer(make(guest(amd, VCEK))[0], certificates, collateral).attest(DATA)
    with pytest.raises(UpstreamError, match="the host signs with a VLEK"):
        SnpProducer(make(guest(amd, VLEK, ASK, ARK))[0], None, collateral).attest(DATA)
    (collateral / "crl.der").unlink()
    with pytest.raises(UpstreamError, match=r"cannot read .*crl\.der: No such file"):
        SnpProducer(make(guest(amd, VCEK, ASK, ARK))[0], None, collateral).attest(DATA)
    with pytest.raises(ConfigError, match="is not a folder"):
        SnpProducer(make(guest(amd))[0], certificates / "none", collateral)


@pytest.mark.parametrize("content", [b"-----BEGIN CERTIFICATE-----\nnothing\n", b"-----BEGIN", b"-----BEGIN \xff"])
def test_a_damaged_file_is_named(amd: Amd, collateral: Path, certificates: Path, content: bytes) -> None:
    (certificates / "ark.pem").write_bytes(content)
    with pytest.raises(UpstreamError, match=r"ark\.pem is not one certificate in PEM"):
        SnpProducer(make(guest(amd, VCEK, ASK))[0], certificates, collateral).attest(DATA)


def test_a_file_over_the_limit_is_named(amd: Amd, collateral: Path) -> None:
    (collateral / "crl.der").write_bytes(bytes(65_537))
    with pytest.raises(UpstreamError, match="has more than 65536 octets"):
        SnpProducer(make(guest(amd, VCEK, ASK, ARK))[0], None, collateral).attest(DATA)


def test_a_damaged_table_of_the_host_is_named(amd: Amd, collateral: Path) -> None:
    fake = FakeTsm(lambda inblob, _: (amd.report(report_data=inblob), b"damaged"))
    with pytest.raises(UpstreamError, match="table of certificates is damaged"):
        SnpProducer(make(fake)[0], None, collateral).attest(DATA)


# TDX as a whole, with a real quote, so what is asked for is what it binds.

BOUND_AT = slice(568, 632)


def trust_domain(quote: bytes) -> ConfigfsTsm:
    def quoting(inblob: bytes, _: int) -> tuple[bytes, bytes]:
        if inblob not in quote:
            raise fail(errno.EIO)
        return quote, b""

    return make(FakeTsm(quoting, provider=TDX_GUEST))[0]


def test_a_quote_goes_with_the_collateral_of_a_file(tmp_path: Path) -> None:
    quote = vector("tdx/phala-tdx_quote")
    (tmp_path / "collateral.json").write_bytes(vector("tdx/phala-tdx_quote_collateral.json"))
    evidence = tdx.parse_body(TdxProducer(trust_domain(quote), tmp_path).attest(quote[BOUND_AT]))
    assert evidence.quote == quote
    assert evidence.collateral.tcb_info.document.startswith(b'{"id":"TDX"')
    assert evidence.collateral.pck_crl


def test_a_quote_over_what_was_asked_is_evidence_that_the_verifier_accepts(tmp_path: Path) -> None:
    intel = tdx_signer.Intel()
    (tmp_path / "collateral.json").write_text(in_json(intel.collateral()))
    asked = bytes(reversed(DATA))
    fake = FakeTsm(lambda inblob, _: (intel.quote(report={"report_data": inblob}), b""), provider=TDX_GUEST)
    body = TdxProducer(make(fake)[0], tmp_path).attest(asked)
    report = tdx.verify(body, TdxTable(), tdx_signer.NOW, Steps(tdx.TITLES), roots=intel.roots)
    assert report.bound == asked


def in_json(collateral: Collateral) -> str:
    """Return collateral as an operator's tools get it from Intel's service or a cache of it."""
    info, identity = collateral.tcb_info, collateral.qe_identity
    return json.dumps(
        {
            "root_ca_crl": collateral.root_crl.hex(),
            "pck_crl": collateral.pck_crl.hex(),
            "pck_crl_issuer_chain": serialize_pem_chain(collateral.pck_crl_chain).decode(),
            "tcb_info": info.document.decode(),
            "tcb_info_signature": info.signature.hex(),
            "tcb_info_issuer_chain": serialize_pem_chain(info.chain).decode(),
            "qe_identity": identity.document.decode(),
            "qe_identity_signature": identity.signature.hex(),
            "qe_identity_issuer_chain": serialize_pem_chain(identity.chain).decode(),
        }
    )


@pytest.mark.parametrize("content", [b"{}", b"\xff", b""])
def test_damaged_collateral_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "collateral.json").write_bytes(content)
    with pytest.raises(UpstreamError, match=r"collateral\.json is damaged"):
        TdxProducer(trust_domain(b"quote over " + DATA), tmp_path).attest(DATA)


def test_collateral_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match="cannot read"):
        TdxProducer(trust_domain(b"quote over " + DATA), tmp_path).attest(DATA)
