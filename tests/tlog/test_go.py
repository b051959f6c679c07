"""Our logs before other makers' programs, and theirs before ours, in Go.

`golang.org/x/mod/sumdb` is the checksum database's own code for notes, trees and tiles, `filippo.io/torchwood` that of
C2SP's authors for checkpoints, cosignatures, policies and proofs; `filippo.io/mldsa` is another ML-DSA-44.
"""

import base64
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from seclude.errors import ConfigError, EvidenceError
from seclude.tlog.checkpoint import Checkpoint, parse_checkpoint, render_checkpoint
from seclude.tlog.cosignature import cosign, verify_cosignature, verify_log_signature
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.keys import ED25519, ML_DSA_44, VerifierKey, encode_skey, generate_skey, parse_skey, parse_vkey
from seclude.tlog.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from seclude.tlog.note import parse_note
from seclude.tlog.proof import LogProof, parse_log_proof, serialize_log_proof, verify_log_proof
from seclude.tlog.quorum import parse_quorum
from seclude.tlog.signing import sign_note, verify_note
from seclude.tlog.tiles import (
    ENTRIES,
    TileReader,
    parse_entries,
    parse_tile_path,
    serialize_entries,
    tile_path,
    tiles_of,
)
from tests.tlog.logs import NOW, ORIGIN, Parties, entry, tree_of

HERE: Final = Path(__file__).parent / "oracle_go"
MINIMUM_GO: Final = (1, 25)  # what go.mod says
TEXT: Final = "release\n\ncaf\u00e9\n"
SIZE: Final = 700
TREE: Final = tree_of(SIZE)
CHECKPOINT: Final = Checkpoint(ORIGIN, SIZE, TREE.root())

pytestmark = pytest.mark.timeout(300)

Answer = dict[str, Any]
Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    environment = os.environ | {"GOTOOLCHAIN": "local"}  # a test does not fetch another Go
    said = subprocess.run([go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=True).stdout
    if tuple(int(number) for number in re.findall(r"\d+", said)) < MINIMUM_GO:
        pytest.skip(f"{said.strip()} is older than {'.'.join(map(str, MINIMUM_GO))}")
    fetched = subprocess.run(
        [go, "mod", "download", "filippo.io/mldsa", "filippo.io/torchwood", "golang.org/x/mod"],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
    )
    if fetched.returncode != 0:
        pytest.skip(f"the Go modules of {HERE.name} cannot be had: {fetched.stderr.strip()[-200:]}")
    built = tmp_path_factory.mktemp("go") / "oracle"
    command = [go, "build", "-mod=readonly", "-o", str(built), "."]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture(scope="module")
def ask_all(program: Path) -> Callable[[list[Answer]], list[Answer]]:
    """Ask many things at once."""

    def run(requests: list[Answer]) -> list[Answer]:
        lines = "".join(
            json.dumps(request, default=lambda data: base64.b64encode(data).decode()) + "\n" for request in requests
        )
        said = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=60, check=True)
        answers = [json.loads(line) for line in said.stdout.splitlines()]
        assert len(answers) == len(requests)
        return answers

    return run


@pytest.fixture(scope="module")
def ask(ask_all: Callable[[list[Answer]], list[Answer]]) -> Ask:
    return lambda what, **values: ask_all([{"Do": what, **values}])[0]


def octets(text: str) -> bytes:
    return base64.b64decode(text)


def test_go_opens_our_notes_and_refuses_a_changed_one(ask: Ask) -> None:
    one, two = (generate_skey(name, ED25519) for name in ("one.example", "two.example"))
    data = sign_note(TEXT, one, two)
    keys = [str(one.verifier), str(two.verifier)]
    assert ask("open", Note=data, Keys=keys) == {"Text": TEXT, "Names": ["one.example", "two.example"]}
    assert ask("open", Note=data, Keys=keys[1:])["Names"] == ["two.example"]
    assert "Error" in ask("open", Note=data.replace(b"release", b"Release"), Keys=keys)


def test_we_open_gos_notes_and_read_its_keys(ask: Ask) -> None:
    made = ask("sign", Name="go.example", Text=TEXT)
    key = parse_vkey(made["Key"])
    note = parse_note(octets(made["Data"]))
    assert (note.text, verify_note(note, [key])) == (TEXT, (key,))
    signer = parse_skey(made["Secret"])
    assert (signer.verifier, encode_skey(signer)) == (key, made["Secret"])
    assert sign_note(TEXT, signer) == octets(made["Data"])


def test_go_takes_our_checkpoints_and_cosignatures_under_our_policy(ask: Ask) -> None:
    parties = Parties()
    for times, is_good in (((NOW, NOW), True), ((0, NOW, NOW), True), ((0, NOW), False), ((), False)):
        data = parties.cosigned(CHECKPOINT, *times)
        said = ask("policy", Policy=parties.policy, Note=data)
        assert ("Error" not in said) == is_good
        if is_good:
            assert said["Text"] == render_checkpoint(CHECKPOINT)
            assert open_cosigned(data, parties.log.verifier, parties.quorum).checkpoint == CHECKPOINT
        else:
            with pytest.raises(EvidenceError):
                open_cosigned(data, parties.log.verifier, parties.quorum)


@pytest.mark.parametrize(
    ("rest", "is_good"),
    [
        ("group a 2 w1 w2 w3\ngroup b any w4\ngroup c all a b\nquorum c", True),
        ("quorum none", True),
        ("quorum w4", True),
        ("quorum w5", False),
        ("group a 3 w1 w2\nquorum a", False),
        ("group a 0 w1 w2\nquorum a", False),
        ("group a any w1 w1\nquorum a", False),
        ("quorum w1\nquorum w1", False),
        ("", False),
    ],
)
def test_policies_are_judged_alike(ask: Ask, rest: str, is_good: bool) -> None:
    parties = Parties(witnesses=4)
    policy = f"{parties.policy.partition('group')[0]}{rest}\n"
    said = ask("policy", Policy=policy, Note=parties.cosigned(CHECKPOINT, NOW, NOW, NOW, NOW))
    assert ("Error" not in said) == is_good, said
    if is_good:
        assert parse_quorum(policy).is_met({"w1", "w2", "w3", "w4"})
    else:
        with pytest.raises(ConfigError):
            parse_quorum(policy)


def test_we_take_gos_ed25519_cosignatures(ask: Ask) -> None:
    parties = Parties(witnesses=1, threshold=1)
    made = ask("cosign", Name="go.example/w", Note=parties.cosigned(CHECKPOINT), Keys=[str(parties.log.verifier)])
    key = parse_vkey(made["Key"])
    note = parse_note(octets(made["Data"]))
    assert verify_log_signature(note, parties.log.verifier) == CHECKPOINT
    (signature,) = (one for one in note.signatures if one.key_id == key.key_id)
    assert verify_cosignature(CHECKPOINT, key, signature.signature) == made["Timestamp"]
    quorum = parse_quorum(f"witness w {made['Key']}\nquorum w\n")
    assert open_cosigned(octets(made["Data"]), parties.log.verifier, quorum).times == {"w": made["Timestamp"]}


def test_another_ml_dsa_takes_our_cosignatures_and_we_take_its(ask: Ask) -> None:
    key = generate_skey("w1.example", ML_DSA_44)
    text = render_checkpoint(CHECKPOINT)
    signature = cosign(CHECKPOINT, key, NOW).signature
    ours = {"Name": "w1.example", "Public": key.verifier.public_key, "Text": text}
    assert ask("mldsa verify", Signature=signature, **ours) == {}
    assert "Error" in ask("mldsa verify", Signature=signature[:-1] + bytes([signature[-1] ^ 1]), **ours)
    assert "Error" in ask("mldsa verify", Signature=(NOW + 1).to_bytes(8) + signature[8:], **ours)
    made = ask("mldsa sign", Name="w1.example", Seed=key._seed, Timestamp=NOW, Text=text)
    assert octets(made["Hashes"][0]) == key.verifier.public_key
    theirs = VerifierKey("w1.example", ML_DSA_44, octets(made["Hashes"][0]))
    assert verify_cosignature(CHECKPOINT, theirs, NOW.to_bytes(8) + octets(made["Data"])) == NOW


def test_go_takes_our_proofs_and_none_that_is_changed(ask_all: Callable[[list[Answer]], list[Answer]]) -> None:
    rng = random.Random(8)
    requests: list[Answer] = []
    for size in (1, 2, 3, 255, 256, 257, *rng.sample(range(4, SIZE), 30)):
        index, first = rng.randrange(size), rng.randint(1, size)
        path, consistent = inclusion_proof(index, size, TREE.node), consistency_proof(first, size, TREE.node)
        record = {
            "Do": "check record",
            "Size": size,
            "Root": TREE.root(size),
            "Index": index,
            "Entry": TREE.leaves[index],
        }
        tree = {
            "Do": "check tree",
            "Size": size,
            "Root": TREE.root(size),
            "First": first,
            "FirstRoot": TREE.root(first),
        }
        requests += [record | {"Hashes": path}, tree | {"Hashes": consistent}]
        requests += [record | {"Hashes": (*path, bytes(32))}, tree | {"Hashes": (*consistent, bytes(32))}]
    answers = ask_all(requests)
    assert ["Error" in answer for answer in answers] == [False, False, True, True] * (len(answers) // 4)


def write_tiles(folder: Path, size: int) -> None:
    """Our log's files, as a ledger lays them out."""
    for level, index, width in tiles_of(size):
        start = index * 256
        files = {tile_path(level, index, width): b"".join(TREE.node(8 * level, start + at) for at in range(width))}
        if not level:
            files[tile_path(ENTRIES, index, width)] = serialize_entries([entry(start + at) for at in range(width)])
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, SIZE])
def test_go_reads_our_tiles_and_makes_the_proofs_that_we_make(ask: Ask, tmp_path: Path, size: int) -> None:
    write_tiles(tmp_path, size)
    index, first = size // 3, size // 2 + 1
    said = ask("read tiles", Folder=str(tmp_path), Size=size, Root=TREE.root(size), Index=index, First=first)
    ours = inclusion_proof(index, size, TREE.node) + consistency_proof(first, size, TREE.node)
    assert "Error" not in said, said
    assert [octets(item) for item in said.get("Hashes") or ()] == list(ours)
    assert octets(said["Data"]) == entry(index)
    assert "Error" in ask("read tiles", Folder=str(tmp_path), Size=size, Root=bytes(32), Index=index, First=first)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, SIZE])
def test_we_read_gos_tiles_and_take_its_proofs(ask: Ask, tmp_path: Path, size: int) -> None:
    index, first = size // 3, size // 2 + 1
    made = ask("write tiles", Folder=str(tmp_path), Size=size, Index=index, First=first)
    root = octets(made["Data"])
    reader = TileReader(size, lambda path: (tmp_path / path).read_bytes())
    assert tree_root(size, reader.node) == root == TREE.root(size)
    hashes = [octets(item) for item in made.get("Hashes") or ()]
    cut = len(inclusion_proof(index, size, reader.node))
    verify_inclusion(leaf_hash(entry(index)), index, size, hashes[:cut], root)
    verify_consistency(first, tree_root(first, reader.node), size, root, hashes[cut:])
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    bundles = {tile_path(ENTRIES, index, width) for level, index, width in tiles_of(size) if not level}
    assert written == {tile_path(*tile) for tile in tiles_of(size)} | bundles
    entries = [item for path in sorted(bundles) for item in parse_entries((tmp_path / path).read_bytes())]
    assert entries == [entry(at) for at in range(size)]


def test_go_reads_the_paths_of_our_tiles(ask_all: Callable[[list[Answer]], list[Answer]]) -> None:
    rng = random.Random(9)
    tiles = [(rng.randint(ENTRIES, 7), rng.randrange(1 << rng.randint(1, 54)), rng.randint(1, 256)) for _ in range(200)]
    paths = [tile_path(*tile) for tile in tiles]
    assert [parse_tile_path(path) for path in paths] == tiles
    answers = ask_all([{"Do": "tile path", "Path": path} for path in paths])
    assert [tuple(answer["Tile"]) for answer in answers] == tiles


def test_proofs_that_stand_alone_pass_both_ways(ask: Ask) -> None:
    parties = Parties()
    index = 321
    note = parties.cosigned(CHECKPOINT, NOW, NOW)
    proof = LogProof(index, inclusion_proof(index, SIZE, TREE.node), note)
    for extra in (None, b"extra"):
        data = serialize_log_proof(LogProof(index, proof.hashes, note, extra))
        assert ask("proof", Policy=parties.policy, Entry=entry(index), Proof=data) == {}
        assert "Error" in ask("proof", Policy=parties.policy, Entry=entry(index + 1), Proof=data)
    written = ask("write proof", Index=index, Hashes=proof.hashes, Note=note)
    assert octets(written["Data"]) == serialize_log_proof(proof)
    again = parse_log_proof(octets(written["Data"]))
    assert verify_log_proof(again, entry(index), parties.log.verifier, parties.quorum).checkpoint == CHECKPOINT
    assert parse_checkpoint(render_checkpoint(CHECKPOINT)) == CHECKPOINT
