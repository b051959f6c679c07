// An Oblivious HTTP gateway of another making: HPKE from @hpke/core, Binary HTTP from bhttp-js, the rest in ohttp.mjs.
// usage: node gateway.mjs   prints its port, then answers each request with its method, path and content in reverse
import { BHttpDecoder, BHttpEncoder } from "bhttp-js";
import { createServer } from "node:http";
import { randomBytes } from "node:crypto";
import {
  AEADS,
  FORMS,
  HEADER_LENGTH,
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
const GATEWAY_PATH = "/.well-known/ohttp-gateway";
const KEY_ID = 1;
const ENC_LENGTH = 32;

const pair = await suiteFor(AEADS.aes).kem.generateKeyPair();
const publicKey = new Uint8Array(await suiteFor(AEADS.aes).kem.serializePublicKey(pair.publicKey));
const config = concat([KEY_ID, 0, X25519], publicKey, [0, 8, 0, 1, 0, AEADS.aes, 0, 1, 0, AEADS.chacha]);
const list = concat([0, config.length], config);

async function echo(message) {
  const request = new BHttpDecoder().decodeRequest(message);
  const { pathname, search } = new URL(request.url);
  const content = new Uint8Array(await request.arrayBuffer()).reverse();
  const body = concat(Buffer.from(`${request.method} ${pathname}${search} `), content);
  const response = new Response(body, { status: 200, headers: { "content-type": "text/plain" } });
  return new BHttpEncoder().encodeResponse(response);
}

async function answer(form, data) {
  const header = data.slice(0, HEADER_LENGTH);
  const enc = data.slice(HEADER_LENGTH, HEADER_LENGTH + ENC_LENGTH);
  const sealed = data.slice(HEADER_LENGTH + ENC_LENGTH);
  if (Buffer.compare(header.slice(0, 6), Buffer.from([KEY_ID, 0, X25519, 0, 1, 0])) !== 0) throw new Error("header");
  const suite = suiteFor(header[6]);
  const context = await suite.createRecipientContext({
    recipientKey: pair.privateKey,
    enc: buffer(enc),
    info: buffer(info(form, header)),
  });
  const chunked = form === FORMS.chunked;
  const message = chunked ? await openChunks(context, sealed) : new Uint8Array(await context.open(buffer(sealed)));
  const response = await echo(message);
  const nonce = new Uint8Array(randomBytes(nonceLength(suite)));
  const cipher = await responseCipher(suite, context, form, enc, nonce);
  if (!chunked) return concat(nonce, await cipher.seal(response));
  const pieces = [nonce];
  for await (const piece of sealChunks(cipher, response, PIECE)) pieces.push(piece);
  return concat(...pieces);
}

async function serve(request, respond) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const form = Object.values(FORMS).find((form) => form.request === request.headers["content-type"]);
  if (request.url !== GATEWAY_PATH) respond(404, "text/plain", "");
  else if (request.method === "GET") respond(200, KEYS, list);
  else if (request.method !== "POST" || form === undefined) respond(415, "text/plain", "");
  else respond(200, form.response, await answer(form, concat(...pieces)));
}

const server = createServer((request, response) => {
  const respond = (status, kind, body) => {
    response.writeHead(status, { "content-type": kind, "content-length": body.length }).end(body);
  };
  serve(request, respond).catch((error) => respond(400, "text/plain", `${error}`));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
