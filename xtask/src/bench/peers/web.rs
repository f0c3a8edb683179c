//! The little HTTP that a web API on loopback needs: one request per connection.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// Longest wait for each piece of an answer: a large file is coded before it is acknowledged.
const STEP_WITHIN: Duration = Duration::from_secs(1_800);
/// Longest answer that is read as text, and longest line of a head.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Puts a file; the answer's text.
pub(super) fn put(server: SocketAddr, path: &str, file: &Path) -> Result<String> {
    let mut file = File::open(file)?;
    let bytes = file.metadata()?.len();
    let mut tcp = request(server, "PUT", path, bytes)?;
    io::copy(&mut file, &mut tcp)?;
    text(answer(tcp, path)?)
}

/// Gets a file.
pub(super) fn get(server: SocketAddr, path: &str, file: &Path) -> Result<()> {
    let mut body = answer(request(server, "GET", path, 0)?, path)?;
    io::copy(&mut body, &mut File::create(file)?)?;
    Ok(())
}

/// Gets a short text.
pub(super) fn ask(server: SocketAddr, path: &str) -> Result<String> {
    text(answer(request(server, "GET", path, 0)?, path)?)
}

fn request(server: SocketAddr, method: &str, path: &str, bytes: u64) -> Result<TcpStream> {
    let mut tcp = TcpStream::connect(server)?;
    tcp.set_read_timeout(Some(STEP_WITHIN))?;
    tcp.set_nodelay(true)?;
    // Answers to HTTP/1.0 come in one piece and end with the connection.
    let head =
        format!("{method} {path} HTTP/1.0\r\nhost: {server}\r\ncontent-length: {bytes}\r\n\r\n");
    tcp.write_all(head.as_bytes())?;
    Ok(tcp)
}

/// Reads the head of an answer; what follows is its body.
fn answer(tcp: TcpStream, path: &str) -> Result<BufReader<TcpStream>> {
    let mut reader = BufReader::with_capacity(1 << 18, tcp);
    let mut line = String::new();
    reader.by_ref().take(TEXT_BYTES_MAX).read_line(&mut line)?;
    let status = line.split_whitespace().nth(1).context("no http answer")?;
    ensure!(status.starts_with('2'), "{path} was answered with {status}");
    while !line.trim().is_empty() {
        line.clear();
        reader.by_ref().take(TEXT_BYTES_MAX).read_line(&mut line)?;
    }
    Ok(reader)
}

fn text(body: BufReader<TcpStream>) -> Result<String> {
    let mut text = String::new();
    body.take(TEXT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
