"""Everything a request will need, loaded and used once before anything is measured.

What a module imports at its first use would otherwise be missing from the manifest, so one request of each kind goes
the whole way under a key of each KEM, which is thrown away: encapsulated, opened, answered, sealed. A signature of each
kind that the ledger's logs, witnesses and publishers make is verified as well.
"""

from itertools import product
from pathlib import Path
from typing import Final

from inference.answer import Task
from inference.engine.encoder import SentenceEncoder
from inference.open import answer_request, open_request
from inference.tasks.router import Tasks
from seclude import bhttp, hpke
from seclude.errors import UsageError
from seclude.hpke import PrivateKey
from seclude.ohttp.encapsulation import HeldKey, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms
from seclude.tasks import Message, RewriteRequest, SummarizeRequest, encode
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, generate_skey

NOW: Final = 0.0  # the warm-up carries no Date, so the time plays no part
JSON: Final = (bhttp.Field(b"content-type", b"application/json"),)
REQUESTS: Final = (
    (
        b"/v1/summarize",
        encode(SummarizeRequest(messages=(Message(sender="A", text="We meet at 5 pm, I'll bring 20 €."),))),
    ),
    (b"/v1/rewrite", encode(RewriteRequest(text="hey, cant make it tmrw", tone="professional"))),
)


def load_tasks(model: Path, threads: int) -> Task:
    """Return the tasks over the model in a folder, after both have done their work once."""
    task = Tasks(SentenceEncoder(model, threads)).handle
    for kem, aead in product((hpke.KEM_XWING, hpke.KEM_X25519), (hpke.AEAD_AES_128_GCM, hpke.AEAD_CHACHA20_POLY1305)):
        key = PrivateKey.generate(kem)
        config = KeyConfig(0, kem, key.public_key, (SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, aead),))
        for path, content in REQUESTS:
            request = bhttp.Request(b"POST", b"https", b"warm-up.invalid", path, JSON, content)
            data, opener = encapsulate_request(config, bhttp.serialize_request(request), aead=aead)
            opened = open_request(data, {0: HeldKey(config, key)}, lambda _id, _enc: None)
            answer = bhttp.parse_response(opener.open(answer_request(opened, task, NOW)))
            if answer.status != 200:
                raise UsageError(f"the warm-up of {path.decode()} was answered with {answer.status}")
    for algorithm in (ED25519, COSIGNATURE_ED25519, ML_DSA_44):
        signer = generate_skey("warm-up.invalid", algorithm)
        signer.verifier.verify(signer.sign(b"warm-up"), b"warm-up")
    return task
