//! Accounts: signing up, device lists, sessions, usage.

pub mod devices;
pub mod session;
pub mod sign_up;
pub mod usage;

#[cfg(test)]
mod tests;
