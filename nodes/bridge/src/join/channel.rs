//! The control channel of one Host: challenge, hello, welcome; then heartbeats in, orders out.
//!
//! Whatever ends the channel makes the Host offline at once. Nothing here decides: hellos are
//! judged in [`super::hello`], orders are queued with the changes that cause them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::future::BoxFuture;
use metastore::HostLog;
use model::units::HostId;
use model::wire::control::{FromBridge, FromHost, Hello, ProtocolVersions};
use model::wire::{HEALS, Problem, ProblemCode, Signed};
use net::CallError;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::hello::{Expected, HelloError, Joined, Newcomer, check, join};
use super::reach::{advice, pause, reach};
use crate::bridge::Bridge;
use crate::hosts::directory::{Arrival, LinkHandle};
use crate::refusal::{Refusal, chain};
use crate::{audit, events, leave, memory, orders, repair, retain, survey};

/// From the challenge to the hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How long a Host may take to read a message.
const SEND_WITHIN: Duration = Duration::from_secs(15);
/// Orders sent and not yet done, at a time.
const ORDERS_IN_FLIGHT_MAX: u64 = 16;
/// Events sent in one go; further ones follow with the next.
const EVENTS_PER_SEND_MAX: u32 = 1_000;
/// Messages of a Host that are taken in a second, on average.
const MESSAGES_PER_SECOND: u32 = 1_000;

/// Why a channel ended.
#[derive(Debug, thiserror::Error)]
enum ChannelEnd {
    #[error("the host closed it")]
    Closed,
    #[error("the host was silent")]
    Silent,
    #[error("the host does not read")]
    NotRead,
    #[error("the host sent more than {MESSAGES_PER_SECOND} messages a second")]
    Flood,
    #[error("the host sent what is no message of the protocol")]
    Malformed(#[source] serde_json::Error),
    #[error("the host sent what is not text, or not its turn")]
    OutOfTurn,
    #[error("the connection broke")]
    Broken(#[source] axum::Error),
    #[error("the hello was refused")]
    Refused(#[source] HelloError),
    #[error("the store failed")]
    Store(#[source] metastore::StoreError),
    #[error("no randomness for a challenge")]
    Entropy(#[source] crate::random::EntropyError),
    #[error("a newer channel of the same host took over")]
    Replaced,
    #[error("the bridge is shutting down")]
    Stopping,
}

/// Serves one channel until it ends.
pub async fn serve(bridge: Bridge, mut socket: WebSocket, peer: IpAddr) {
    let end = match welcome(&bridge, &mut socket, peer).await {
        Ok(Welcomed {
            newcomer,
            link,
            outbox,
            done,
        }) => {
            let host = newcomer.id.short();
            tracing::info!(%host, "host connected");
            let (orders, taken) = (Arc::clone(&link.orders), Meter::new());
            let events_sent = newcomer.events_seen;
            let mut session = Session {
                bridge: &bridge,
                socket,
                newcomer,
                link,
                orders,
                outbox,
                done,
                sent: done,
                events_sent,
                taken,
            };
            let end = session.run().await;
            bridge.directory().disconnect(&session.link, bridge.now());
            repair::dispatch::lost_contact(&bridge, session.link.alias);
            tracing::info!(%host, reason = chain(&end), "host disconnected");
            return;
        }
        Err(end) => end,
    };
    if let ChannelEnd::Refused(refused) = &end {
        let problem = refused.problem();
        tracing::info!(reason = chain(refused), "host refused");
        // The Host learns why; whether it reads it is its own affair.
        let told = send(&mut socket, &FromBridge::Refused { problem }).await;
        tracing::debug!(told = told.is_ok(), "refusal sent");
    } else {
        tracing::debug!(reason = chain(&end), "host did not join");
    }
}

/// A Host that was taken in.
struct Welcomed {
    newcomer: Newcomer,
    link: LinkHandle,
    /// What is to be sent to it.
    outbox: mpsc::Receiver<FromBridge>,
    /// The highest order it has done.
    done: u64,
}

/// Challenges the Host and takes it in.
async fn welcome(
    bridge: &Bridge,
    socket: &mut WebSocket,
    peer: IpAddr,
) -> Result<Welcomed, ChannelEnd> {
    let mut nonce = [0; 32];
    let mut rng = bridge.fresh_rng().map_err(ChannelEnd::Entropy)?;
    rand_core::Rng::fill_bytes(&mut rng, &mut nonce);
    let nonce = data_encoding::HEXLOWER.encode(&nonce);
    let id = bridge.keys().id;
    let protocol = ProtocolVersions::OURS;
    let challenge = FromBridge::Challenge {
        bridge: id,
        nonce: nonce.clone(),
        protocol,
    };
    send(socket, &challenge).await?;
    let first = timeout(HELLO_WITHIN, receive(socket))
        .await
        .map_err(|_| ChannelEnd::Silent)??;
    let FromHost::Hello { hello } = first else {
        return Err(ChannelEnd::OutOfTurn);
    };
    let newcomer = judge(bridge, hello, nonce, peer)
        .await
        .map_err(ChannelEnd::Refused)?;
    let now = bridge.now();
    let row = newcomer.clone();
    let joined = bridge
        .store()
        .write(move |tx| join(tx, &id, &row, now))
        .await;
    let Joined { alias, orders_done } = joined.map_err(|error| match error {
        metastore::TxError::Rule(error) => ChannelEnd::Refused(error),
        metastore::TxError::Store(error) => ChannelEnd::Store(error),
    })?;
    let arrival = Arrival {
        alias,
        id: newcomer.id,
        offer: newcomer.offer.clone(),
        state: newcomer.state,
        version: newcomer.version,
    };
    let (link, outbox) = bridge.directory().connect(arrival, now);
    let heartbeat_ms = bridge.policy().timing.heartbeat_ms;
    let zone = newcomer.offer.zone.clone();
    let sent = send(
        socket,
        &FromBridge::Welcome {
            heartbeat_ms,
            zone,
            orders_done,
        },
    )
    .await;
    if let Err(end) = sent {
        bridge.directory().disconnect(&link, bridge.now());
        return Err(end);
    }
    Ok(Welcomed {
        newcomer,
        link,
        outbox,
        done: orders_done,
    })
}

/// Checks a hello off the async threads.
async fn judge(
    bridge: &Bridge,
    hello: Signed<Hello>,
    nonce: String,
    peer: IpAddr,
) -> Result<Newcomer, HelloError> {
    let (id, trust_zones) = (bridge.keys().id, bridge.policy().trust_zones);
    let check = move || {
        let nonce = nonce.as_str();
        check(
            &hello,
            &Expected {
                bridge: id,
                nonce,
                peer,
                trust_zones,
            },
        )
    };
    let checked = tasks::spawn_blocking(check).await;
    checked.unwrap_or(Err(HelloError::Store(metastore::StoreError::Panicked)))
}

/// The next time a Host's addresses are dialled.
struct Reaching {
    next: BoxFuture<'static, Result<(), CallError>>,
    /// How often that failed in a row.
    failures: u32,
}

/// A channel of a Host that was welcomed.
struct Session<'a> {
    bridge: &'a Bridge,
    socket: WebSocket,
    newcomer: Newcomer,
    link: LinkHandle,
    /// Rings when orders or events are waiting.
    orders: Arc<Notify>,
    /// What audits and repair have to say.
    outbox: mpsc::Receiver<FromBridge>,
    /// The highest order done.
    done: u64,
    /// The highest order sent over this channel, or done before.
    sent: u64,
    /// The highest event sent, or seen before.
    events_sent: u64,
    taken: Meter,
}

impl Session<'_> {
    async fn run(&mut self) -> ChannelEnd {
        // First how far our memory reaches, then what was queued while the Host was away.
        let mut outcome = self.send_mark().await;
        if outcome.is_ok() {
            outcome = self.send_queued().await;
        }
        let mut reaching = Reaching {
            next: self.reach_after(Duration::ZERO),
            failures: 0,
        };
        let mut silent_from = Instant::now();
        loop {
            if let Err(end) = outcome {
                return end;
            }
            outcome = self.turn(&mut reaching, &mut silent_from).await;
        }
    }

    /// Waits for what comes next, and does it.
    async fn turn(
        &mut self,
        reaching: &mut Reaching,
        silent_from: &mut Instant,
    ) -> Result<(), ChannelEnd> {
        let ended = self.ended(*silent_from);
        tokio::select! {
            // A Host that sends without end is cut by `take`, so its messages cannot keep what
            // comes below from its turn; and whoever sent something was not silent.
            biased;
            () = self.orders.notified() => self.send_queued().await,
            Some(message) = self.outbox.recv() => send(&mut self.socket, &message).await,
            message = receive(&mut self.socket) => {
                *silent_from = Instant::now();
                self.take(message).await
            }
            end = ended => Err(end),
            reached = &mut reaching.next => {
                reaching.failures = if reached.is_ok() { 0 } else { reaching.failures + 1 };
                reaching.next = self.reach_after(pause(reaching.failures));
                self.tell_reachability(reached).await
            }
        }
    }

    /// Waits for whatever ends the channel from this side.
    fn ended(&self, silent_from: Instant) -> impl Future<Output = ChannelEnd> + use<> {
        let (stop, replaced) = (self.bridge.stopping(), self.link.end.clone());
        let silence_max = self.bridge.policy().timing.silence_max();
        async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => ChannelEnd::Stopping,
                () = replaced.cancelled() => ChannelEnd::Replaced,
                () = sleep_until(silent_from + silence_max) => ChannelEnd::Silent,
            }
        }
    }

    /// Dials the Host after a pause.
    fn reach_after(&self, pause: Duration) -> BoxFuture<'static, Result<(), CallError>> {
        let (dialer, host) = (self.bridge.dialer().clone(), self.newcomer.id);
        let addresses = self.newcomer.addresses.clone();
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            reach(&dialer, host, &addresses).await
        })
    }

    async fn take(&mut self, message: Result<FromHost, ChannelEnd>) -> Result<(), ChannelEnd> {
        let message = message?;
        if !self.taken.take() {
            return Err(ChannelEnd::Flood);
        }
        match message {
            FromHost::Hello { .. } => Err(ChannelEnd::OutOfTurn),
            FromHost::Heartbeat { state } => {
                self.bridge
                    .directory()
                    .heard(&self.link, state, self.bridge.now());
                Ok(())
            }
            FromHost::OrdersDone { seq } => {
                let (alias, sent) = (self.link.alias, self.sent);
                let done =
                    move |tx: &mut dyn metastore::Tx| orders::acknowledge(tx, alias, seq, sent);
                self.bridge.store().write(done).await.map_err(store_end)?;
                self.done = self.done.max(seq.min(sent));
                self.send_orders().await
            }
            FromHost::Proof { .. }
            | FromHost::Repaired { .. }
            | FromHost::Holdings { .. }
            | FromHost::Retained { .. }
            | FromHost::Leave { .. } => self.heal(message).await,
        }
    }

    /// Takes what a Host says about proofs, repairs, its holdings, and leaving.
    async fn heal(&mut self, message: FromHost) -> Result<(), ChannelEnd> {
        let (bridge, alias) = (self.bridge, self.link.alias);
        let taken = match message {
            FromHost::Proof { proof } => audit::rounds::proof(bridge, alias, proof).await,
            FromHost::Repaired { repaired } => {
                repair::dispatch::repaired(bridge, alias, repaired).await
            }
            FromHost::Holdings { holdings } => survey::holdings(bridge, alias, holdings).await,
            FromHost::Leave { leave } => leave::wished(bridge, alias, &leave).await,
            FromHost::Retained { trashed, refused } => {
                retain::retained(&self.newcomer.id, trashed, refused.as_deref());
                Ok(())
            }
            FromHost::Hello { .. } | FromHost::Heartbeat { .. } | FromHost::OrdersDone { .. } => {
                Ok(())
            }
        };
        taken.map_err(store_end)
    }

    /// Tells a Host how far the Bridge's memory reaches.
    async fn send_mark(&mut self) -> Result<(), ChannelEnd> {
        if self.newcomer.version < HEALS {
            return Ok(());
        }
        let read = |tx: &dyn metastore::Tx| memory::read(tx);
        let memory = self.bridge.store().read(read).await.map_err(store_end)?;
        let mark = self.bridge.mark(&memory);
        send(&mut self.socket, &FromBridge::Mark { mark }).await
    }

    /// Sends orders and events that wait.
    async fn send_queued(&mut self) -> Result<(), ChannelEnd> {
        self.send_orders().await?;
        if self.newcomer.version < HEALS {
            return Ok(());
        }
        let (alias, sent) = (self.link.alias, self.events_sent);
        let read = move |tx: &dyn metastore::Tx| {
            tx.host_log(alias, HostLog::Events, sent, EVENTS_PER_SEND_MAX)
        };
        for row in self.bridge.store().read(read).await.map_err(store_end)? {
            let (keys, host) = (self.bridge.keys(), self.newcomer.id);
            let event = events::signed(keys, host, &row).map_err(ChannelEnd::Store)?;
            send(&mut self.socket, &FromBridge::Event { event }).await?;
            self.events_sent = row.seq;
        }
        Ok(())
    }

    /// Sends what is queued and was not sent over this channel, a few at a time.
    async fn send_orders(&mut self) -> Result<(), ChannelEnd> {
        let (alias, sent) = (self.link.alias, self.sent);
        // Orders are numbered without gaps, so the difference counts those under way.
        let room = ORDERS_IN_FLIGHT_MAX.saturating_sub(sent.saturating_sub(self.done));
        let room = u32::try_from(room).unwrap_or(0);
        if room == 0 {
            return Ok(());
        }
        let read = move |tx: &dyn metastore::Tx| tx.pending_orders(alias, sent, room);
        for row in self.bridge.store().read(read).await.map_err(store_end)? {
            let (keys, host) = (self.bridge.keys(), self.newcomer.id);
            let spoken = (host, self.newcomer.version);
            let order = orders::signed(keys, spoken, &row).map_err(ChannelEnd::Store)?;
            send(&mut self.socket, &FromBridge::Order { order }).await?;
            self.sent = row.seq;
        }
        Ok(())
    }

    async fn tell_reachability(
        &mut self,
        reached: Result<(), CallError>,
    ) -> Result<(), ChannelEnd> {
        let host: HostId = self.newcomer.id;
        let (reachable, detail) = match &reached {
            Ok(()) => (true, "reached".to_owned()),
            Err(error) => (false, advice(error)),
        };
        if !reachable {
            tracing::info!(host = %host.short(), detail, "host is not reachable");
        }
        self.bridge
            .directory()
            .set_reachable(&self.link, reachable, self.bridge.now());
        send(
            &mut self.socket,
            &FromBridge::Reachability { reachable, detail },
        )
        .await
    }
}

fn store_end(error: metastore::TxError<metastore::StoreError>) -> ChannelEnd {
    match error {
        metastore::TxError::Rule(error) | metastore::TxError::Store(error) => {
            ChannelEnd::Store(error)
        }
    }
}

/// The next message of the Host; pings are answered by the way.
async fn receive(socket: &mut WebSocket) -> Result<FromHost, ChannelEnd> {
    loop {
        match socket.recv().await {
            None | Some(Ok(Message::Close(_))) => return Err(ChannelEnd::Closed),
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(text.as_str()).map_err(ChannelEnd::Malformed);
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(ChannelEnd::OutOfTurn),
            Some(Err(error)) => return Err(ChannelEnd::Broken(error)),
        }
    }
}

async fn send(socket: &mut WebSocket, message: &FromBridge) -> Result<(), ChannelEnd> {
    let text = serde_json::to_string(message).map_err(ChannelEnd::Malformed)?;
    timeout(SEND_WITHIN, socket.send(Message::Text(text.into())))
        .await
        .map_err(|_| ChannelEnd::NotRead)?
        .map_err(ChannelEnd::Broken)
}

/// Counts a Host's messages, second by second.
struct Meter {
    since: Instant,
    count: u32,
}

impl Meter {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            count: 0,
        }
    }

    /// `false` where there are too many.
    fn take(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::new();
        }
        self.count += 1;
        self.count <= MESSAGES_PER_SECOND
    }
}

/// A Host that is not let in because too many are there already.
#[must_use]
pub fn crowded() -> Problem {
    Problem::new(
        ProblemCode::Busy,
        "too many hosts from this address; try again later",
    )
}
