//! The planet's process control, with programs of a few lines in place of the real ones.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::left::stop_left;

const PATIENCE: Patience<'_> = Patience::within(Duration::from_secs(60));

/// Counts the files in `online` beside its data folder.
const BRIDGE: &str = r#"#!/usr/bin/env python3
import http.server, json, os, sys
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
online = os.path.join(os.path.dirname(args["--data"]), "online")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/v1/bridge" else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"hosts_online": len(os.listdir(online))}).encode())
host, port = args["--listen"].split(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"#;

/// Is online from its start until it is asked to end.
const HOST: &str = r#"#!/bin/sh
test "$1 $2 $4 $6 $8 ${10} ${12}" = "run --data --bridge --listen --space --name --zone" || exit 9
mark="$(dirname "$(dirname "$3")")/online/$(basename "$3")"
: > "$mark"
trap 'rm -f "$mark"; exit 0' TERM
while :; do sleep 1000 & wait $!; done
"#;

fn programs(folder: &Path) -> Programs {
    fs::create_dir_all(folder.join("planet/online")).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o755))
            .unwrap();
        path
    };
    let (xbridge, xcore) = (write("xbridge", BRIDGE), write("xcore", HOST));
    Programs {
        xbridge,
        xcore,
        xcloud: write("xcloud", "#!/bin/sh\necho \"$@\"\n"),
    }
}

fn config(folder: &Path, hosts: usize) -> PlanetConfig {
    PlanetConfig::new(programs(folder), folder.join("planet"), hosts)
}

#[test]
fn hosts_die_and_come_back() {
    let scratch = tempfile::tempdir().unwrap();
    let mut planet = Planet::new(config(scratch.path(), 3)).unwrap();
    planet.start(PATIENCE).unwrap();
    assert_eq!(planet.online().unwrap(), 3);

    planet.hosts()[1].ask_to_end().unwrap();
    assert!(planet.hosts()[1].wait_to_end(PATIENCE.within));
    planet.wait_online(2, PATIENCE).unwrap();
    planet.hosts()[1].start().unwrap();
    planet.wait_online(3, PATIENCE).unwrap();
    planet.bridge().kill();
    planet.online().unwrap_err();
    planet.start_bridge(PATIENCE).unwrap();

    assert_eq!(planet.stop(PATIENCE.within), ["bridge"; 0]);
    planet.online().unwrap_err();
}

#[test]
fn one_that_ends_by_itself_is_named_with_its_log() {
    let scratch = tempfile::tempdir().unwrap();
    let mut config = config(scratch.path(), 2);
    config.programs.xcore = "/bin/ls".into();
    let mut planet = Planet::new(config).unwrap();
    let error = format!("{:#}", planet.start(PATIENCE).unwrap_err());
    assert!(
        error.contains("waiting until 2 hosts are online"),
        "{error}"
    );
    assert!(
        error.contains("h1 ended") || error.contains("h2 ended"),
        "{error}"
    );
    assert!(error.contains("unrecognized option"), "{error}");
}

#[test]
fn one_may_give_up_waiting() {
    let scratch = tempfile::tempdir().unwrap();
    let mut planet = Planet::new(config(scratch.path(), 1)).unwrap();
    let error = planet
        .start(Patience {
            give_up: &|| true,
            ..PATIENCE
        })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "interrupted while waiting until the bridge answers"
    );
}

#[test]
fn a_planet_left_running_is_found_and_ended() {
    let scratch = tempfile::tempdir().unwrap();
    let detached = PlanetConfig {
        outlives_us: true,
        ..config(scratch.path(), 2)
    };
    let mut planet = Planet::new(detached.clone()).unwrap();
    planet.start(PATIENCE).unwrap();
    let dir = planet.layout().dir().to_owned();
    planet.leave().unwrap();

    let error = Planet::new(detached.clone()).unwrap_err();
    assert!(error.to_string().contains("runs in"), "{error}");

    // These are children of this test and stay uncollected; to the system they have ended.
    let (ended, killed) = stop_left(&dir, PATIENCE.within).unwrap();
    assert_eq!((ended, killed), (3, 0));
    let mut again = Planet::new(PlanetConfig {
        outlives_us: false,
        ..detached
    })
    .unwrap();
    again.start(PATIENCE).unwrap();
}

#[test]
fn owners_have_homes_of_their_own() {
    let scratch = tempfile::tempdir().unwrap();
    let planet = Planet::new(config(scratch.path(), 1)).unwrap();
    let alice = planet.owner("alice");
    alice.init("http://127.0.0.1:1").unwrap();
    let said = String::from_utf8(alice.run(["ls", "/"]).unwrap().stdout).unwrap();
    assert_eq!(said, format!("--home {} ls /\n", alice.home().display()));
}
