//! An Oblivious HTTP client and gateway on `ohttp` and `bhttp`, the crates of RFC 9458's editor.
//!
//! client URL PATH JSON [--chunked] [--aead chacha]   posts JSON, prints {"status": n, "body": "..."}
//! gateway   prints its port, then answers each request with its method, its path and its content in reverse

mod http;

use std::error::Error;
use std::io::{Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, thread};

use bhttp::{Message, Mode, StatusCode};
use futures::executor::block_on;
use futures::io::{AllowStdIo, AsyncReadExt, AsyncWriteExt};
use http::{read_message, Body, Chunks, END};
use ohttp::hpke::{Aead, Kdf, Kem};
use ohttp::{ClientRequest, KeyConfig, Server, SymmetricSuite};

type Res<T> = Result<T, Box<dyn Error>>;

const KEYS: &str = "application/ohttp-keys";
const REQ: &str = "message/ohttp-req";
const RES: &str = "message/ohttp-res";
const CHUNKED_REQ: &str = "message/ohttp-chunked-req";
const CHUNKED_RES: &str = "message/ohttp-chunked-res";
const GATEWAY_PATH: &str = "/.well-known/ohttp-gateway";
const PIECE: usize = 100; // octets of a chunk: several make up even a small message

fn main() -> Res<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["client", url, path, json, ref flags @ ..] => {
            let aead = if flags.ends_with(&["--aead", "chacha"]) {
                Aead::ChaCha20Poly1305
            } else {
                Aead::Aes128Gcm
            };
            client(url, path, json, flags.contains(&"--chunked"), aead)
        }
        ["gateway"] => gateway(),
        _ => Err("usage: client URL PATH JSON [--chunked] [--aead chacha], or gateway".into()),
    }
}

fn client(url: &str, path: &str, json: &str, chunked: bool, aead: Aead) -> Res<()> {
    let (host, _) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or("URL")?;
    let target = &url["http://".len() + host.len()..];

    let stream = TcpStream::connect(host)?;
    write!(
        &stream,
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: {KEYS}\r\nConnection: close\r\n\r\n"
    )?;
    let client = choose(&whole(&stream, KEYS)?, aead)?;

    let mut message = Message::request(
        "POST".into(),
        "https".into(),
        "target.example".into(),
        path.into(),
    );
    message.put_header("content-type", "application/json");
    message.write_content(json);
    let request = serialize(&message, chunked)?;

    let stream = TcpStream::connect(host)?;
    write!(
        &stream,
        "POST {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    )?;
    let answer = if chunked {
        write!(
            &stream,
            "Content-Type: {CHUNKED_REQ}\r\nIncremental: ?1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        let mut sealing = client.encapsulate_stream(AllowStdIo::new(Chunks(&stream)))?;
        block_on(async {
            for piece in request.chunks(PIECE) {
                sealing.write_all(piece).await?;
            }
            sealing.close().await
        })?;
        (&stream).write_all(END)?;
        let mut opening = sealing.response(AllowStdIo::new(start(&stream, CHUNKED_RES)?))?;
        let mut answer = Vec::new();
        block_on(opening.read_to_end(&mut answer))?;
        answer
    } else {
        let (sealed, opener) = client.encapsulate(&request)?;
        write!(
            &stream,
            "Content-Type: {REQ}\r\nContent-Length: {}\r\n\r\n",
            sealed.len()
        )?;
        (&stream).write_all(&sealed)?;
        opener.decapsulate(&whole(&stream, RES)?)?
    };
    let answer = Message::read_bhttp(&mut Cursor::new(&answer))?;
    let status = answer.control().status().ok_or("not a response")?.code();
    println!(
        "{{\"status\": {status}, \"body\": {}}}",
        quote(std::str::from_utf8(answer.content())?)
    );
    Ok(())
}

/// A request to the first key of a list, with one AEAD. Left to itself the crate takes the last key that it can use,
/// and the first suite of that key; KEMs other than X25519 it leaves out.
fn choose(list: &[u8], aead: Aead) -> Res<ClientRequest> {
    const SUITES: usize = 1 + 2 + 32; // after key_id, kem_id and the public key
    let config = KeyConfig::decode_list(list)?
        .into_iter()
        .next()
        .ok_or("no X25519 key")?;
    config.select(SymmetricSuite::new(Kdf::HkdfSha256, aead))?;
    let mut encoded = config.encode()?;
    encoded.truncate(SUITES);
    for number in [4, u16::from(Kdf::HkdfSha256), u16::from(aead)] {
        encoded.extend(number.to_be_bytes());
    }
    Ok(ClientRequest::from_encoded_config(&encoded)?)
}

fn gateway() -> Res<()> {
    let suites = [Aead::Aes128Gcm, Aead::ChaCha20Poly1305]
        .map(|aead| SymmetricSuite::new(Kdf::HkdfSha256, aead));
    let server = Server::new(KeyConfig::new(1, Kem::X25519Sha256, suites.to_vec())?)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let (server, stream) = (server.clone(), stream?);
        thread::spawn(move || serve(server, &stream).map_err(|error| eprintln!("{error}")));
    }
    Ok(())
}

/// Answer one request; what is wrong with it becomes a 400.
fn serve(server: Server, stream: &TcpStream) -> Result<(), String> {
    let (head, body) = read_message(stream).map_err(|error| error.to_string())?;
    let (status, kind, body) = match (
        &head.first[..head.first.len().min(4)],
        head.field("content-type"),
    ) {
        _ if head.first.split(' ').nth(1) != Some(GATEWAY_PATH) => {
            ("404 Not Found", "text/plain", Vec::new())
        }
        ("GET ", _) => (
            "200 OK",
            KEYS,
            KeyConfig::encode_list(&[server.config()]).map_err(|e| e.to_string())?,
        ),
        ("POST", kind) => match answer(server, kind, body) {
            Ok((kind, sealed)) => ("200 OK", kind, sealed),
            Err(error) => (
                "400 Bad Request",
                "text/plain",
                error.to_string().into_bytes(),
            ),
        },
        _ => ("405 Method Not Allowed", "text/plain", Vec::new()),
    };
    let length = body.len();
    let head =
        format!("Content-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\n{head}")
        .and_then(|()| stream.write_all(&body))
        .map_err(|e| e.to_string())
}

fn answer(server: Server, kind: &str, mut body: Body) -> Res<(&'static str, Vec<u8>)> {
    match kind {
        REQ => {
            let mut sealed = Vec::new();
            body.read_to_end(&mut sealed)?;
            let (request, sealer) = server.decapsulate(&sealed)?;
            Ok((RES, sealer.encapsulate(&echo(&request, false)?)?))
        }
        CHUNKED_REQ => {
            let mut opening = server.decapsulate_stream(AllowStdIo::new(body));
            let mut request = Vec::new();
            block_on(opening.read_to_end(&mut request))?;
            let response = echo(&request, true)?;
            let mut sealed = Vec::new();
            let mut sealing = opening.response(&mut sealed)?;
            block_on(async {
                for piece in response.chunks(PIECE) {
                    sealing.write_all(piece).await?;
                }
                sealing.close().await
            })?;
            Ok((CHUNKED_RES, sealed))
        }
        _ => Err("media type".into()),
    }
}

fn echo(request: &[u8], chunked: bool) -> Res<Vec<u8>> {
    let request = Message::read_bhttp(&mut Cursor::new(request))?;
    let mut message = Message::response(StatusCode::OK);
    message.put_header("content-type", "text/plain");
    for part in [request.control().method(), request.control().path()] {
        message.write_content(part.ok_or("not a request")?);
        message.write_content(b" ");
    }
    message.write_content(request.content().iter().rev().copied().collect::<Vec<u8>>());
    serialize(&message, chunked)
}

fn serialize(message: &Message, indeterminate: bool) -> Res<Vec<u8>> {
    let mut bytes = Vec::new();
    message.write_bhttp(
        if indeterminate {
            Mode::IndeterminateLength
        } else {
            Mode::KnownLength
        },
        &mut bytes,
    )?;
    Ok(bytes)
}

/// The body of an answer, which must be a success of this media type.
fn start(stream: &TcpStream, kind: &str) -> Res<Body> {
    let (head, body) = read_message(stream)?;
    if !head.first.starts_with("HTTP/1.1 200 ") || head.field("content-type") != kind {
        return Err(format!(
            "outer answer: {}, {}",
            head.first,
            head.field("content-type")
        )
        .into());
    }
    Ok(body)
}

fn whole(stream: &TcpStream, kind: &str) -> Res<Vec<u8>> {
    let mut bytes = Vec::new();
    start(stream, kind)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn quote(text: &str) -> String {
    let inner: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c < ' ' => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        })
        .collect();
    format!("\"{inner}\"")
}
