//! The recovery phrase: shown once and proven, or kept in a file the owner named.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use client::drive::create_private_file;
use model::crypto::{Mnemonic, Secret};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// Largest file that can hold 24 words.
const PHRASE_FILE_BYTES_MAX: u64 = 4_096;
/// How often a wrong answer may be corrected.
const ANSWERS_MAX: usize = 5;

/// A new phrase.
pub(crate) fn draw() -> Result<Mnemonic, Failure> {
    let mut entropy = Zeroizing::new([0; 32]);
    getrandom::fill(&mut entropy[..]).map_err(|error| Failure::new(Exit::SomeFailed, error))?;
    Ok(Mnemonic::from_entropy(&Secret::new(*entropy)))
}

/// Refuses a file that exists, before anything is sent.
pub(crate) fn expect_no_file(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        let message = format!(
            "{} exists and may hold another account's phrase; name a new file, or use \
             `--restore` to bring that account here",
            path.display()
        );
        return Err(Failure::new(Exit::Conflict, anyhow::Error::msg(message)));
    }
    Ok(())
}

/// Writes the phrase to a new file that only its owner may read.
pub(crate) fn write_file(path: &Path, phrase: &Mnemonic) -> Result<(), Failure> {
    let text = Zeroizing::new(phrase.words().collect::<Vec<_>>().join(" ") + "\n");
    create_private_file(path, text.as_bytes()).map_err(|error| in_file(path, error, "written"))
}

/// Reads a phrase from a file.
pub(crate) fn read_file(path: &Path) -> Result<Mnemonic, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path)
        .and_then(|file| file.take(PHRASE_FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| in_file(path, error, "read"))?;
    let named = |error| {
        Failure::new(
            Exit::Usage,
            anyhow::Error::new(error).context(path.display().to_string()),
        )
    };
    Mnemonic::parse(&text).map_err(named)
}

/// Shows a new phrase once, and asks two words back.
pub(crate) fn show_and_prove(phrase: &Mnemonic) -> Result<(), Failure> {
    expect_terminal("--mnemonic-file FILE --yes")?;
    let words: Vec<&str> = phrase.words().collect();
    let mut out = io::stderr().lock();
    writeln!(
        out,
        "\nYour recovery phrase. Write it down; it is shown only once.\n"
    )?;
    for (row, line) in words.chunks(4).enumerate() {
        let cells = line
            .iter()
            .enumerate()
            .map(|(i, word)| format!("{:>2} {word:<9}", 4 * row + i + 1));
        writeln!(out, "   {}", cells.collect::<Vec<_>>().join("  "))?;
    }
    writeln!(
        out,
        "\nWhoever has it has your files; without it a lost device is a lost account.\n"
    )?;
    let mut answers = io::stdin().lock();
    for position in two_positions()? {
        ask_word(&mut answers, &mut out, &words, position)?;
    }
    Ok(())
}

/// Asks for an existing phrase.
pub(crate) fn ask() -> Result<Mnemonic, Failure> {
    expect_terminal("--mnemonic-file FILE")?;
    write!(io::stderr().lock(), "Recovery phrase (24 words): ")?;
    let line = read_line(&mut io::stdin().lock())?;
    Ok(Mnemonic::parse(&line)?)
}

fn ask_word(
    answers: &mut impl io::BufRead,
    out: &mut impl io::Write,
    words: &[&str],
    position: usize,
) -> Result<(), Failure> {
    for _ in 0..ANSWERS_MAX {
        write!(out, "Word {}: ", position + 1)?;
        out.flush()?;
        let answer = read_line(answers)?;
        if words
            .get(position)
            .is_some_and(|word| answer.trim().eq_ignore_ascii_case(word))
        {
            return Ok(());
        }
        writeln!(out, "That is not it; look at what you wrote down.")?;
    }
    Err(Failure::usage(
        "the phrase was not proven; nothing was opened, start again",
    ))
}

/// Two different places among 24.
fn two_positions() -> Result<[usize; 2], Failure> {
    let mut draw = [0; 2];
    getrandom::fill(&mut draw).map_err(|error| Failure::new(Exit::SomeFailed, error))?;
    let [a, b] = draw.map(usize::from);
    Ok([a % 12, 12 + b % 12])
}

fn read_line(from: &mut impl io::BufRead) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    let read = from.take(PHRASE_FILE_BYTES_MAX).read_line(&mut line)?;
    if read == 0 {
        return Err(Failure::usage("no answer was given"));
    }
    Ok(line)
}

fn expect_terminal(instead: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "this asks questions, and nobody is at a terminal; use {instead}"
    )))
}

fn in_file(path: &Path, error: io::Error, done: &str) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::AlreadyExists => Exit::Conflict,
        io::ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::SomeFailed,
    };
    let context = format!("{} cannot be {done}", path.display());
    Failure::new(exit, anyhow::Error::new(error).context(context))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_phrase_file_is_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phrase");
        expect_no_file(&path).unwrap();
        let phrase = draw().unwrap();

        write_file(&path, &phrase).unwrap();

        let read = read_file(&path).unwrap();
        assert!(read.words().eq(phrase.words()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(expect_no_file(&path).unwrap_err().exit, Exit::Conflict);
        assert_eq!(write_file(&path, &phrase).unwrap_err().exit, Exit::Conflict);
    }

    #[test]
    fn a_word_is_asked_until_it_is_right() {
        let words = ["alpha", "beta"];
        let ask = |answers: &str| ask_word(&mut answers.as_bytes(), &mut Vec::new(), &words, 1);
        ask("beta\n").unwrap();
        ask("alpha\n  BETA \n").unwrap();
        assert_eq!(
            ask(&"alpha\n".repeat(ANSWERS_MAX + 1)).unwrap_err().exit,
            Exit::Usage
        );
        assert_eq!(ask("").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn two_different_words_are_asked_for() {
        for _ in 0..100 {
            let [first, second] = two_positions().unwrap();
            assert!(first < 12 && (12..24).contains(&second));
        }
    }
}
