// What a client and a gateway of Oblivious HTTP share beyond the libraries: RFC 9458, section 4.4, and the chunks of
// draft-ietf-ohai-chunked-ohttp-08. HPKE is from @hpke/core.
import { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { Chacha20Poly1305 } from "@hpke/chacha20poly1305";
import { webcrypto } from "node:crypto";

export const KEYS = "application/ohttp-keys";
export const FORMS = {
  whole: { request: "message/ohttp-req", response: "message/ohttp-res", label: "message/bhttp" },
  chunked: { request: "message/ohttp-chunked-req", response: "message/ohttp-chunked-res", label: "message/bhttp chunked" },
};
export const X25519 = 0x0020;
export const AEADS = { aes: 1, chacha: 3 };
export const HEADER_LENGTH = 7;
const NN = 12;
const MAX_SEALED = (1 << 14) + 16;
const EMPTY = new Uint8Array();
const FINAL = text("final");

export function text(s) {
  return new TextEncoder().encode(s);
}

export function concat(...parts) {
  return new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part))));
}

// An ArrayBuffer with these octets alone, which is what @hpke/core takes for keys.
export function buffer(octets) {
  return Uint8Array.from(octets).buffer;
}

export function suiteFor(aeadId) {
  const aead = { 1: () => new Aes128Gcm(), 3: () => new Chacha20Poly1305() }[aeadId]?.();
  if (aead === undefined) throw new Error("unknown AEAD");
  return new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead });
}

export function info(form, header) {
  return concat(text(`${form.label} request`), [0], header);
}

// The key schedule of the response is plain HKDF, so WebCrypto's HMAC serves for both steps.
async function hmac(key, data) {
  const imported = await webcrypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await webcrypto.subtle.sign("HMAC", imported, data));
}

export function nonceLength(suite) {
  return Math.max(NN, suite.aead.keySize);
}

// The AEAD of one response: seals or opens its chunks, or all of it as the first, in their order.
export async function responseCipher(suite, context, form, enc, nonce) {
  const secret = await context.export(text(`${form.label} response`), nonceLength(suite));
  const prk = await hmac(concat(enc, nonce), new Uint8Array(secret));
  const key = (await hmac(prk, concat(text("key"), [1]))).slice(0, suite.aead.keySize);
  const aeadNonce = (await hmac(prk, concat(text("nonce"), [1]))).slice(0, NN);
  const cipher = suite.aead.createEncryptionContext(buffer(key));
  let counter = 0;
  const next = () => {
    const chunkNonce = Buffer.from(aeadNonce);
    chunkNonce.writeUInt32BE((chunkNonce.readUInt32BE(NN - 4) ^ counter++) >>> 0, NN - 4);
    return buffer(chunkNonce);
  };
  return {
    seal: async (data, aad = EMPTY) => new Uint8Array(await cipher.seal(next(), buffer(data), buffer(aad))),
    open: async (data, aad = EMPTY) => new Uint8Array(await cipher.open(next(), buffer(data), buffer(aad))),
  };
}

function varint(length) {
  return length < 64 ? [length] : length < 1 << 14 ? [0x40 | (length >> 8), length & 255] : [0x80, length >> 16, (length >> 8) & 255, length & 255];
}

// Yields a message in chunks: `size` octets in each, and the rest, which may be nothing, in the final one.
export async function* sealChunks(sealer, message, size) {
  let at = 0;
  for (; at + size <= message.length; at += size) {
    const sealed = await sealer.seal(message.slice(at, at + size), EMPTY);
    yield concat(varint(sealed.byteLength), new Uint8Array(sealed));
  }
  yield concat([0], new Uint8Array(await sealer.seal(message.slice(at), FINAL)));
}

// Returns the message that comes in chunks.
export async function openChunks(opener, data) {
  const pieces = [];
  for (let at = 0; ; ) {
    if (at >= data.length) throw new Error("truncated before the final chunk");
    const octets = 1 << (data[at] >> 6);
    let length = data[at] & 63;
    for (const octet of data.slice(at + 1, at + octets)) length = length * 256 + octet;
    at += octets;
    if (length > MAX_SEALED || (length === 0 ? data.length : at + length) > data.length) throw new Error("chunk length");
    const [end, aad] = length === 0 ? [data.length, FINAL] : [at + length, EMPTY];
    pieces.push(new Uint8Array(await opener.open(data.slice(at, end), aad)));
    if (length === 0) return concat(...pieces);
    at = end;
  }
}
