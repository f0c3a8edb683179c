//! What a transaction promises.

use std::sync::mpsc;

use metastore::{StoreError, Tx, TxError};

use crate::Fixture;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
struct Refused;

fn meta(fixture: &Fixture, key: &'static str) -> Option<Vec<u8>> {
    fixture.read(move |tx| tx.meta(key)).unwrap()
}

fn put(tx: &mut dyn Tx, key: &str, value: &[u8]) {
    tx.put_meta(key, value).unwrap();
}

pub(crate) fn a_rule_that_fails_leaves_nothing(fixture: &Fixture) {
    fixture.write(|tx| tx.put_meta("kept", b"old")).unwrap();

    let outcome: Result<(), _> = fixture.write(|tx| {
        put(tx, "kept", b"new");
        put(tx, "kept", b"newer");
        put(tx, "added", b"x");
        Err(Refused)
    });

    assert!(matches!(outcome, Err(TxError::Rule(Refused))));
    assert_eq!(meta(fixture, "kept").unwrap(), b"old");
    assert_eq!(meta(fixture, "added"), None);
}

pub(crate) fn a_rule_that_panics_leaves_nothing_and_the_store_goes_on(fixture: &Fixture) {
    let outcome: Result<(), TxError<Refused>> = fixture.write(|tx| {
        put(tx, "added", b"x");
        panic!("a bug in a rule");
    });
    let reading: Result<(), TxError<Refused>> = fixture.read(|_| panic!("a bug in a rule"));

    assert!(matches!(outcome, Err(TxError::Store(StoreError::Panicked))));
    assert!(matches!(reading, Err(TxError::Store(StoreError::Panicked))));
    assert_eq!(meta(fixture, "added"), None);
    fixture.write(|tx| tx.put_meta("later", b"y")).unwrap();
    assert_eq!(meta(fixture, "later").unwrap(), b"y");
}

pub(crate) fn a_failing_rule_takes_no_neighbour_with_it(fixture: &Fixture) {
    let outcomes = fixture.wait(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..250_u32 {
            let store = fixture.store.clone();
            let rule = move |tx: &mut dyn Tx| {
                put(tx, &number.to_string(), &number.to_le_bytes());
                if number % 3 == 0 {
                    Err(Refused)
                } else {
                    Ok(number)
                }
            };
            tasks.spawn(async move { store.write(rule).await });
        }
        tasks.join_all().await
    });

    let kept = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().ok())
        .count();
    assert_eq!(kept, 166);
    for number in 0..250_u32 {
        let row = fixture
            .read(move |tx| tx.meta(&number.to_string()))
            .unwrap();
        assert_eq!(row.is_some(), number % 3 != 0, "{number}");
    }
}

pub(crate) fn a_read_sees_one_moment(fixture: &Fixture) {
    fixture.write(|tx| tx.put_meta("a", b"1")).unwrap();
    let (reading, started) = mpsc::channel();
    let (written, go_on) = mpsc::channel::<()>();
    let store = fixture.store.clone();
    let reader = std::thread::spawn(move || {
        crate::runtime().block_on(store.read(move |tx| {
            let first = tx.meta("a")?;
            reading.send(()).unwrap();
            // An engine that locks out writers lets this time out; one with snapshots writes.
            let waited = go_on.recv_timeout(std::time::Duration::from_millis(200));
            assert_ne!(waited, Err(mpsc::RecvTimeoutError::Disconnected));
            Ok::<_, StoreError>((first, tx.meta("a")?))
        }))
    });
    started.recv().unwrap();

    fixture.write(|tx| tx.put_meta("a", b"2")).unwrap();
    // The reader of an engine without snapshots is gone by now.
    written.send(()).ok();

    let (first, second) = reader.join().unwrap().unwrap();
    assert_eq!(first, second);
    assert_eq!(meta(fixture, "a").unwrap(), b"2");
}

pub(crate) fn a_caller_that_goes_away_does_not_stop_the_store(fixture: &Fixture) {
    for _ in 0..20 {
        fixture.wait(async {
            let write = fixture.store.write(|tx| tx.put_meta("gone", b"x"));
            let read = fixture.store.read(|tx| tx.meta("gone"));
            // Polled once, then dropped.
            tokio::select! { biased; _ = write => {}, _ = std::future::ready(()) => {} }
            tokio::select! { biased; _ = read => {}, _ = std::future::ready(()) => {} }
        });
    }

    fixture.write(|tx| tx.put_meta("next", b"y")).unwrap();
    assert_eq!(meta(fixture, "next").unwrap(), b"y");
}
