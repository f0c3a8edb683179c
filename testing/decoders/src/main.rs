//! What `cargo xtask fuzz` asks of the decoders: their names, inputs to begin with, and that what
//! the fuzzer found worth keeping is kept.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use decoders::{Decoder, corpus};

/// Longer inputs are not kept: a corpus is small, and what they show, shorter ones show.
const INPUT_BYTES_MAX: usize = 4_096;

fn main() -> io::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["list"] => decoders::all()
            .iter()
            .for_each(|found| println!("{}", found.name)),
        ["unpack", name, folder] => unpack(find(name)?, Path::new(folder))?,
        ["keep", name, folder] => keep(find(name)?, Path::new(folder))?,
        _ => {
            println!("usage: decoders list | unpack DECODER FOLDER | keep DECODER FOLDER");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn find(name: &str) -> io::Result<Decoder> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("no decoder `{name}`"));
    decoders::find(name).ok_or_else(unknown)
}

/// Writes seeds and corpus into `folder`, a file each.
fn unpack(decoder: Decoder, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let inputs = (decoder.seeds)()
        .into_iter()
        .chain(corpus::read(decoder.name)?);
    for (at, input) in inputs.enumerate() {
        write(&folder.join(format!("kept-{at}")), &input)?;
    }
    Ok(())
}

/// Makes the files in `folder` the decoder's corpus.
fn keep(decoder: Decoder, folder: &Path) -> io::Result<()> {
    let mut inputs = Vec::new();
    for file in fs::read_dir(folder)? {
        inputs.push(fs::read(file?.path())?);
    }
    inputs.retain(|input| input.len() <= INPUT_BYTES_MAX);
    write(&corpus::path(decoder.name), corpus::text(inputs).as_bytes())
}

/// Inputs can be had again: nothing is synced for them.
#[expect(clippy::disallowed_methods, reason = "nothing of worth is replaced")]
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)
}
