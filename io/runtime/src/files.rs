//! Limits of the operating system on this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit on open files to what the system allows this process, and returns it.
///
/// `None` means there is no limit. A refusal leaves the limit as it was.
pub fn raise_open_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current,
        Err(error) => {
            tracing::warn!(%error, "limit on open files not raised");
            before
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_maximum_afterwards() {
        let raised = raise_open_files();
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
    }
}
