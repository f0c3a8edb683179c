//! The Bridge as others meet it: real sockets, a real database, Hosts that sign with real keys.

#[cfg(test)]
mod fake_host;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod tests;
