//! The body of a request on the serving side: cut when it crawls, drained when it is refused.
//!
//! A handler that refuses a request answers before it has read the body. Closing the connection
//! then would reset it and often lose the answer on its way, so a rest of at most
//! [`BODY_DRAIN_BYTES_MAX`] is read and thrown away behind the handler's back.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use model::units::SHARD_BYTES_MAX;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::meter::{Meter, Pace};

/// Largest rest of a refused body that is read for the sake of the answer: one shard.
pub const BODY_DRAIN_BYTES_MAX: u64 = SHARD_BYTES_MAX as u64;

/// A request's body as handlers get it.
#[derive(Debug)]
pub(crate) struct Inbound {
    metered: Option<Metered>,
    drains: TaskTracker,
}

/// A body whose sender must keep a minimum rate.
#[derive(Debug)]
struct Metered {
    body: Incoming,
    meter: Meter,
}

impl Inbound {
    pub(crate) fn new(body: Incoming, pace: Pace, drains: TaskTracker) -> Self {
        Self {
            metered: Some(Metered {
                body,
                meter: Meter::new(pace),
            }),
            drains,
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(metered) = &mut self.metered else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(metered).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.metered = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.metered
            .as_ref()
            .is_none_or(|metered| metered.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let none_left = SizeHint::with_exact(0);
        self.metered
            .as_ref()
            .map_or(none_left, |metered| metered.body.size_hint())
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let slow = ready!(self.meter.poll_waiting(cx));
            return Poll::Ready(Some(Err(slow.into())));
        };
        let data = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref());
        self.meter.moved(data.map_or(0, Bytes::len));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let Some(rest) = self
            .metered
            .take()
            .filter(|rest| !rest.body.is_end_stream())
        else {
            return;
        };
        let upper = rest.body.size_hint().upper();
        if upper.is_some_and(|bytes| bytes <= BODY_DRAIN_BYTES_MAX)
            && let Ok(runtime) = Handle::try_current()
        {
            self.drains.spawn_on(drain(rest), &runtime);
        }
    }
}

/// Reads `rest` and throws it away; its end, its failure and its crawling all end this.
async fn drain(mut rest: Metered) {
    while let Some(Ok(_)) = rest.frame().await {}
}
