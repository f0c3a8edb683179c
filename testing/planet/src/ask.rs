//! The one question a planet asks its Bridge: a GET over plain HTTP on loopback.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Longest wait for each piece of the answer.
const STEP_WITHIN: Duration = Duration::from_secs(5);

/// Largest answer.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Gets `path` from `addr` and returns the body of a 200 answer.
///
/// # Errors
/// When nobody answers, or with another status.
pub fn ask(addr: SocketAddr, path: &str) -> Result<String> {
    let mut tcp = TcpStream::connect_timeout(&addr, STEP_WITHIN)?;
    tcp.set_read_timeout(Some(STEP_WITHIN))?;
    // HTTP/1.0 answers come in one piece and end with the connection.
    write!(tcp, "GET {path} HTTP/1.0\r\nhost: {addr}\r\n\r\n")?;
    let mut answer = String::new();
    tcp.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no http answer")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{path} was answered with status {status}");
    }
    Ok(body.to_owned())
}
