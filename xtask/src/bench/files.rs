//! Files for benches, fresh and random each time, and whether they came back the same.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use anyhow::{Result, ensure};

/// Bytes of a small file.
pub(crate) const SMALL_BYTES: usize = 10_240;
/// Small files in a folder, so that a folder of them is like one of a person.
const PER_FOLDER: u32 = 1_000;

/// Makes the folder, empty even if it was there.
pub(crate) fn empty_folder(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(fs::create_dir_all(dir)?)
}

/// A file of `bytes` random bytes.
pub(crate) fn random_file(path: &Path, bytes: u64) -> Result<()> {
    let mut source = File::open("/dev/urandom")?.take(bytes);
    io::copy(&mut source, &mut File::create(path)?)?;
    Ok(())
}

/// A folder of `count` small random files, in folders of a thousand.
pub(crate) fn small_files(dir: &Path, count: u32) -> Result<()> {
    empty_folder(dir)?;
    let mut source = File::open("/dev/urandom")?;
    let mut content = vec![0; SMALL_BYTES];
    for number in 0..count {
        let folder = dir.join(format!("{}", number / PER_FOLDER));
        if number.is_multiple_of(PER_FOLDER) {
            fs::create_dir(&folder)?;
        }
        source.read_exact(&mut content)?;
        File::create(folder.join(format!("{number}")))?.write_all(&content)?;
    }
    Ok(())
}

/// Fails unless both are the same: two files, or two folders with all that is in them.
pub(crate) fn ensure_same(left: &Path, right: &Path) -> Result<()> {
    if left.is_dir() {
        let names = |dir: &Path| -> Result<Vec<_>> {
            let names: io::Result<Vec<_>> = fs::read_dir(dir)?
                .map(|entry| Ok(entry?.file_name()))
                .collect();
            let mut names = names?;
            names.sort();
            Ok(names)
        };
        let here = names(left)?;
        ensure!(
            here == names(right)?,
            "{} came back with other names",
            left.display()
        );
        return here
            .iter()
            .try_for_each(|name| ensure_same(&left.join(name), &right.join(name)));
    }
    ensure!(
        same_content(left, right)?,
        "{} came back different",
        left.display()
    );
    Ok(())
}

fn same_content(left: &Path, right: &Path) -> Result<bool> {
    let (mut a, mut b) = (File::open(left)?, File::open(right)?);
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let len = a.read(&mut here)?;
        if len == 0 {
            return Ok(b.read(&mut there)? == 0);
        }
        let (Some(here), Some(there)) = (here.get(..len), there.get_mut(..len)) else {
            return Ok(false);
        };
        if b.read_exact(there).is_err() || here != there {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_seen() {
        let scratch = std::env::temp_dir().join(format!("bench-files-{}", std::process::id()));
        let (left, right) = (scratch.join("left"), scratch.join("right"));
        for dir in [&left, &right] {
            empty_folder(&dir.join("in")).unwrap();
            File::create(dir.join("in/a"))
                .unwrap()
                .write_all(b"a")
                .unwrap();
        }
        ensure_same(&left, &right).unwrap();
        File::create(right.join("in/a"))
            .unwrap()
            .write_all(b"b")
            .unwrap();
        ensure_same(&left, &right).unwrap_err();
        File::create(right.join("in/a"))
            .unwrap()
            .write_all(b"a")
            .unwrap();
        File::create(right.join("in/b")).unwrap();
        ensure_same(&left, &right).unwrap_err();
        fs::remove_dir_all(scratch).unwrap();
    }
}
