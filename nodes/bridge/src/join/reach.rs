//! Whether a Host can be dialled at the addresses it offers, and holds its key there. A Host that
//! owners cannot reach would take slots and fail them.

use std::net::SocketAddr;
use std::time::Duration;

use model::units::HostId;
use net::{Call, CallError, Dialer, Endpoint};

/// How long a Host may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pause after the first failure; doubled after each further one.
const RETRY_AFTER: Duration = Duration::from_secs(2);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A reachable Host is asked again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// What is read of the answer.
const ABOUT_BYTES_MAX: usize = 64 * 1024;

/// Asks the Host who it is.
///
/// # Errors
/// [`CallError`] names the step that failed.
pub async fn reach(
    dialer: &Dialer,
    host: HostId,
    addresses: &[SocketAddr],
) -> Result<(), CallError> {
    let endpoint = Endpoint::Host {
        id: host,
        addrs: addresses.to_vec(),
    };
    let call = Call::get("/v1/about")
        .answer_within(ANSWER_WITHIN)
        .stall_within(ANSWER_WITHIN);
    let mut reply = dialer.send(&endpoint, &call).await?.success().await?;
    reply.collect_limited(ABOUT_BYTES_MAX).await.map(|_| ())
}

/// The pause before the next check, after `failures` in a row.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    match failures {
        0 => AGAIN_AFTER,
        failures => RETRY_AFTER
            .saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX))
            .min(RETRY_AFTER_MAX),
    }
}

/// What a Host is told that was not reached: what happened, and the way out.
#[must_use]
pub fn advice(error: &CallError) -> String {
    format!(
        "{}; the bridge dials the addresses of the offer: open the port in the firewall and the \
         router, or offer the address that is reachable from outside",
        crate::refusal::chain(error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let seconds: Vec<u64> = [1, 2, 3, 6, 40].map(|n| pause(n).as_secs()).into();
        assert_eq!(seconds, [2, 4, 8, 60, 60]);
        assert_eq!(pause(0), AGAIN_AFTER);
    }
}
