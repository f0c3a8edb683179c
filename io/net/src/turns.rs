//! Whose request may be under way: so many to each endpoint, so many in all, the others wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dialer::DialerLimits;
use crate::endpoint::{Endpoint, EndpointKey};

/// Endpoints that are remembered before those without a request are forgotten.
const ENDPOINTS_SWEPT: usize = 1_024;

/// Turns to have a request under way.
pub(crate) struct Turns {
    per_endpoint_max: usize,
    total: Arc<Semaphore>,
    own: Mutex<BTreeMap<EndpointKey, Arc<Semaphore>>>,
}

/// The right to have a request under way, until it is dropped.
pub(crate) struct Turn {
    _permits: [OwnedSemaphorePermit; 2],
}

impl Turns {
    pub(crate) fn new(limits: &DialerLimits) -> Self {
        Self {
            per_endpoint_max: limits.per_endpoint_max,
            total: Arc::new(Semaphore::new(limits.total_max)),
            own: Mutex::default(),
        }
    }

    /// Waits for the right to send one request to `endpoint`.
    pub(crate) async fn wait(&self, endpoint: &Endpoint) -> Turn {
        let own = self.own(endpoint.key());
        #[expect(clippy::expect_used, reason = "neither semaphore is ever closed")]
        let own = own.acquire_owned().await.expect("semaphore is open");
        #[expect(clippy::expect_used, reason = "neither semaphore is ever closed")]
        let total = Arc::clone(&self.total)
            .acquire_owned()
            .await
            .expect("semaphore is open");
        Turn {
            _permits: [own, total],
        }
    }

    fn own(&self, key: EndpointKey) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = own.get(&key) {
            return Arc::clone(known);
        }
        if own.len() >= ENDPOINTS_SWEPT {
            // Whoever waits or has a turn holds the semaphore too.
            own.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        let new = Arc::new(Semaphore::new(self.per_endpoint_max));
        own.insert(key, Arc::clone(&new));
        new
    }
}
