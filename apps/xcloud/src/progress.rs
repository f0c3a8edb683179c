//! The progress bar of `put`, `get` and `verify`, and what they tell of single files.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::drive::{Tally, Watcher};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;

use crate::printer::{ExactPath, Printer};

/// How often the bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Failures listed in the JSON result; all are named on standard error.
const FAILURES_LISTED_MAX: usize = 10_000;

/// Which way files go, and so which counter tells how far they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
    /// Nowhere: their Hosts only prove that they are there.
    Proof,
}

/// One file that failed, as `--json` lists it.
#[derive(Debug, Serialize)]
pub(crate) struct FailedFile {
    #[serde(flatten)]
    path: ExactPath,
    error: String,
}

/// Names what happens to single files, and keeps failures for the JSON result.
#[derive(Debug)]
pub(crate) struct Names {
    printer: Printer,
    bar: ProgressBar,
    failed: Mutex<Vec<FailedFile>>,
}

/// A bar that follows a tally until it is dropped.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    began: Instant,
    _drawing: Option<AbortOnDropHandle<()>>,
}

impl Bar {
    /// Shows how far `tally` is, where progress is shown at all.
    pub(crate) fn start(printer: Printer, direction: Direction, tally: &Arc<Tally>) -> Self {
        let bar = ProgressBar::no_length().with_style(style());
        if !printer.shows_progress() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            return Self {
                bar,
                began: Instant::now(),
                _drawing: None,
            };
        }
        let (drawn, tally) = (bar.clone(), Arc::clone(tally));
        let drawing = tokio::spawn(async move {
            loop {
                draw(&drawn, direction, &tally);
                tokio::time::sleep(DRAW_EVERY).await;
            }
        });
        Self {
            bar,
            began: Instant::now(),
            _drawing: Some(AbortOnDropHandle::new(drawing)),
        }
    }

    /// Who names single files beside the bar.
    pub(crate) fn names(&self, printer: Printer) -> Arc<Names> {
        let failed = Mutex::new(Vec::new());
        Arc::new(Names {
            printer,
            bar: self.bar.clone(),
            failed,
        })
    }

    /// Takes the bar away; returns how long it all took.
    pub(crate) fn end(self) -> Duration {
        self.bar.finish_and_clear();
        self.began.elapsed()
    }
}

impl Names {
    /// The failures so far.
    pub(crate) fn take_failed(&self) -> Vec<FailedFile> {
        std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| self.printer.complain(line));
    }
}

impl Watcher for Names {
    fn failed(&self, path: &[u8], error: &(dyn Error + 'static)) {
        let sentence = chain(error);
        let shown = String::from_utf8_lossy(path);
        // Errors of local files name the file themselves.
        let line = if sentence.contains(&*shown) {
            format!("xcloud: {sentence}")
        } else {
            format!("xcloud: {shown}: {sentence}")
        };
        self.say(&line);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() < FAILURES_LISTED_MAX {
            failed.push(FailedFile {
                path: ExactPath::new(path),
                error: sentence,
            });
        }
    }

    fn warned(&self, path: &[u8], remark: &str) {
        self.say(&format!(
            "xcloud: {}: {remark}",
            String::from_utf8_lossy(path)
        ));
    }
}

/// An error with its causes on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut sentences = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        sentences.push(error.to_string());
        cause = error.source();
    }
    sentences.dedup();
    sentences.join(": ")
}

fn draw(bar: &ProgressBar, direction: Direction, tally: &Tally) {
    let moved = match direction {
        Direction::Up => tally.transfer.bytes_stored.get(),
        Direction::Down | Direction::Proof => tally.transfer.bytes_verified.get(),
    };
    bar.set_length(tally.bytes_found.get());
    bar.set_position((moved + tally.bytes_untransferred.get()).min(tally.bytes_found.get()));
    let (done, found) = (tally.files_done.get(), tally.files_found.get());
    let stage = match (tally.all_found.get() > 0, direction) {
        (false, _) => "looking for files",
        (true, Direction::Up) if tally.transfer.bytes_encrypted.get() == 0 => "asking for places",
        (true, Direction::Up) => "encrypting and storing shards",
        (true, Direction::Down) => "fetching and verifying shards",
        (true, Direction::Proof) => "asking for proofs",
    };
    let replaced = tally.transfer.shards_replaced.get();
    let replaced = if replaced > 0 {
        format!(" · {replaced} replaced")
    } else {
        String::new()
    };
    let shards = tally.transfer.shards.get();
    bar.set_message(format!(
        "{done}/{found} files · {stage} · {shards} shards{replaced}"
    ));
    bar.tick();
}

#[expect(clippy::expect_used, reason = "a constant template, drawn in a test")]
fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} · {wide_msg}",
    )
    .expect("the template is well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_is_well_formed() {
        let bar = ProgressBar::hidden().with_style(style());
        draw(&bar, Direction::Up, &Tally::default());
        assert_eq!(bar.message(), "0/0 files · looking for files · 0 shards");
    }

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("no space");
        let error = anyhow::Error::new(inner).context("f cannot be written");
        assert_eq!(chain(error.as_ref()), "f cannot be written: no space");
    }
}
