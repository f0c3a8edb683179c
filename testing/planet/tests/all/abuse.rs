//! Strangers abuse the wire: each is refused with the right status and at little cost, memory
//! stays flat, and an honest client is served meanwhile and afterwards.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use model::crypto::{Secret, SigningKey, hash_shard};
use model::units::{BridgeId, HostId, OwnerTag, PayerKey, Serial, ShardId, UnixMs};
use model::wire::{Action, Ticket, ticket_header};

use crate::sockets::{answer, dial, dial_tls, is_cut, status};
use crate::stage::{Stage, noise, wait_until, write};

const HOSTS: usize = 4;
/// How often each abuse is repeated while memory is watched.
const TIMES: usize = 25;
/// Most that the memory of a process may grow by, whatever strangers do to it: far less than
/// what they announce, more than what its allocator keeps back.
const GROWTH_BYTES_MAX: u64 = 48 << 20;
/// Connections that one address may have open at a Host.
const PER_ADDRESS_MAX: usize = 512;
const MINUTE_MS: u64 = 60_000;

#[test]
fn tickets_that_are_not_honoured() {
    let mut stage = Stage::new(HOSTS);
    let desk = Desk::open(&mut stage);
    let shard = ShardId([3; 32]);
    let refused = refused_tickets(&desk, shard);
    let before = memory(desk.host_pid);
    for _ in 0..TIMES {
        for (name, expected, ticket) in &refused {
            let answered = desk.offer(ticket, shard, "content-length: 64000");
            assert_eq!(answered, *expected, "{name}");
        }
        let good = desk.sign(&desk.ticket(1));
        for (name, expected, length) in [
            ("above the largest size", 413, "content-length: 1966081"),
            ("enormous", 413, "content-length: 900000000000000000"),
            ("not a multiple of 64", 400, "content-length: 63999"),
            ("without a length", 400, "transfer-encoding: chunked"),
        ] {
            assert_eq!(desk.offer(&good, shard, length), expected, "{name}");
        }
    }
    expect_flat(desk.host_pid, before);
    expect_honest_service(&mut stage, 1);
}

#[test]
fn a_ticket_serves_for_one_shard() {
    let mut stage = Stage::new(HOSTS);
    let desk = Desk::open(&mut stage);
    let (body, other) = (noise(1, 64_000), noise(2, 64_000));
    let shard = hash_shard(&body);
    let good = desk.sign(&desk.ticket(1));
    let unused = desk.sign(&desk.ticket(2));

    assert_eq!(
        desk.put(&unused, shard, &other),
        422,
        "bytes of another shard"
    );
    assert_eq!(desk.put(&good, shard, &body), 201);
    let before = memory(desk.host_pid);
    for _ in 0..TIMES {
        assert_eq!(desk.put(&good, shard, &body), 200, "a retry");
        assert_eq!(
            desk.put(&good, hash_shard(&other), &other),
            409,
            "the serial used again"
        );
    }
    expect_flat(desk.host_pid, before);

    let read = |shard, serial| Ticket {
        action: Action::Get { shard },
        ..desk.ticket(serial)
    };
    assert_eq!(desk.get(shard, &desk.sign(&read(shard, 3))), 200);
    assert_eq!(
        desk.get(shard, &desk.sign(&read(ShardId([1; 32]), 4))),
        403,
        "another shard"
    );
    assert_eq!(desk.get(shard, &good), 403, "to store");
    let short = Ticket {
        bytes_max: 100,
        ..read(shard, 5)
    };
    assert_eq!(desk.get(shard, &desk.sign(&short)), 403, "fewer bytes");
    assert_eq!(desk.get(shard, ""), 403, "no ticket");
    expect_honest_service(&mut stage, 6);
}

/// Tickets for a PUT of 64,000 bytes, and the status that refuses each.
fn refused_tickets(desk: &Desk, shard: ShardId) -> Vec<(&'static str, u16, String)> {
    let good = desk.ticket(1);
    let mut forged = good.sign(&desk.key);
    *forged.last_mut().unwrap() ^= 1;
    let stranger = SigningKey::from_seed(&Secret::new([7; 32]));
    let of_stranger = Ticket {
        bridge: BridgeId(stranger.public()),
        ..good
    };
    let expired = Ticket {
        expires: UnixMs(desk.now.0 - 1),
        ..good
    };
    let of_tomorrow = Ticket {
        created: UnixMs(desk.now.0 + 60 * MINUTE_MS),
        ..good
    };
    let elsewhere = Ticket {
        host: HostId([5; 32]),
        ..good
    };
    let to_read = Ticket {
        action: Action::Get { shard },
        ..good
    };
    let smaller = Ticket {
        bytes_max: 63_936,
        ..good
    };
    vec![
        ("no ticket", 403, String::new()),
        ("not a ticket", 403, "Ticket AAAA".to_owned()),
        ("garbage", 403, format!("Ticket {}", "!".repeat(360))),
        ("forged", 403, ticket_header(&forged)),
        (
            "signed by a stranger",
            403,
            ticket_header(&good.sign(&stranger)),
        ),
        (
            "of another bridge",
            403,
            ticket_header(&of_stranger.sign(&stranger)),
        ),
        ("expired", 403, desk.sign(&expired)),
        ("of tomorrow", 403, desk.sign(&of_tomorrow)),
        ("for another host", 403, desk.sign(&elsewhere)),
        ("to read", 403, desk.sign(&to_read)),
        ("for a smaller shard", 413, desk.sign(&smaller)),
    ]
}

#[test]
fn heads_and_bodies_that_are_too_much() {
    let mut stage = Stage::new(HOSTS);
    let bridge = stage.planet.layout().bridge();
    let host = stage.planet.layout().hosts()[0].addr;
    let (bridge_pid, host_pid) = pids(&mut stage);
    let (bad_heads, bad_bodies) = (bad_heads(), bad_bodies());
    let no_tls = noise(3, 300_000);
    let hammer = || {
        for (name, expected, bytes) in &bad_heads {
            let plain = status(&mut dial(bridge, 9), bytes);
            assert!(
                expected.contains(&plain),
                "{name}: the bridge answered {plain}"
            );
            let tls = status(&mut dial_tls(host, 9), bytes);
            assert!(expected.contains(&tls), "{name}: the host answered {tls}");
        }
        for (name, expected, bytes) in &bad_bodies {
            assert_eq!(status(&mut dial(bridge, 9), bytes), *expected, "{name}");
        }
        assert_eq!(status(&mut dial(host, 9), &no_tls), 0, "no tls");
    };
    hammer();
    let before = (memory(bridge_pid), memory(host_pid));
    (0..TIMES).for_each(|_| hammer());
    expect_flat(bridge_pid, before.0);
    expect_flat(host_pid, before.1);
    expect_honest_service(&mut stage, 2);
}

/// Heads for anybody, each with the statuses that are right; 0 is hanging up.
fn bad_heads() -> [(&'static str, &'static [u16], Vec<u8>); 5] {
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(5_000));
    let other = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let two_lengths = "PUT / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n";
    [
        ("an endless head", &[431, 0], endless.into_bytes()),
        ("too many headers", &[431, 400, 0], many.into_bytes()),
        ("garbage", &[400, 431, 0], noise(3, 300_000)),
        ("another protocol", &[400, 0], other.into()),
        ("two lengths", &[400, 0], two_lengths.into()),
    ]
}

/// Requests to a Bridge, and the status that refuses each.
fn bad_bodies() -> [(&'static str, u16, Vec<u8>); 6] {
    let post = |path: &str, headers: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: b\r\n{headers}\r\n\r\n{body}").into_bytes()
    };
    let deep = "[".repeat(100_000);
    let deep_length = format!("content-length: {}", deep.len());
    let endless = format!("4000\r\n{}\r\n", "x".repeat(0x4000)).repeat(100);
    let no_session = "authorization: Bearer x\r\ncontent-length: 9";
    [
        (
            "an enormous length",
            413,
            post("/v1/accounts", "content-length: 900000000000000", ""),
        ),
        (
            "an endless body",
            413,
            post("/v1/accounts", "transfer-encoding: chunked", &endless),
        ),
        ("deep json", 400, post("/v1/accounts", &deep_length, &deep)),
        (
            "nobody",
            401,
            post("/v1/uploads", "content-length: 16000000", ""),
        ),
        ("unknown session", 401, post("/v1/purge", no_session, "")),
        (
            "no such path",
            404,
            post("/v1/nothing", "content-length: 0", ""),
        ),
    ]
}

#[test]
fn slow_heads_and_bodies_are_cut() {
    let mut stage = Stage::new(HOSTS);
    let desk = Desk::open(&mut stage);
    let (bridge_pid, host_pid) = pids(&mut stage);
    let before = (memory(bridge_pid), memory(host_pid));
    let begun = b"GET /v1/bridge HTTP/1.1\r\nx: ";
    let mut heads: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut tcp = dial(stage.planet.layout().bridge(), 8);
            tcp.write_all(begun).unwrap();
            tcp
        })
        .collect();
    let mut handshakes: Vec<TcpStream> = (0..200).map(|_| dial(desk.addr, 8)).collect();
    let mut bodies: Vec<_> = (0..20)
        .map(|serial| {
            let ticket = desk.sign(&desk.ticket(100 + serial));
            let head = put_head(&ticket, ShardId([9; 32]), "content-length: 1966080");
            let mut wire = dial_tls(desk.addr, 7);
            wire.write_all(head.as_bytes()).unwrap();
            wire.write_all(&[1; 2_000]).unwrap();
            wire.flush().unwrap();
            wire
        })
        .collect();

    // More bodies are begun than the Host takes at once: the honest one has to wait for its turn.
    expect_honest_service(&mut stage, 3);
    for wire in &mut bodies {
        let answered = answer(wire);
        assert!([408, 429, 0].contains(&answered), "a slow body: {answered}");
    }
    wait_until("slow heads are cut", || {
        // Slow is not silent: a byte now and then does not help.
        heads.retain_mut(|tcp| tcp.write_all(b"x").is_ok() && !is_cut(tcp));
        heads.is_empty()
    });
    wait_until("handshakes that do not begin are cut", || {
        handshakes.retain_mut(|tcp| !is_cut(tcp));
        handshakes.is_empty()
    });
    expect_flat(bridge_pid, before.0);
    expect_flat(host_pid, before.1);
    expect_honest_service(&mut stage, 4);
}

#[test]
fn thousands_of_idle_connections() {
    let mut stage = Stage::new(HOSTS);
    let host = stage.planet.layout().hosts()[0].addr;
    let bridge = stage.planet.layout().bridge();
    let (bridge_pid, host_pid) = pids(&mut stage);
    let before = (memory(bridge_pid), memory(host_pid));
    let connections = |addr| {
        let sources = 2..5;
        let many = sources.flat_map(move |last| (0..PER_ADDRESS_MAX + 100).map(move |_| last));
        many.map(move |last| (last, dial(addr, last))).collect()
    };
    // On loopback the Bridge has one limit for all: a proxy may stand before it.
    let to_bridge: Vec<(u8, TcpStream)> = connections(bridge);
    let mut to_host: Vec<(u8, TcpStream)> = connections(host);
    wait_until("no address has more than its share", || {
        to_host.retain_mut(|(_, tcp)| !is_cut(tcp));
        let open = |last| to_host.iter().filter(|(from, _)| *from == last).count();
        (2..5).all(|last| open(last) <= PER_ADDRESS_MAX)
    });
    expect_honest_service(&mut stage, 5);
    expect_flat(bridge_pid, before.0);
    expect_flat(host_pid, before.1);
    drop((to_bridge, to_host));
}

/// What the Bridge could sign, and the Host that has to look closely.
struct Desk {
    key: SigningKey,
    host: HostId,
    host_pid: i32,
    addr: SocketAddr,
    now: UnixMs,
}

impl Desk {
    fn open(stage: &mut Stage) -> Self {
        let file = fs::read(stage.planet.layout().bridge_data().join("bridge.key")).unwrap();
        let seed = file[8..40].try_into().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            key: SigningKey::from_seed(&Secret::new(seed)),
            host: stage.host_id(0).parse().unwrap(),
            host_pid: stage.host_pid(0),
            addr: stage.planet.layout().hosts()[0].addr,
            now: UnixMs(u64::try_from(now.as_millis()).unwrap()),
        }
    }

    /// A ticket for a PUT that the Host has to honour.
    fn ticket(&self, serial: u8) -> Ticket {
        Ticket {
            serial: Serial([serial; 16]),
            bridge: BridgeId(self.key.public()),
            host: self.host,
            action: Action::Put {
                owner_tag: OwnerTag::default(),
            },
            bytes_max: 1_966_080,
            payer: PayerKey([4; 32]),
            price_version: 1,
            created: self.now,
            expires: UnixMs(self.now.0 + 60 * MINUTE_MS),
        }
    }

    fn sign(&self, ticket: &Ticket) -> String {
        ticket_header(&ticket.sign(&self.key))
    }

    /// Announces an upload and sends none of it: a refusal does not wait for the body.
    fn offer(&self, ticket: &str, shard: ShardId, length: &str) -> u16 {
        let head = put_head(ticket, shard, length);
        status(&mut dial_tls(self.addr, 9), head.as_bytes())
    }

    fn put(&self, ticket: &str, shard: ShardId, body: &[u8]) -> u16 {
        let head = put_head(ticket, shard, &format!("content-length: {}", body.len()));
        status(
            &mut dial_tls(self.addr, 9),
            &[head.as_bytes(), body].concat(),
        )
    }

    fn get(&self, shard: ShardId, ticket: &str) -> u16 {
        let head = format!(
            "GET /v1/shards/{shard} HTTP/1.1\r\nhost: h\r\nauthorization: {ticket}\r\n\r\n"
        );
        status(&mut dial_tls(self.addr, 9), head.as_bytes())
    }
}

fn put_head(ticket: &str, shard: ShardId, length: &str) -> String {
    format!(
        "PUT /v1/shards HTTP/1.1\r\nhost: h\r\nauthorization: {ticket}\r\nshard-id: {shard}\r\n\
         {length}\r\n\r\n"
    )
}

fn pids(stage: &mut Stage) -> (i32, i32) {
    let bridge = stage.planet.bridge().pid().unwrap();
    (bridge, stage.host_pid(0))
}

/// Bytes of memory that a process occupies.
fn memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

fn expect_flat(pid: i32, before: u64) {
    let now = memory(pid);
    println!("memory of process {pid}: {before} bytes before, {now} after");
    assert!(
        now <= before + GROWTH_BYTES_MAX,
        "from {before} to {now} bytes"
    );
}

fn expect_honest_service(stage: &mut Stage, seed: u64) {
    let (file, back) = (stage.path("honest"), stage.path("honest back"));
    write(&file, noise(seed, 3_000_000));
    stage.done([OsStr::new("put"), file.as_os_str(), OsStr::new("/honest")]);
    stage.done([OsStr::new("get"), OsStr::new("/honest"), back.as_os_str()]);
    assert!(crate::compare::same_content(&file, &back));
    stage.planet.check_alive().unwrap();
}
