//! As much of HTTP/1.1 as two programs on one machine need: one exchange for each connection.

use std::io::{self, BufRead, BufReader, Error, Read, Take, Write};
use std::net::TcpStream;

/// The first line and the fields, their names in lower case.
pub struct Head {
    pub first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub fn field(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value)
    }
}

/// Reads a body as it comes.
pub enum Body {
    Known(Take<BufReader<TcpStream>>),
    Chunked {
        reader: BufReader<TcpStream>,
        left: usize,
        ended: bool,
    },
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Body::Known(reader) => reader.read(into),
            Body::Chunked { ended: true, .. } => Ok(0),
            Body::Chunked {
                reader,
                left,
                ended,
            } => {
                if *left == 0 {
                    *left = usize::from_str_radix(&line(reader)?, 16).map_err(Error::other)?;
                    if *left == 0 {
                        *ended = true;
                        line(reader)?;
                        return Ok(0);
                    }
                }
                let most = into.len().min(*left);
                let count = reader.read(&mut into[..most])?;
                *left -= count;
                if *left == 0 && count > 0 {
                    line(reader)?;
                }
                Ok(count)
            }
        }
    }
}

/// Writes a body in chunks; `END` must follow the last.
pub struct Chunks<'a>(pub &'a TcpStream);

pub const END: &[u8] = b"0\r\n\r\n";

impl Write for Chunks<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if !data.is_empty() {
            write!(self.0, "{:x}\r\n", data.len())?;
            self.0.write_all(data)?;
            self.0.write_all(b"\r\n")?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn read_message(stream: &TcpStream) -> io::Result<(Head, Body)> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Head {
        first: line(&mut reader)?,
        fields: Vec::new(),
    };
    loop {
        let text = line(&mut reader)?;
        let Some((name, value)) = text.split_once(':') else {
            break;
        };
        head.fields
            .push((name.to_lowercase(), value.trim().to_string()));
    }
    let body = if head.field("transfer-encoding") == "chunked" {
        Body::Chunked {
            reader,
            left: 0,
            ended: false,
        }
    } else {
        Body::Known(reader.take(head.field("content-length").parse().unwrap_or(0)))
    };
    Ok((head, body))
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if reader.read_line(&mut text)? == 0 {
        return Err(Error::other("the connection ended early"));
    }
    Ok(text.trim_end().to_string())
}
