//! One suite for every engine: what a transaction promises, and what each table does.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cognitive_complexity,
    reason = "a test fails by panicking, and an assertion is not a branch"
)]

mod blobs;
mod same_answers;
mod tables;
mod transactions;

use std::future::Future;

use metastore::{Store, StoreConfig, Tx, TxError};
use tempfile::TempDir;

/// A store and the folder it lives in.
struct Fixture {
    store: Store,
    runtime: tokio::runtime::Runtime,
    _folder: Option<TempDir>,
}

impl Fixture {
    fn mem() -> Self {
        Self {
            store: Store::mem(),
            runtime: runtime(),
            _folder: None,
        }
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("db"), StoreConfig::default()).unwrap();
        Self {
            store,
            runtime: runtime(),
            _folder: Some(folder),
        }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn write<T: Send + 'static, E: Send + 'static>(
        &self,
        rule: impl FnOnce(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TxError<E>> {
        self.wait(self.store.write(rule))
    }

    fn read<T: Send + 'static, E: Send + 'static>(
        &self,
        rule: impl FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TxError<E>> {
        self.wait(self.store.read(rule))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Makes a test per engine of each function that takes a fixture.
macro_rules! on_every_engine {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod mem {
            $(#[test] fn $case() { crate::$module::$case(&crate::Fixture::mem()); })*
        }
        mod sqlite {
            $(#[test] fn $case() { crate::$module::$case(&crate::Fixture::sqlite()); })*
        }
    };
}

on_every_engine![
    tables::accounts_are_added_once_and_device_lists_swapped,
    tables::sessions_end,
    tables::roots_are_swapped_by_the_previous_hash_and_all_kept,
    tables::nodes_go_from_pending_to_live_to_retired_and_are_counted,
    tables::due_nodes_are_swept_within_the_limit,
    blobs::blobs_live_while_entries_refer_to_them,
    blobs::references_refuse_what_cannot_be,
    blobs::pending_and_retired_blobs_are_listed_in_pages,
    blobs::blobs_below_half_alive_are_listed_in_pages,
    blobs::groups_are_found_by_any_segment_they_hold,
    blobs::groups_are_swapped_by_version,
    blobs::groups_are_scanned_in_the_order_of_their_keys,
    blobs::receipts_are_kept_in_order,
    tables::uploads_expire_oldest_first,
    tables::hosts_keep_their_alias_and_record,
    tables::orders_are_numbered_without_gaps_or_reuse,
    tables::order_numbers_are_raised_and_never_lowered,
    tables::logs_are_numbered_for_each_host_and_kind,
    tables::frozen_segments_are_known_until_their_blob_goes,
    tables::usage_never_falls_below_zero,
    tables::answers_are_kept_until_they_expire,
    blobs::oversized_values_and_numbers_are_refused,
    transactions::a_rule_that_fails_leaves_nothing,
    transactions::a_rule_that_panics_leaves_nothing_and_the_store_goes_on,
    transactions::a_failing_rule_takes_no_neighbour_with_it,
    transactions::a_read_sees_one_moment,
    transactions::a_caller_that_goes_away_does_not_stop_the_store,
];
