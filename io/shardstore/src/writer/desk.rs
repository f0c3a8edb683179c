//! Where commands are handed in: at the writer's thread, or, on the thread of a simulation, at the
//! writer itself.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::Writer;
use super::batch::{Command, WriteError};

/// Most writes that wait for the writer thread; more wait with their callers.
pub(crate) const WRITES_QUEUED_MAX: usize = 256;

/// Takes commands until it is closed.
pub(crate) enum Desk {
    /// The writer has a thread of its own.
    Thread {
        commands: mpsc::Sender<Command>,
        writer: JoinHandle<()>,
    },
    /// Whoever hands a command in does the work: its own, and what others left here meanwhile.
    Inline(Box<Mutex<Inline>>),
    Closed,
}

pub(crate) struct Inline {
    writer: Writer,
    waiting: VecDeque<Command>,
}

impl Desk {
    /// Opens the desk of `writer`.
    pub(crate) fn open(writer: Writer) -> io::Result<Self> {
        if tasks::is_inline() {
            let waiting = VecDeque::new();
            return Ok(Self::Inline(Box::new(Mutex::new(Inline {
                writer,
                waiting,
            }))));
        }
        let (commands, queue) = mpsc::channel(WRITES_QUEUED_MAX);
        let thread = thread::Builder::new().name("shardstore".to_owned());
        let writer = thread.spawn(move || writer.run(queue))?;
        Ok(Self::Thread { commands, writer })
    }

    pub(crate) async fn submit(&self, command: Command) -> Result<(), WriteError> {
        match self {
            Self::Thread { commands, .. } => {
                commands.send(command).await.map_err(|_| WriteError::Closed)
            }
            Self::Inline(inline) => {
                lock(inline).waiting.push_back(command);
                tasks::keep_pace().await;
                lock(inline).work();
                Ok(())
            }
            Self::Closed => Err(WriteError::Closed),
        }
    }

    pub(crate) fn submit_blocking(&self, command: Command) -> Result<(), WriteError> {
        match self {
            Self::Thread { commands, .. } => commands
                .blocking_send(command)
                .map_err(|_| WriteError::Closed),
            Self::Inline(inline) => {
                let mut inline = lock(inline);
                inline.waiting.push_back(command);
                inline.work();
                Ok(())
            }
            Self::Closed => Err(WriteError::Closed),
        }
    }

    /// Ends the writer, and waits for that unless its disk is gone, which may take for good.
    pub(crate) fn close(&mut self, wait: bool) {
        match std::mem::replace(self, Self::Closed) {
            Self::Thread { commands, writer } => {
                drop(commands);
                if wait && writer.join().is_err() {
                    tracing::error!("the writer thread panicked");
                }
            }
            Self::Inline(inline) => {
                let mut inline = inline.into_inner().unwrap_or_else(PoisonError::into_inner);
                inline.work();
                inline.writer.close();
            }
            Self::Closed => {}
        }
    }
}

impl Inline {
    fn work(&mut self) {
        while let Some(first) = self.waiting.pop_front() {
            let waiting = &mut self.waiting;
            self.writer.serve(first, || waiting.pop_front());
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Thread { .. } => "Thread",
            Self::Inline(_) => "Inline",
            Self::Closed => "Closed",
        })
    }
}

/// The answer to a command, which is there already where the work was done inline. Blocks.
pub(crate) fn wait_for<T>(mut answered: oneshot::Receiver<T>) -> Result<T, WriteError> {
    let there = answered.try_recv();
    there
        .or_else(|_| answered.blocking_recv())
        .map_err(|_| WriteError::Closed)
}

fn lock(inline: &Mutex<Inline>) -> std::sync::MutexGuard<'_, Inline> {
    inline.lock().unwrap_or_else(PoisonError::into_inner)
}
