//! A disk whose power can be cut: an image with ext4, mounted through a loop device.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Bytes of the image; only what is written takes room.
const IMAGE_BYTES: u64 = 2 << 30;

/// The ioctl needs two lines of C or of Python; a Rust program would need `unsafe` for it. The
/// program waits for each line, so that the cut comes at once.
const CUTTER: &str = r#"
import fcntl, os, struct, sys
NOLOGFLUSH, EXT4_IOC_SHUTDOWN = 2, 0x8004587D
print("ready", flush=True)
for line in sys.stdin:
    fd = os.open(sys.argv[1], os.O_RDONLY)
    fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
    os.close(fd)
    print("cut", flush=True)
"#;

/// Why power cannot be cut on this machine; nothing where it can.
#[must_use]
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can mount a disk".to_owned());
    }
    let try_it = || {
        let scratch = std::env::temp_dir().join(format!("power-cut-{}", std::process::id()));
        fs::create_dir_all(&scratch)?;
        let tried = Disk::make(&scratch).and_then(|mut disk| {
            disk.cut()?;
            disk.mount_again()
        });
        fs::remove_dir_all(&scratch)?;
        tried
    };
    try_it()
        .err()
        .map(|error: anyhow::Error| format!("{error:#}"))
}

/// Mounted; unmounted and removed when dropped, unless it is kept.
pub(super) struct Disk {
    image: PathBuf,
    mount: PathBuf,
    cutter: Cutter,
    kept: bool,
}

struct Cutter {
    child: Child,
    // Its input is closed when dropped, which ends it.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Disk {
    /// Makes and mounts one below `dir`.
    pub(super) fn make(dir: &Path) -> Result<Self> {
        let (image, mount) = (dir.join("disk.image"), dir.join("disk"));
        fs::create_dir_all(&mount)?;
        File::create(&image)?.set_len(IMAGE_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        mount_at(&image, &mount)?;
        let cutter = Cutter::start(&mount).inspect_err(|_| unmount(&mount).unwrap_or_default())?;
        Ok(Self {
            image,
            mount,
            cutter,
            kept: false,
        })
    }

    /// Where `name` is on it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// Cuts the power: what was not synced is gone, nothing can be written any more.
    pub(super) fn cut(&mut self) -> Result<()> {
        self.cutter.cut()
    }

    /// The power is back. Nobody may have a file open on it.
    pub(super) fn mount_again(&mut self) -> Result<()> {
        unmount(&self.mount)?;
        mount_at(&self.image, &self.mount)
    }

    /// Leaves it mounted when dropped.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.kept && unmount(&self.mount).is_ok() {
            // What stays is found again with the folder it lies in.
            let _stays = fs::remove_file(&self.image);
        }
    }
}

impl Cutter {
    fn start(mount: &Path) -> Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", CUTTER])
            .arg(mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting python3")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut cutter = Self {
            child,
            input: input.context("its input was piped")?,
            output: BufReader::new(output.context("its output was piped")?),
        };
        cutter.expect("ready")?;
        Ok(cutter)
    }

    fn cut(&mut self) -> Result<()> {
        self.input.write_all(b"cut\n")?;
        self.expect("cut")
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(line.trim() == word, "the power could not be cut");
        Ok(())
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        // Fails only for one that ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn mount_at(image: &Path, mount: &Path) -> Result<()> {
    run(Command::new("mount")
        .args(["-o", "loop"])
        .arg(image)
        .arg(mount))
}

fn unmount(mount: &Path) -> Result<()> {
    run(Command::new("umount").arg(mount))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("running {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed: {}",
            command.get_program().display(),
            said.trim()
        );
    }
    Ok(())
}
