// An Oblivious HTTP client (RFC 9458) of another making: HPKE from @hpke/core, Binary HTTP from bhttp-js, the rest here.
// usage: node client.mjs RELAY_URL PATH JSON_BODY AEAD   prints {"status": n, "body": "..."}
import { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { Chacha20Poly1305 } from "@hpke/chacha20poly1305";
import { BHttpDecoder, BHttpEncoder } from "bhttp-js";
import { webcrypto } from "node:crypto";

const [relay, path, json, aeadName] = process.argv.slice(2);
const text = (s) => new TextEncoder().encode(s);
const concat = (...parts) => new Uint8Array(Buffer.concat(parts.map((p) => Buffer.from(p))));

// The first X25519 configuration of the application/ohttp-keys list (section 3.2).
const keys = new Uint8Array(
  await (await fetch(relay, { headers: { accept: "application/ohttp-keys" } })).arrayBuffer(),
);
let config = null;
for (let at = 0; at < keys.length; ) {
  const length = (keys[at] << 8) | keys[at + 1];
  const entry = keys.slice(at + 2, at + 2 + length);
  if (config === null && ((entry[1] << 8) | entry[2]) === 0x0020) config = entry;
  at += 2 + length;
}
if (config === null) throw new Error("no X25519 configuration");

const aeadId = aeadName === "chacha" ? 3 : 1;
const aead = aeadName === "chacha" ? new Chacha20Poly1305() : new Aes128Gcm();
const [nk, nn] = aeadName === "chacha" ? [32, 12] : [16, 12];
const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead });
const header = new Uint8Array([config[0], 0x00, 0x20, 0x00, 0x01, 0x00, aeadId]);

const request = new Request(`https://target.example${path}`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: json,
});
const message = await new BHttpEncoder().encodeRequest(request);

// Section 4.3.
const recipientPublicKey = await suite.kem.deserializePublicKey(config.slice(3, 35).buffer);
const sender = await suite.createSenderContext({
  recipientPublicKey,
  info: concat(text("message/bhttp request"), [0], header),
});
const enc = new Uint8Array(sender.enc);
const sealed = new Uint8Array(await sender.seal(message));
const answer = await fetch(relay, {
  method: "POST",
  headers: { "content-type": "message/ohttp-req" },
  body: concat(header, enc, sealed),
});
if (answer.status !== 200) throw new Error(`outer status ${answer.status}`);
const encapsulated = new Uint8Array(await answer.arrayBuffer());

// Section 4.4; the key schedule here is plain HKDF, so WebCrypto's HMAC serves for both steps.
const hmac = async (key, data) => {
  const imported = await webcrypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await webcrypto.subtle.sign("HMAC", imported, data));
};
const length = Math.max(nn, nk);
const secret = new Uint8Array(await sender.export(text("message/bhttp response"), length));
const nonce = encapsulated.slice(0, length);
const prk = await hmac(concat(enc, nonce), secret);
const aeadKey = (await hmac(prk, concat(text("key"), [1]))).slice(0, nk);
const aeadNonce = (await hmac(prk, concat(text("nonce"), [1]))).slice(0, nn);
const opened = await aead.createEncryptionContext(aeadKey).open(aeadNonce, encapsulated.slice(length), new Uint8Array());
const response = new BHttpDecoder().decodeResponse(opened);
console.log(JSON.stringify({ status: response.status, body: await response.text() }));
