//! What was acknowledged is there after `kill -9`, whole transactions only.
//!
//! The test starts itself again as a child that writes from several tasks and prints the number
//! of each write once it is acknowledged; the child is killed at some moment, the file reopened.
//! Without a harness of its own kind, since a child must print nothing but numbers.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metastore::{Store, StoreConfig, StoreError, Tx, TxError};

const CHILD_VARIABLE: &str = "METASTORE_DURABILITY_DB";
const ROUNDS: u64 = 12;
const WRITERS: u64 = 16;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let outcome = match std::env::var_os(CHILD_VARIABLE) {
        Some(path) => write_until_killed(Path::new(&path)),
        None => kill_and_check(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(
                io::stderr(),
                "acknowledged writes survive kill -9: FAILED: {error}"
            ));
            ExitCode::FAILURE
        }
    }
}

fn kill_and_check() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("db");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        // Killed after a different number of acknowledgements each time: 1 to 3,000.
        acknowledged.extend(write_and_kill(&path, 1 + (round * 997) % 3_000)?);
        check(&path, &acknowledged).map_err(|error| format!("round {round}: {error}"))?;
    }
    let count = acknowledged.len();
    writeln!(
        io::stdout(),
        "test acknowledged_writes_survive_kill_9 ... ok"
    )?;
    writeln!(
        io::stdout(),
        "test result: ok. 1 passed; 0 failed; {count} writes, {ROUNDS} kills"
    )?;
    Ok(())
}

/// Starts a child, kills it after `count` acknowledgements; returns all it gave.
fn write_and_kill(path: &Path, count: u64) -> Result<Vec<u64>, Box<dyn std::error::Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(CHILD_VARIABLE, path)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let mut lines = BufReader::new(output).lines();
    let mut acknowledged = Vec::new();
    for line in lines.by_ref().take(usize::try_from(count)?) {
        acknowledged.push(line?.parse()?);
    }
    child.kill()?;
    child.wait()?;
    if acknowledged.len() as u64 != count {
        return Err("the child ended by itself".into());
    }
    // What it still said before it died was acknowledged as well; the last line may be torn.
    let rest: Vec<String> = lines.collect::<Result<_, _>>()?;
    let whole = rest.len().saturating_sub(1);
    for line in rest.iter().take(whole) {
        acknowledged.push(line.parse()?);
    }
    Ok(acknowledged)
}

fn check(path: &Path, acknowledged: &[u64]) -> Outcome {
    let store = Store::open(path, StoreConfig::default())?;
    let numbers = acknowledged.to_vec();
    let rule = move |tx: &dyn Tx| {
        let whole = |number: &u64| {
            let (first, second) = keys(*number);
            Ok::<_, StoreError>(tx.meta(&first)?.is_some() && tx.meta(&second)?.is_some())
        };
        let count = tx.meta("next")?.map_or(0, |bytes| decode(&bytes));
        for number in &numbers {
            if !whole(number)? {
                return Ok(Err(format!("write {number} was acknowledged and is gone")));
            }
        }
        // Unacknowledged ones may be there too, but only whole.
        for number in 0..count {
            let (first, second) = keys(number);
            if tx.meta(&first)?.is_some() != tx.meta(&second)?.is_some() {
                return Ok(Err(format!("half of write {number} is there")));
            }
        }
        Ok::<_, StoreError>(Ok(()))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(store.read(rule))??)
}

fn write_until_killed(path: &Path) -> Outcome {
    let store = Store::open(path, StoreConfig::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    runtime.block_on(async {
        let next = store.read(|tx| tx.meta("next")).await?;
        let next = Arc::new(AtomicU64::new(next.map_or(0, |bytes| decode(&bytes))));
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..WRITERS {
            writers.spawn(write_on(store.clone(), Arc::clone(&next)));
        }
        for outcome in writers.join_all().await {
            outcome?;
        }
        Ok(())
    })
}

async fn write_on(store: Store, next: Arc<AtomicU64>) -> Result<(), TxError<StoreError>> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let rule = move |tx: &mut dyn Tx| {
            let (first, second) = keys(number);
            tx.put_meta(&first, &[1; 500])?;
            let highest = tx
                .meta("next")?
                .map_or(0, |bytes| decode(&bytes))
                .max(number + 1);
            tx.put_meta("next", &highest.to_le_bytes())?;
            tx.put_meta(&second, &[2; 500])
        };
        store.write(rule).await?;
        if writeln!(io::stdout(), "{number}").is_err() {
            return Ok(());
        }
    }
}

fn keys(number: u64) -> (String, String) {
    (format!("a{number}"), format!("b{number}"))
}

fn decode(bytes: &[u8]) -> u64 {
    bytes.first_chunk().copied().map_or(0, u64::from_le_bytes)
}
