//! Everything the program prints: results to standard output, the rest to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use data_encoding::BASE64;
use model::formats::tree::TreePath;
use serde::Serialize;

use crate::cli::Global;

/// Prints as the options ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    pub(crate) json: bool,
    quiet: bool,
    terminal: Terminal,
}

/// Which outputs a person looks at.
#[derive(Clone, Copy, Debug)]
struct Terminal {
    stdout: bool,
    stderr: bool,
}

/// Bytes in JSON: text where they are UTF-8, and exactly in base64 where they are not.
#[derive(Debug, Serialize)]
pub(crate) struct ExactPath {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl Printer {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            terminal: Terminal {
                stdout: io::stdout().is_terminal(),
                stderr: io::stderr().is_terminal(),
            },
        }
    }

    /// Whether a progress bar can be shown.
    pub(crate) const fn shows_progress(&self) -> bool {
        self.terminal.stderr && !self.quiet && !self.json
    }

    /// A line of the result.
    pub(crate) fn line(&self, line: impl AsRef<[u8]>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line.as_ref())?;
        out.write_all(b"\n")
    }

    /// The whole result as JSON.
    pub(crate) fn value(&self, value: &impl Serialize) -> io::Result<()> {
        self.line(serde_json::to_vec(value)?)
    }

    /// A remark that `--quiet` and `--json` leave out.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet && !self.json {
            self.complain(text);
        }
    }

    /// A line on standard error, whatever the options.
    pub(crate) fn complain(&self, text: &str) {
        // Where standard error is gone, there is nobody to tell.
        let _gone = writeln!(io::stderr().lock(), "{}", printable(text.as_bytes()));
    }

    /// A name or path for a line of the result: exact bytes for programs, and without control
    /// characters on a terminal.
    pub(crate) fn name(&self, bytes: &[u8]) -> Vec<u8> {
        if self.terminal.stdout {
            printable(bytes).into_bytes()
        } else {
            bytes.to_vec()
        }
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        io::stdout().lock().flush()
    }
}

/// Prints a JSON array, one element a line, as its elements come.
#[derive(Debug)]
pub(crate) struct JsonList {
    printer: Printer,
    first: bool,
}

impl JsonList {
    pub(crate) const fn new(printer: Printer) -> Self {
        Self {
            printer,
            first: true,
        }
    }

    pub(crate) fn push(&mut self, element: &impl Serialize) -> io::Result<()> {
        let mut text = if self.first {
            b"[\n".to_vec()
        } else {
            b",\n".to_vec()
        };
        self.first = false;
        serde_json::to_writer(&mut text, element)?;
        io::stdout().lock().write_all(&text)
    }

    pub(crate) fn end(self) -> io::Result<()> {
        self.printer.line(if self.first { "[]" } else { "\n]" })
    }
}

impl From<&TreePath> for ExactPath {
    fn from(path: &TreePath) -> Self {
        Self::new(&path.to_bytes())
    }
}

impl ExactPath {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let path = String::from_utf8_lossy(bytes).into_owned();
        let exact = path.as_bytes() == bytes;
        Self {
            path,
            path_base64: (!exact).then(|| BASE64.encode(bytes)),
        }
    }

    /// As people read it, and its bytes where that differs.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.path, self.path_base64)
    }
}

/// Text that cannot steer a terminal.
fn printable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() && char != '\n' {
                out.extend(char.escape_default());
            } else {
                out.push(char);
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// `1.2 GB`: decimal units, as disks and networks are sold.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (bytes / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    let unit = UNITS.get(unit).unwrap_or(&"EB");
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(
            printable(b"a\x1b[2Jb\xff\xc3\xbc"),
            "a\\u{1b}[2Jb\\xff\u{fc}"
        );
    }

    #[test]
    fn exact_bytes_survive_json() {
        let json = |bytes: &[u8]| serde_json::to_string(&ExactPath::new(bytes)).unwrap();
        assert_eq!(json(b"/a"), r#"{"path":"/a"}"#);
        assert_eq!(
            json(b"/\xff"),
            "{\"path\":\"/\u{fffd}\",\"path_base64\":\"L/8=\"}"
        );
    }

    #[test]
    fn sizes_are_short() {
        let shown = [0, 999, 1_000, 1_234_567, 999_999_999_999, u64::MAX].map(human_bytes);
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "1.2 MB", "999.9 GB", "18.4 EB"]
        );
    }
}
