// An Oblivious HTTP client of another making: HPKE from @hpke/core, Binary HTTP from bhttp-js, the rest in ohttp.mjs.
// usage: node client.mjs URL PATH JSON [--chunked] [--aead chacha]   prints {"status": n, "body": "..."}
import { BHttpDecoder, BHttpEncoder } from "bhttp-js";
import {
  AEADS,
  FORMS,
  KEYS,
  X25519,
  buffer,
  concat,
  info,
  nonceLength,
  openChunks,
  responseCipher,
  sealChunks,
  suiteFor,
} from "./ohttp.mjs";

const PIECE = 100; // octets of a chunk: several make up even a small message
const [url, path, json, ...flags] = process.argv.slice(2);
const chunked = flags.includes("--chunked");
const form = chunked ? FORMS.chunked : FORMS.whole;
const aeadId = AEADS[flags.includes("--aead") ? flags[flags.indexOf("--aead") + 1] : "aes"];

// The first X25519 configuration of the list (RFC 9458, section 3.2) that offers HKDF-SHA256 with this AEAD.
const keys = Buffer.from(await (await fetch(url, { headers: { accept: KEYS } })).arrayBuffer());
let config = null;
for (let at = 0; at < keys.length && config === null; at += 2 + keys.readUInt16BE(at)) {
  const entry = keys.subarray(at + 2, at + 2 + keys.readUInt16BE(at));
  if (entry.readUInt16BE(1) !== X25519) continue;
  for (let suite = 37; suite < entry.length; suite += 4) {
    if (entry.readUInt16BE(suite) === 1 && entry.readUInt16BE(suite + 2) === aeadId) config = entry;
  }
}
if (config === null) throw new Error("no X25519 configuration with this AEAD");

const request = new Request(`https://target.example${path}`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: json,
});
const message = await new BHttpEncoder().encodeRequest(request);

// Section 4.3.
const suite = suiteFor(aeadId);
const header = new Uint8Array([config[0], 0x00, 0x20, 0x00, 0x01, 0x00, aeadId]);
const recipientPublicKey = await suite.kem.deserializePublicKey(buffer(config.subarray(3, 35)));
const sender = await suite.createSenderContext({ recipientPublicKey, info: buffer(info(form, header)) });
const enc = new Uint8Array(sender.enc);

async function* body() {
  yield concat(header, enc);
  if (chunked) yield* sealChunks(sender, message, PIECE);
  else yield new Uint8Array(await sender.seal(message));
}

async function whole(pieces) {
  const all = [];
  for await (const piece of pieces) all.push(piece);
  return concat(...all);
}

const answer = await fetch(url, {
  method: "POST",
  headers: { "content-type": form.request, ...(chunked && { incremental: "?1" }) },
  ...(chunked ? { body: ReadableStream.from(body()), duplex: "half" } : { body: await whole(body()) }),
});
if (answer.status !== 200 || answer.headers.get("content-type") !== form.response) {
  throw new Error(`outer answer: ${answer.status}, ${answer.headers.get("content-type")}`);
}

// Section 4.4.
const encapsulated = new Uint8Array(await answer.arrayBuffer());
const length = nonceLength(suite);
const cipher = await responseCipher(suite, sender, form, enc, encapsulated.slice(0, length));
const sealed = encapsulated.slice(length);
const opened = chunked ? await openChunks(cipher, sealed) : await cipher.open(sealed);
const response = new BHttpDecoder().decodeResponse(opened);
console.log(JSON.stringify({ status: response.status, body: await response.text() }));
