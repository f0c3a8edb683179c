//! The crate over real sockets on loopback.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod common;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod stalls;
#[cfg(test)]
mod tls;
