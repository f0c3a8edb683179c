//! `/metrics`: what the owner of a Host needs to watch it, for callers on this machine only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use metrics::{counter, gauge};
use model::wire::ProblemCode;
use net::ConnectInfo;

use crate::host::Node;
use crate::refusal::Refusal;
use crate::status::{JoinState, Status};

/// `GET /metrics`, in Prometheus's text format.
pub(crate) async fn metrics(
    State(node): State<Arc<Node>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Result<Response, Refusal> {
    require_local(peer)?;
    let recorded = node.metrics.clone();
    let recorded = recorded
        .ok_or_else(|| Refusal::new(ProblemCode::NotFound, "this host records no metrics"))?;
    record(&Status::of(&node));
    let media_type = [(CONTENT_TYPE, runtime::Metrics::media_type())];
    Ok((media_type, recorded.render()).into_response())
}

fn require_local(peer: SocketAddr) -> Result<(), Refusal> {
    if peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let detail = "metrics are for callers on the host's own machine";
    Err(Refusal::new(ProblemCode::Forbidden, detail))
}

fn record(status: &Status) {
    counter!("xcloud_host_upload_shard_bytes_total").absolute(status.received_bytes);
    counter!("xcloud_host_download_shard_bytes_total").absolute(status.sent_bytes);
    counter!("xcloud_host_audit_answers_total").absolute(status.audits);
    counter!("xcloud_host_repair_shards_total").absolute(status.repairs);
    gauge!("xcloud_host_trash_bytes").set(status.trash_bytes as f64);
    gauge!("xcloud_host_trash_records").set(status.trash_records as f64);
    gauge!("xcloud_host_paused").set(flag(status.paused));
    for volume in &status.volumes {
        let id = || volume.id.clone();
        gauge!("xcloud_host_volume_there", "volume" => id()).set(flag(volume.state != "away"));
        gauge!("xcloud_host_volume_space_bytes", "volume" => id()).set(volume.space_bytes as f64);
        gauge!("xcloud_host_volume_used_bytes", "volume" => id()).set(volume.used_bytes as f64);
        gauge!("xcloud_host_volume_free_bytes", "volume" => id()).set(volume.free_bytes as f64);
        gauge!("xcloud_host_volume_shards", "volume" => id()).set(volume.shards as f64);
        gauge!("xcloud_host_scrub_rotten_shards", "volume" => id()).set(volume.rotten as f64);
        gauge!("xcloud_host_scrub_checked_bytes", "volume" => id())
            .set(volume.scrubbed_bytes as f64);
        let finished = volume.scrub_finished.map_or(0.0, |at| at.0 as f64 / 1e3);
        gauge!("xcloud_host_scrub_finished_timestamp_seconds", "volume" => id()).set(finished);
    }
    for bridge in &status.bridges {
        let url = || bridge.url.clone();
        let joined = matches!(bridge.join, JoinState::Joined { .. });
        gauge!("xcloud_host_join_joined", "bridge" => url()).set(flag(joined));
        gauge!("xcloud_host_bridge_held_bytes", "bridge" => url()).set(bridge.held_bytes as f64);
        gauge!("xcloud_host_bridge_records", "bridge" => url()).set(bridge.records as f64);
        gauge!("xcloud_host_bridge_frozen", "bridge" => url()).set(flag(bridge.frozen.is_some()));
        gauge!("xcloud_host_event_kept_events", "bridge" => url()).set(bridge.events as f64);
        if let Some(leaving) = bridge.leaving {
            gauge!("xcloud_host_leave_moved_bytes", "bridge" => url())
                .set(leaving.moved_bytes as f64);
            gauge!("xcloud_host_leave_left_bytes", "bridge" => url())
                .set(leaving.left_bytes as f64);
        }
        if let Some(quota_bytes) = bridge.quota_bytes {
            gauge!("xcloud_host_bridge_quota_bytes", "bridge" => url()).set(quota_bytes as f64);
        }
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_callers_on_the_same_machine_see_metrics() {
        let may = |peer: &str| require_local(peer.parse().unwrap()).is_ok();
        assert!(may("127.0.0.1:1") && may("[::1]:1") && may("[::ffff:127.0.0.1]:1"));
        assert!(!may("192.0.2.1:1") && !may("[2001:db8::1]:1"));
    }
}
