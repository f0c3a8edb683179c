//! A bad line: a TCP proxy in front of a node that can be slow, cut, silent or listened to.
//!
//! Faults are switched while connections are open. What a tapped line keeps is what the node really
//! received, so a canary can be looked for in it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the line does to the bytes that cross it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Lets through at most this many bytes per second each way, all connections together.
    Slow {
        /// Bytes per second.
        rate: u64,
    },
    /// Cuts every connection after this many bytes either way.
    Cut {
        /// Bytes.
        after: u64,
    },
    /// Accepts connections and lets nothing through.
    Silent,
}

/// A proxy from `address()` to a node; ends when dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    fault: Mutex<Fault>,
    ended: AtomicBool,
    /// When the bytes let through so far have crossed a slow line, to the target and back.
    crossed: [Mutex<Option<Instant>>; 2],
    heard: Option<Mutex<Vec<u8>>>,
}

const CHUNK_BYTES: usize = 16_384;
/// Most bytes a listening line keeps; beyond, the test must look in parts.
const HEARD_BYTES_MAX: usize = 512 << 20;
/// How often a stopped line looks whether it is open again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Link {
    /// Opens a line to `target` on a port of its own.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn open(target: SocketAddr) -> io::Result<Self> {
        Self::start(target, None)
    }

    /// The same, and keeps what the target receives.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn tapped(target: SocketAddr) -> io::Result<Self> {
        Self::start(target, Some(Mutex::default()))
    }

    /// Where to connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Switches the fault, also for open connections.
    pub fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
    }

    /// What the target received so far; nothing on a line that does not listen.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        self.shared
            .heard
            .as_ref()
            .map(|heard| lock(heard).clone())
            .unwrap_or_default()
    }

    fn start(target: SocketAddr, heard: Option<Mutex<Vec<u8>>>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let ended = AtomicBool::new(false);
        let shared = Arc::new(Shared {
            target,
            fault: Mutex::new(Fault::None),
            ended,
            crossed: Default::default(),
            heard,
        });
        let acceptor = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &acceptor));
        Ok(Self { address, shared })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then sees that it has ended.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        let Ok(target) = TcpStream::connect(shared.target) else {
            continue;
        };
        let (Ok(client_in), Ok(target_in)) = (client.try_clone(), target.try_clone()) else {
            continue;
        };
        let (up, down) = (Arc::clone(shared), Arc::clone(shared));
        thread::spawn(move || pump(client_in, target, &up, Way::ToTarget));
        thread::spawn(move || pump(target_in, client, &down, Way::ToClient));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToTarget,
    ToClient,
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared, way: Way) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut passed: u64 = 0;
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let Some(chunk) = buffer.get(..len) else {
            break;
        };
        if !let_through(shared, way, &mut passed, len) {
            break;
        }
        if way == Way::ToTarget
            && let Some(heard) = &shared.heard
        {
            let mut heard = lock(heard);
            if heard.len() < HEARD_BYTES_MAX {
                heard.extend_from_slice(chunk);
            }
        }
        if to.write_all(chunk).is_err() {
            break;
        }
    }
    // Either end may be gone already; there is nobody left to tell.
    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Waits as the fault demands; `false` where the connection is to be cut.
fn let_through(shared: &Shared, way: Way, passed: &mut u64, len: usize) -> bool {
    *passed = passed.saturating_add(len as u64);
    loop {
        if shared.ended.load(Ordering::Relaxed) {
            return false;
        }
        let fault = *lock(&shared.fault);
        match fault {
            Fault::None => return true,
            Fault::Slow { rate } => {
                crawl(shared, way, len, rate);
                return true;
            }
            Fault::Cut { after } => return *passed <= after,
            Fault::Silent => thread::sleep(LOOK_EVERY),
        }
    }
}

/// Takes a place in the queue of the slow line and waits until `len` bytes have crossed it.
fn crawl(shared: &Shared, way: Way, len: usize, rate: u64) {
    let needed = Duration::from_millis((len as u64).saturating_mul(1_000) / rate.max(1));
    let [to_target, to_client] = &shared.crossed;
    let mut crossed = lock(match way {
        Way::ToTarget => to_target,
        Way::ToClient => to_client,
    });
    let now = Instant::now();
    let until = crossed.map_or(now, |crossed| crossed.max(now)) + needed;
    *crossed = Some(until);
    drop(crossed);
    let healed = || !matches!(*lock(&shared.fault), Fault::Slow { .. });
    while Instant::now() < until && !healed() && !shared.ended.load(Ordering::Relaxed) {
        thread::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now())));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                    io::copy(&mut from, &mut to).ok();
                });
            }
        });
        address
    }

    #[test]
    fn listens_and_cuts() {
        let link = Link::tapped(echo()).unwrap();
        let mut stream = TcpStream::connect(link.address()).unwrap();
        stream.write_all(b"a canary sings").unwrap();
        let mut back = [0; 14];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"a canary sings");
        assert_eq!(link.heard(), b"a canary sings");

        link.set(Fault::Cut { after: 20 });
        stream.write_all(b"a canary sings").unwrap();
        assert!(stream.read_exact(&mut back).is_err());
    }

    #[test]
    fn a_silent_line_lets_nothing_through_until_it_is_healed() {
        let link = Link::tapped(echo()).unwrap();
        link.set(Fault::Silent);
        let mut stream = TcpStream::connect(link.address()).unwrap();
        stream.write_all(b"hello").unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).unwrap_err();
        assert_eq!(link.heard(), b"");

        link.set(Fault::Slow { rate: 1_000_000 });
        stream.set_read_timeout(None).unwrap();
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"hello");
    }
}
