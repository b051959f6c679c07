"""What a device makes of a ledger's proofs: honest ones pass, and everything else stops at the step that it fails."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from msgspec.structs import replace as replace_fields

from seclude.attestation.accept import LedgerTable, SimulatedTable, SnpTable, SnpTcb
from seclude.attestation.bundle import Bundle, Core, birth_report_data, serialize_bundle, serialize_core
from seclude.attestation.joinpolicy import serialize_join_policy
from seclude.attestation.ledger import NOTHING_KNOWN, Known, require_release, verify_proofs
from seclude.attestation.policy import Demonstration, Policy
from seclude.attestation.proofs import VOID, Proofs, serialize_proofs
from seclude.attestation.slots import KEY_IDS, Slots
from seclude.attestation.snapshot import Revocation
from seclude.attestation.steps import Step
from seclude.attestation.verify import TrustedPool, verify_bundle
from seclude.errors import EvidenceError, PolicyError, UsageError, VerificationError
from seclude.ohttp.keyconfig import parse_key_configs, serialize_key_configs
from seclude.tlog.keys import COSIGNATURE_ED25519, ML_DSA_44
from seclude.tlog.outline import make_outline
from tests.attestation.test_verify import CORE, HARDWARE, MEASUREMENT, ROOT
from tests.attestation.test_verify import EPOCH as GROUND_EPOCH
from tests.attestation.test_verify import SLOTS as GROUND
from tests.ledgers import LedgerHere, Tree

EPOCH = 70
SLOTS = Slots(t0=GROUND.start(GROUND_EPOCH) - EPOCH * 600, period_seconds=600)
START = SLOTS.start(EPOCH)
NOW = START + 100
BORN = START - 590
DAY = 86_400
OTHER_MANIFEST = bytes(reversed(range(32)))


@dataclass
class Service:
    """A pool whose epochs are logged as a gateway would, and what devices pin of it."""

    ledger: LedgerHere
    table: LedgerTable
    epoch: int = EPOCH
    """Of now: how many slots the log is old."""
    snp: SnpTable | None = None
    """What is asked of machines that are not used here."""

    @property
    def policy(self) -> Policy:
        slots = Slots(t0=START - self.epoch * 600, period_seconds=600)
        document = Demonstration(ledger=self.table, simulated=SimulatedTable(roots=(ROOT,)), sev_snp=self.snp)
        return Policy(origin="ai.example", slots=slots, document=document)

    def core(self, *, ledger: LedgerHere | None = None, born: float = BORN) -> Core:
        configs = [replace(each, key_id=KEY_IDS[each.kem](self.epoch)) for each in parse_key_configs(CORE.key_configs)]
        return replace(
            CORE,
            epoch=self.epoch,
            key_configs=serialize_key_configs(configs),
            join_policy=serialize_join_policy(self.policy.for_measurement(MEASUREMENT)),
            checkpoint=(ledger or self.ledger).keys_checkpoint(born),
        )

    def bare(self, core: Core) -> Bundle:
        encoded = serialize_core(core)
        report = replace(HARDWARE.report(birth_report_data(encoded)), issued_at=BORN + 1)
        return Bundle(encoded, HARDWARE.evidence(report))

    def log(self, core: Core | None = None) -> Bundle:
        core = core or self.core()
        bundle = self.bare(core)
        self.ledger.log(core.epoch, bundle.core, bundle.evidence)
        return bundle

    def verify(self, bundle: Bundle, proofs: bytes, now: float = NOW, known: Known = NOTHING_KNOWN) -> TrustedPool:
        return verify_bundle(serialize_bundle(replace(bundle, proofs=proofs)), self.policy, now, {}, known=known)

    def assert_stops(
        self, step: int, bundle: Bundle, proofs: bytes, words: str, *, now: float = NOW, known: Known = NOTHING_KNOWN
    ) -> None:
        passed: list[Step] = []
        encoded = serialize_bundle(replace(bundle, proofs=proofs))
        with pytest.raises(VerificationError, match=words) as caught:
            verify_bundle(encoded, self.policy, now, {}, known=known, observe=passed.append)
        assert caught.value.step == step, caught.value
        assert [each.number for each in passed] == list(range(1, step))


def service(
    *, maturity_seconds: int = 0, released: bool = True, algorithm: int = COSIGNATURE_ED25519, epoch: int = EPOCH
) -> Service:
    ledger = LedgerHere(algorithm=algorithm)
    ledger.keys.entries += [VOID] * epoch
    made = Service(ledger, ledger.table(maturity_seconds=maturity_seconds), epoch)
    if released:
        ledger.publish(ledger.release(MEASUREMENT, now=START - DAY), now=START - DAY)
    return made


@pytest.mark.parametrize("algorithm", [COSIGNATURE_ED25519, ML_DSA_44])
def test_an_honest_ledger_passes_eighteen_steps(algorithm: int) -> None:
    made = service(algorithm=algorithm)
    pool = made.verify(made.log(), made.ledger.proofs(NOW - 5))
    assert [step.number for step in pool.steps] == list(range(1, 19))
    assert all(step.title and step.found for step in pool.steps)
    assert pool.ledger is not None
    assert pool.release is not None
    assert pool.release.manifest == MEASUREMENT.hex()
    assert pool.ledger.keys.since == pool.ledger.state.since == NOW - 5
    assert pool.expires_at == SLOTS.end(EPOCH)
    assert {origin: outline.size for origin, outline in pool.ledger.outlines.items()} == {
        "log.example/keys": EPOCH + 1,
        "log.example/state": 1,
    }


def test_two_witnesses_of_three_are_enough() -> None:
    made = service()
    bundle = made.log()
    view = made.ledger.view(NOW)
    keys = replace(view.keys, checkpoint=made.ledger.keys_checkpoint(NOW, by=(0, 2)))
    assert made.verify(bundle, serialize_proofs(replace(view, keys=keys))).epoch == EPOCH


def test_step_1_refuses_a_bundle_that_shows_nothing_of_the_ledger() -> None:
    made = service()
    made.assert_stops(1, made.log(), b"", "no proofs of the ledger")
    made.assert_stops(1, made.bare(made.core()), b"junk", "truncated")


def test_the_core_s_own_checkpoint_dates_it_by_a_quorum() -> None:
    made = service()
    too_old = NOW - 1830  # three periods and the skew
    for step, checkpoint, words in (
        (13, made.ledger.keys_checkpoint(BORN, by=(1,)), "1 of 3"),
        (13, CORE.checkpoint, "binds no checkpoint of the keys log"),
        (13, made.ledger.checkpoint(made.ledger.state, made.ledger.state_key, BORN), "of another log"),
        (14, made.ledger.keys_checkpoint(too_old), "older than 1830 seconds"),
        (14, made.ledger.keys_checkpoint(BORN, times={0: NOW, 1: too_old, 2: too_old}), "older than 1830 seconds"),
    ):
        bundle = made.bare(replace(made.core(), checkpoint=checkpoint))
        ledger = made.ledger.split()
        ledger.log(EPOCH, bundle.core, bundle.evidence)
        made.assert_stops(step, bundle, ledger.proofs(NOW), words)


def test_step_8_refuses_software_that_is_not_in_the_log() -> None:
    made = service(released=False)
    made.ledger.publish(made.ledger.release(OTHER_MANIFEST, now=START), now=START - 100)
    made.assert_stops(8, made.log(), made.ledger.proofs(NOW), "is not released for role")


def test_step_8_refuses_software_of_another_role() -> None:
    made = service(released=False)
    made.ledger.publish(made.ledger.release(MEASUREMENT, now=START, role="issuer"), now=START - 100)
    made.assert_stops(8, made.log(), made.ledger.proofs(NOW), 'not released for role "worker", but for role "issuer"')


def test_step_8_refuses_software_that_was_revoked() -> None:
    made = service()
    bundle = made.log()
    assert made.verify(bundle, made.ledger.proofs(NOW)).epoch == EPOCH
    revocation = Revocation(manifest=MEASUREMENT.hex(), reason="it leaked", revoked=int(NOW))
    made.ledger.publish(now=NOW, signers=(2,), revocations=(revocation,))
    made.assert_stops(8, bundle, made.ledger.proofs(NOW), "was revoked at .*: it leaked")


@pytest.mark.parametrize("log", ["keys", "state"])
def test_step_13_refuses_checkpoints_of_too_few_witnesses(log: str) -> None:
    made = service()
    bundle = made.log()
    view = made.ledger.view(NOW)
    tree, key = getattr(made.ledger, log), getattr(made.ledger, f"{log}_key")
    for by, words in ((), "0 of 3|nobody|by none"), ((1,), "1 of 3"):
        short = replace(getattr(view, log), checkpoint=made.ledger.checkpoint(tree, key, NOW, by=by))
        made.assert_stops(13, bundle, serialize_proofs(replace(view, **{log: short})), words)


def test_step_13_refuses_witnesses_and_logs_that_nobody_pinned() -> None:
    made, strangers = service(), LedgerHere()
    bundle = made.log()
    strangers.keys, strangers.state = made.ledger.keys, made.ledger.state
    made.assert_stops(13, bundle, strangers.proofs(NOW), "log.example/keys")
    half = strangers.split()
    half.keys_key, half.state_key = made.ledger.keys_key, made.ledger.state_key
    made.assert_stops(13, bundle, half.proofs(NOW), "0 of 3|nobody|none")


def test_step_13_takes_no_checkpoint_of_one_log_for_the_others() -> None:
    made = service()
    bundle, view = made.log(), made.ledger.view(NOW)
    made.assert_stops(13, bundle, serialize_proofs(replace(view, keys=view.state, state=view.keys)), "log.example")


@pytest.mark.parametrize("log", ["keys", "state"])
def test_step_14_refuses_stale_checkpoints_and_those_of_tomorrow(log: str) -> None:
    made = service()
    bundle = made.log()
    view = made.ledger.view(NOW)
    tree, key = getattr(made.ledger, log), getattr(made.ledger, f"{log}_key")

    def at(moment: float, **options: object) -> bytes:
        other = made.ledger.checkpoint(tree, key, moment, **options)  # type: ignore[arg-type]
        return serialize_proofs(replace(view, **{log: replace(getattr(view, log), checkpoint=other)}))

    oldest = NOW - 1230  # two periods and the skew of a clock
    assert made.verify(bundle, at(oldest + 1)).expires_at == min(SLOTS.end(EPOCH), NOW + 1)
    made.assert_stops(14, bundle, at(oldest), "older than 1230 seconds")
    made.assert_stops(14, bundle, at(NOW + 31), "from the future")
    # One witness that says it is late makes nothing fresh, and one that is slow makes nothing stale.
    made.assert_stops(14, bundle, at(oldest, times={0: NOW}), "older than")
    assert made.verify(bundle, at(NOW, times={0: oldest})).epoch == EPOCH


def test_step_15_refuses_a_log_that_is_not_the_one_the_core_was_born_under() -> None:
    made, other = service(), service()
    other.ledger.keys_key, other.ledger.witness_keys = made.ledger.keys_key, made.ledger.witness_keys
    other.ledger.keys.entries[3] = b"something else"
    bundle = made.bare(made.core(ledger=other.ledger))
    made.ledger.log(EPOCH, bundle.core, bundle.evidence)
    made.assert_stops(15, bundle, made.ledger.proofs(NOW), "two trees of size 70")


def test_step_15_refuses_a_tree_that_ends_before_the_core_s_checkpoint() -> None:
    made = service()
    bundle = made.bare(made.core())
    made.ledger.keys.entries.pop()
    made.assert_stops(15, bundle, made.ledger.proofs(NOW), "cannot tell the root at")


def test_step_15_refuses_an_outline_of_another_tree() -> None:
    made = service()
    bundle, view = made.log(), made.ledger.view(NOW)
    other = Tree([*made.ledger.keys.entries[:-1], b"another end"])
    outline = make_outline(len(other), other.node)
    keys = replace(view.keys, outline=outline)
    made.assert_stops(15, bundle, serialize_proofs(replace(view, keys=keys)), "another tree than its checkpoint")


def test_step_15_compares_with_everything_that_was_seen_before() -> None:
    """A log and all its witnesses that lie together are caught by whoever was shown the other tree."""
    made = service()
    split = made.ledger.split()
    seen = made.verify(made.log(), made.ledger.proofs(NOW)).ledger
    assert seen is not None
    liar = Service(split, made.table)
    mine = liar.log(replace(liar.core(), manifest_digest=MEASUREMENT, checkpoint=split.keys_checkpoint(BORN + 1)))
    assert liar.verify(mine, split.proofs(NOW)).epoch == EPOCH  # to whoever saw nothing
    liar.assert_stops(15, mine, split.proofs(NOW), "two histories", known=seen.outlines)
    for further in range(1, 40):  # and however far the tree has grown since, by whatever was logged
        split.log(EPOCH + further, b"core", b"evidence")
        liar.assert_stops(15, mine, split.proofs(NOW), "two histories", known=seen.outlines)


def test_a_smaller_tree_than_seen_is_no_lie_for_the_keys_but_withholds_state() -> None:
    made = service()
    bundle = made.log()
    before = made.ledger.proofs(NOW)
    made.ledger.log(EPOCH + 1, b"core", b"evidence")
    larger = made.verify(bundle, made.ledger.proofs(NOW)).ledger
    assert larger is not None
    again = made.verify(bundle, before, known=larger.outlines).ledger
    assert again is not None
    assert again.outlines["log.example/keys"].size == EPOCH + 2
    made.ledger.publish(now=NOW, signers=(0,))
    newest = verify_proofs(made.ledger.proofs(NOW), made.policy, NOW)
    made.assert_stops(17, bundle, before, "a newer snapshot is withheld", known=newest.outlines)


def test_step_16_refuses_keys_that_are_not_in_the_log() -> None:
    made = service()
    bundle = made.bare(made.core())
    made.assert_stops(16, bundle, made.ledger.proofs(NOW), "epoch 70 is not in the keys log yet")
    void = made.ledger.split()
    void.keys.entries.append(VOID)
    made.assert_stops(16, bundle, void.proofs(NOW), "has no keys")
    other = made.ledger.split()
    other.log(EPOCH, bundle.core, b"other evidence")
    made.assert_stops(16, bundle, other.proofs(NOW), "another core or other evidence")
    late = made.ledger.split()  # logged, but in the slot of another epoch
    late.keys.entries.append(VOID)
    late.log(EPOCH + 1, bundle.core, bundle.evidence)
    made.assert_stops(16, bundle, late.proofs(NOW), "has no keys")


def test_an_outline_that_begins_after_the_epoch_shows_nothing() -> None:
    made = service()
    bundle = made.log()
    made.ledger.keys.entries += [VOID] * 200
    made.assert_stops(15, bundle, made.ledger.proofs(NOW), "cannot tell the root at the core's checkpoint of 70")


def test_a_second_key_for_a_slot_has_no_place() -> None:
    """Leaf n is epoch n: the log takes no second one, and in any other place it is another epoch's."""
    made = service()
    made.log()
    second = made.bare(made.core(born=BORN + 1))
    with pytest.raises(AssertionError, match="does not take back a leaf"):
        made.ledger.log(EPOCH, second.core, second.evidence)
    made.assert_stops(16, second, made.ledger.proofs(NOW), "another core or other evidence")
    for _ in range(3):
        made.ledger.log(len(made.ledger.keys), second.core, second.evidence)
        made.assert_stops(16, second, made.ledger.proofs(NOW), "another core or other evidence")


def test_step_17_takes_the_last_leaf_only() -> None:
    made = service()
    bundle = made.log()
    old = made.ledger.state.entries[0]
    made.ledger.publish(now=NOW - 10, signers=(0,))  # which revokes nothing, and releases nothing any more
    made.assert_stops(
        17, bundle, made.ledger.changed(NOW, lambda view: replace(view, snapshot=old)), "not the last leaf"
    )
    empty = made.ledger.split()
    empty.state = Tree()
    made.assert_stops(
        17, bundle, empty.changed(NOW, lambda view: replace(view, snapshot=old)), "not the last leaf of the state log"
    )


@pytest.mark.parametrize(("signers", "words"), [((0,), "signed by publisher-0.example; it takes 2"), ((), "none")])
def test_step_17_takes_two_publishers_for_a_release(signers: tuple[int, ...], words: str) -> None:
    made = service(released=False)
    stranger = LedgerHere()
    entry = stranger.publish(made.ledger.release(MEASUREMENT, now=START), now=START)
    made.ledger.publish(made.ledger.release(MEASUREMENT, now=START), now=START, signers=signers or (0,))
    if not signers:
        made.ledger.state.entries[-1] = entry
    made.assert_stops(17, made.log(), made.ledger.proofs(NOW), words)


def test_step_17_refuses_a_snapshot_that_expired_or_is_another_service_s() -> None:
    made = service(released=False)
    bundle = made.log()
    release = made.ledger.release(MEASUREMENT, now=START - DAY)
    for parts, words in (
        ({"expires": int(NOW)}, "the snapshot has expired"),
        ({"issued": int(NOW) + 31}, "from the future"),
        ({"origin": "other.example"}, 'of the service "other.example"'),
    ):
        ledger = made.ledger.split()
        ledger.publish(release, now=START - DAY, **parts)
        made.assert_stops(17, bundle, ledger.proofs(NOW), words)


def test_step_18_holds_a_release_to_its_dates() -> None:
    for issued, expires, words in ((START - DAY, NOW, "has expired"), (NOW + 31, NOW + DAY, "is of later")):
        made = service(released=False)
        made.ledger.publish(
            replace_fields(made.ledger.release(MEASUREMENT, now=issued), expires=int(expires)), now=START - DAY
        )
        made.assert_stops(18, made.log(), made.ledger.proofs(NOW), words)
    made = service(released=False)
    made.ledger.publish(made.ledger.release(MEASUREMENT, now=START - DAY, expires=NOW + 60), now=START - DAY)
    assert made.verify(made.log(), made.ledger.proofs(NOW)).expires_at == NOW + 60


def test_step_18_waits_until_others_could_have_looked() -> None:
    made = service(maturity_seconds=DAY)
    bundle = made.log()
    ledger = made.ledger
    made.assert_stops(18, bundle, ledger.proofs(NOW), "nothing shows since when it stands")
    made.assert_stops(18, bundle, ledger.proofs(NOW, earlier=NOW - DAY + 1), "it stands since")
    assert made.verify(bundle, ledger.proofs(NOW, earlier=NOW - DAY)).epoch == EPOCH
    # The time is that of a quorum: one witness that was early, or says so, is not enough.
    early = ledger.view(NOW, earlier=NOW)
    assert early.earlier is not None
    lone = ledger.checkpoint(ledger.state, ledger.state_key, NOW, times={0: NOW - 2 * DAY})
    made.assert_stops(
        18, bundle, serialize_proofs(replace(early, earlier=replace(early.earlier, checkpoint=lone))), "since"
    )


def test_a_release_that_is_still_there_is_mature_and_a_new_one_is_not() -> None:
    made = service(maturity_seconds=DAY)
    bundle, ledger = made.log(), made.ledger
    old = ledger.release(MEASUREMENT, now=START - DAY)
    ledger.publish(old, ledger.release(OTHER_MANIFEST, now=NOW - 10), now=NOW - 10)
    assert made.verify(bundle, ledger.proofs(NOW, earlier=NOW - DAY, earlier_size=1)).epoch == EPOCH
    trusted = verify_proofs(ledger.proofs(NOW, earlier=NOW - DAY, earlier_size=1), made.policy, NOW)
    with pytest.raises(PolicyError, match="nothing shows since when"):
        require_release(trusted, made.policy, OTHER_MANIFEST, {}, NOW)
    # A publisher's old snapshot that never stood in this log shows nothing.
    stray = ledger.split()
    stray.publish(old, ledger.release(OTHER_MANIFEST, now=START), now=START)
    view, theirs = ledger.view(NOW, earlier=NOW - DAY, earlier_size=1), stray.view(NOW, earlier=NOW - DAY)
    made.assert_stops(
        17, bundle, serialize_proofs(replace(view, earlier=theirs.earlier)), "not of the same state log|not leaf"
    )
    assert view.earlier is not None
    swapped = replace(view.earlier, snapshot=ledger.state.entries[1])
    made.assert_stops(17, bundle, serialize_proofs(replace(view, earlier=swapped)), "is not leaf 0")


def test_an_image_that_is_added_to_a_release_waits_like_a_release() -> None:
    """What such an image says of its manifest is its own word: it could be any software."""
    made = service(maturity_seconds=DAY, released=False)
    ledger, old, new = made.ledger, bytes(48), b"n" * 48

    def publish(now: float, *images: bytes) -> None:
        named = {"sev-snp": tuple(image.hex() for image in images)}
        ledger.publish(ledger.release(MEASUREMENT, now=START - DAY, measurements=named), now=now)

    publish(START - DAY, old)
    publish(NOW - 10, old, new)
    trusted = verify_proofs(ledger.proofs(NOW, earlier=NOW - DAY, earlier_size=1), made.policy, NOW)
    assert require_release(trusted, made.policy, MEASUREMENT, {"sev-snp": old}, NOW)
    with pytest.raises(PolicyError, match="did not yet name this machine's image"):
        require_release(trusted, made.policy, MEASUREMENT, {"sev-snp": new}, NOW)
    with pytest.raises(PolicyError, match="does not name the image"):
        require_release(trusted, made.policy, MEASUREMENT, {"tdx": old}, NOW)
    later = verify_proofs(ledger.proofs(NOW + DAY, earlier=NOW), made.policy, NOW + DAY)
    assert require_release(later, made.policy, MEASUREMENT, {"sev-snp": new}, NOW + DAY)


@pytest.mark.parametrize(("chips", "passes"), [(("aa" * 64,), True), (("bb" * 64,), False), ((), True)])
def test_a_pool_lets_in_no_machine_that_the_snapshot_does_not_name(chips: tuple[str, ...], passes: bool) -> None:
    """A device that names no chips means those of the snapshot, and so does a pool."""
    snp = SnpTable(products=("genoa",), minimum_tcb={"genoa": SnpTcb(snp=1)})
    made = service(released=False)
    made.ledger.publish(
        made.ledger.release(MEASUREMENT, now=START - DAY), now=START - DAY, chips={"sev-snp": ("aa" * 64, "cc" * 64)}
    )
    made.snp = replace_fields(snp, chips=chips)
    core = made.core()
    made.snp = snp
    bundle = made.log(core)
    if passes:
        assert made.verify(bundle, made.ledger.proofs(NOW)).epoch == EPOCH
    else:
        made.assert_stops(9, bundle, made.ledger.proofs(NOW), "laxer than we are: sev-snp.chips")


def test_a_split_view_takes_two_quorums_and_those_share_a_witness() -> None:
    """Two logs under one key: with one witness that lies, and even so, 100 of 100 are refused."""
    refused = 0
    for attempt in range(100):
        made = service()
        targeted = made.ledger.split()
        everybody = made.log()
        mine = made.bare(made.core(ledger=targeted, born=BORN + 1))
        targeted.log(EPOCH, mine.core, mine.evidence)
        # Honest witnesses cosigned everybody's tree. Of the other one the log has its own signature, and one liar's.
        view = targeted.view(NOW)
        alone = replace(view.keys, checkpoint=targeted.keys_checkpoint(NOW, by=(attempt % 3,)))
        honest = replace(view, state=made.ledger.view(NOW).state, keys=alone)
        made.assert_stops(13, mine, serialize_proofs(honest), "1 of 3")
        # Nor do signatures over everybody's tree help it.
        borrowed = replace(view.keys, checkpoint=made.ledger.keys_checkpoint(NOW))
        made.assert_stops(15, mine, serialize_proofs(replace(view, keys=borrowed)), "another tree than its checkpoint")
        made.assert_stops(16, mine, made.ledger.proofs(NOW), "another core or other evidence")
        assert made.verify(everybody, made.ledger.proofs(NOW)).epoch == EPOCH
        refused += 1
    assert refused == 100


def test_proofs_without_a_ledger_to_check_them_against_are_refused() -> None:
    made = service()
    policy = replace(made.policy, document=replace_fields(made.policy.document, ledger=None, manifests=("ab" * 32,)))
    with pytest.raises(PolicyError, match="names none to check them against"):
        verify_proofs(made.ledger.proofs(NOW), policy, NOW)


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_every_changed_octet_of_the_proofs_is_refused() -> None:
    """With no more signatures than it takes: one whose name was changed is nobody's, and is passed over."""
    made = service()
    bundle, ledger = made.log(), made.ledger
    view = ledger.view(NOW)
    keys = replace(view.keys, checkpoint=ledger.keys_checkpoint(NOW, by=(0, 1)))
    state = replace(view.state, checkpoint=ledger.checkpoint(ledger.state, ledger.state_key, NOW, by=(1, 2)))
    proofs = serialize_proofs(replace(view, keys=keys, state=state))
    assert made.verify(bundle, proofs).epoch == EPOCH
    for position in range(0, len(proofs), 7):
        with pytest.raises(VerificationError) as caught:
            made.verify(bundle, flip(proofs, position))
        assert caught.value.step in (1, 8, 13, 15, 16, 17), position


@pytest.mark.parametrize(
    "change",
    [
        lambda view: replace(view, snapshot=b"x" * (1 << 17)),
        lambda view: replace(view, keys=replace(view.keys, checkpoint=b"x" * (1 << 15) + b"x")),
    ],
)
def test_proofs_over_their_limits_have_no_encoding(change: Callable[[Proofs], Proofs]) -> None:
    with pytest.raises(UsageError, match=r"limit|octets"):
        serialize_proofs(change(service().ledger.view(NOW)))


def test_a_pool_that_believes_another_ledger_is_refused() -> None:
    made, other = service(), LedgerHere()
    for table in (other.table(), None):
        theirs = replace(made.policy, document=replace_fields(made.policy.document, ledger=table))
        joined = serialize_join_policy(theirs.for_measurement(MEASUREMENT))
        bundle = made.bare(replace(made.core(), join_policy=joined))
        ledger = made.ledger.split()
        ledger.log(EPOCH, bundle.core, bundle.evidence)
        made.assert_stops(9, bundle, ledger.proofs(NOW), "another ledger|no ledger shows")


def test_what_a_policy_names_itself_still_counts() -> None:
    made = service()
    bundle = made.log()
    pinned = replace(made.policy, document=replace_fields(made.policy.document, manifests=(OTHER_MANIFEST.hex(),)))
    encoded = serialize_bundle(replace(bundle, proofs=made.ledger.proofs(NOW)))
    with pytest.raises(PolicyError, match="not accepted for role") as caught:
        verify_bundle(encoded, pinned, NOW, {})
    assert caught.value.step == 8


def test_a_worker_looks_at_the_ledger_without_an_epoch() -> None:
    made = service()
    trusted = verify_proofs(made.ledger.proofs(NOW), made.policy, NOW)
    assert require_release(trusted, made.policy, MEASUREMENT, {}, NOW).manifest == MEASUREMENT.hex()
    view = made.ledger.view(NOW)
    lone = replace(view.keys, checkpoint=made.ledger.keys_checkpoint(NOW, by=(0,)))
    for proofs, words in ((serialize_proofs(replace(view, keys=lone)), "1 of 3"), (b"junk", "truncated")):
        with pytest.raises(EvidenceError, match=words) as caught:
            verify_proofs(proofs, made.policy, NOW)
        assert caught.value.step == 13
