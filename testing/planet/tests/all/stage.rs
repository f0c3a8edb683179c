//! A planet for one test, an owner on it, and the client run to its end within a limit.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

pub(crate) use planet::{Dice, noise};
use planet::{Owner, Patience, Planet, PlanetConfig, Programs};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing waited for in these tests takes longer, unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Within this the client must say that it cannot do what it was told.
pub(crate) const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The same where a look starts a program.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Keeps the folder of a failed test where this variable is set.
const KEEP_VARIABLE: &str = "PLANET_KEEP";

/// A planet with an owner, gone when dropped.
pub(crate) struct Stage {
    // First, so that the processes are gone before their folder.
    pub(crate) planet: Planet,
    pub(crate) owner: Owner,
    folder: Option<TempDir>,
    _turn: Turn,
}

/// Planets at a time: more would only wait for each other, and run out of patience.
const STAGES_MAX: usize = 3;

static STAGES: Mutex<usize> = Mutex::new(0);
static STAGE_FREE: Condvar = Condvar::new();

/// One of the planets at a time.
pub(crate) struct Turn;

impl Turn {
    pub(crate) fn wait() -> Self {
        let stages = STAGES.lock().unwrap();
        let full = |stages: &mut usize| *stages >= STAGES_MAX;
        *STAGE_FREE.wait_while(stages, full).unwrap() += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *STAGES.lock().unwrap() -= 1;
        STAGE_FREE.notify_one();
    }
}

/// How the client ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    /// What was run, for messages.
    told: String,
}

impl Stage {
    /// `hosts` Hosts and an account.
    pub(crate) fn new(hosts: usize) -> Self {
        Self::set(hosts, |_config| {}, |_planet| {})
    }

    /// One whose Bridge repairs within seconds. All others are as patient as in a network, so that
    /// nothing is made anew while a test looks at what single faults do.
    pub(crate) fn healing(hosts: usize) -> Self {
        let dev = |config: &mut PlanetConfig| config.profile = "dev".to_owned();
        Self::set(hosts, dev, |_planet| {})
    }

    /// The same, after the planet was changed before its start.
    pub(crate) fn set(
        hosts: usize,
        configure: impl FnOnce(&mut PlanetConfig),
        prepare: impl FnOnce(&mut Planet),
    ) -> Self {
        tell_how_to_rerun();
        let turn = Turn::wait();
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let programs = Programs::built(&root).unwrap();
        let mut config = PlanetConfig::new(programs, folder.path().join("planet"), hosts);
        config.profile = "standard".to_owned();
        configure(&mut config);
        if config.profile == "standard" {
            // What is deleted is gone at once: tests look whether it is.
            config.host_args.extend(["--trash", "0s"].map(Into::into));
        }
        let mut planet = Planet::new(config).unwrap();
        prepare(&mut planet);
        planet.start(Patience::within(PATIENCE)).unwrap();
        let owner = planet.owner("owner");
        owner.init(&planet.layout().bridge_url()).unwrap();
        Self {
            planet,
            owner,
            folder: Some(folder),
            _turn: turn,
        }
    }

    /// A path in the test's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().unwrap().path().join(name)
    }

    /// Runs the client to its end.
    pub(crate) fn xcloud<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        self.begin(args).end()
    }

    /// Runs the client, which must succeed.
    pub(crate) fn done<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        self.xcloud(args).expect_code(0)
    }

    /// Starts the client.
    pub(crate) fn begin<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        Running::start(self.owner.command(args))
    }

    /// Starts the client of another device, whose home is `home`.
    pub(crate) fn begin_at(&self, home: &Path, args: Vec<OsString>) -> Running {
        let mut command = Command::new(self.owner.program());
        command.arg("--home").arg(home).args(args);
        command.stdin(Stdio::null());
        Running::start(command)
    }

    /// Waits until exactly `hosts` Hosts are online.
    pub(crate) fn wait_online(&mut self, hosts: usize) {
        wait_until("the hosts are online", || {
            self.planet.online().ok() == u64::try_from(hosts).ok()
        });
    }

    /// Starts whoever does not run and waits until everybody is online.
    pub(crate) fn revive(&mut self) {
        self.planet.start(Patience::within(PATIENCE)).unwrap();
    }

    /// The log files of Host `number`, the first being 0.
    pub(crate) fn log_files(&self, number: usize) -> Vec<PathBuf> {
        planet::log_files(&self.planet.layout().hosts()[number].data).unwrap()
    }

    /// Host `number`'s id, as it wrote it down.
    pub(crate) fn host_id(&self, number: usize) -> String {
        let path = self.planet.layout().hosts()[number]
            .data
            .join("status.json");
        wait_until("the host wrote its status", || path.exists());
        let status: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        status["host"].as_str().unwrap().to_owned()
    }

    /// Host `number`'s process.
    pub(crate) fn host_pid(&mut self, number: usize) -> i32 {
        self.planet.hosts()[number].pid().unwrap()
    }

    /// The Hosts that keep shards of `path`, as `where` names them; each as often as it has one.
    pub(crate) fn keepers(&self, path: &str) -> Vec<String> {
        let place = self.done(["--json", "where", path]).json();
        let segments = place["segments"].as_array().unwrap().iter();
        segments
            .flat_map(|segment| segment["shards"].as_array().unwrap())
            .filter_map(|shard| Some(shard["name"].as_str()?.to_owned()))
            .collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        // Its log files are about to vanish.
        println!("the bridge's log ends: {}", self.planet.bridge().log_tail());
        if std::env::var_os(KEEP_VARIABLE).is_some()
            && let Some(folder) = self.folder.take()
        {
            println!("kept: {}", folder.keep().display());
        } else {
            println!("{KEEP_VARIABLE}=1 keeps everybody's data and logs");
        }
    }
}

/// The client at work.
pub(crate) struct Running {
    pub(crate) child: Child,
    told: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let told = format!("{command:?}");
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            child: piped.spawn().unwrap(),
            told,
        }
    }

    /// Waits for its end, which comes within [`PATIENCE`].
    pub(crate) fn end(self) -> Ran {
        self.end_within(PATIENCE)
    }

    /// Waits for its end, which must come in time.
    pub(crate) fn end_within(self, within: Duration) -> Ran {
        let (id, told) = (self.child.id(), self.told);
        let waiting = thread::spawn(move || self.child.wait_with_output().unwrap());
        let began = Instant::now();
        while !waiting.is_finished() && began.elapsed() < within {
            sleep(LOOK_EVERY);
        }
        let in_time = waiting.is_finished();
        if !in_time {
            kill(id);
        }
        let Output {
            status,
            stdout,
            stderr,
        } = waiting.join().unwrap();
        let ran = Ran {
            code: status.code(),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
            told,
        };
        assert!(in_time, "not done within {within:?}: {ran:?}");
        ran
    }

    /// Whether it is still at work.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Ran {
    pub(crate) fn expect_code(self, code: i32) -> Self {
        let told = &self.told;
        assert_eq!(self.code, Some(code), "{told}: {self:#?}");
        self
    }

    /// Fails unless it ended with one of these.
    pub(crate) fn expect_one_of(self, codes: [i32; 2]) -> Self {
        let is_one = self.code.is_some_and(|code| codes.contains(&code));
        assert!(is_one, "{}: {self:#?}", self.told);
        self
    }

    /// What it printed, one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Fails unless it told people `what`.
    pub(crate) fn expect_told(self, what: &str) -> Self {
        assert!(self.err.contains(what), "{what} not in {self:#?}");
        self
    }
}

/// Waits until `reached`.
pub(crate) fn wait_until(goal: &str, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {goal}");
        sleep(LOOK_EVERY);
    }
}

/// Waits until `reached`, which is asked by running programs.
pub(crate) fn wait_within(goal: &str, within: Duration, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < within, "waited in vain until {goal}");
        sleep(ASK_EVERY);
    }
}

/// Ends the process of the client at once.
pub(crate) fn kill(id: u32) {
    let pid = i32::try_from(id)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    // Fails only for one that ended already.
    let _ended = rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL);
}

/// Writes a file for a test.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    let mut file = fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, content.as_ref()).unwrap();
}

/// A number from the environment, for longer runs.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn tell_how_to_rerun() {
    let thread = thread::current();
    let test = thread.name().unwrap_or_default();
    println!("to run this again: cargo test -p planet --test all -- --exact {test}");
}
