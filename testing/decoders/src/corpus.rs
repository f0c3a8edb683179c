//! Inputs that the fuzzer found worth keeping: a file per decoder in `fuzz/corpus`, an input a
//! line as base64url.

use std::io;
use std::path::PathBuf;

use data_encoding::BASE64URL_NOPAD;

/// Most inputs kept of a decoder.
pub const INPUTS_MAX: usize = 100;
/// Most bytes of all corpora together.
pub const BYTES_MAX: u64 = 2 << 20;

/// The file of the decoder `name`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
    PathBuf::from(folder).join(format!("{name}.txt"))
}

/// What is kept of the decoder `name`; nothing where it is new.
///
/// # Errors
/// Where the file cannot be read or holds anything else.
pub fn read(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let text = match std::fs::read_to_string(path(name)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let decode = |line: &str| {
        BASE64URL_NOPAD
            .decode(line.as_bytes())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    text.lines().map(decode).collect()
}

/// The text of a corpus file with `inputs`: the shortest ones, sorted, so that the same corpus is
/// the same file.
#[must_use]
pub fn text(mut inputs: Vec<Vec<u8>>) -> String {
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    inputs.truncate(INPUTS_MAX);
    let mut text = String::new();
    for input in inputs {
        text.push_str(&BASE64URL_NOPAD.encode(&input));
        text.push('\n');
    }
    text
}
