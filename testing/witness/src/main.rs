//! Writes what must survive a disaster and says what was acknowledged; afterwards checks that it
//! is there. A program of its own, so that it can be killed, and looks at folders whose owner is
//! dead. `planet::disasters` runs it.
#![expect(clippy::print_stdout, reason = "standard output is its interface")]

mod database;
mod receipts;
mod shards;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "witness", about = "Writes, is killed, and checks")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Store shards until killed; print the number of each that is durable
    WriteShards {
        /// The store's folder
        store: PathBuf,
        /// Number of the first shard
        first: u64,
    },
    /// The same, and delete most of them, and rewrite sparse logs all the while; `?N` says that a
    /// shard is about to be deleted, `-N` that it is
    ChurnShards {
        /// The store's folder
        store: PathBuf,
        /// Number of the first shard
        first: u64,
    },
    /// Check the shards whose numbers come on standard input, and those that follow them
    CheckShards {
        /// The store's folder
        store: PathBuf,
    },
    /// Commit roots until killed; print volume and number of each that is durable
    WriteRoots {
        /// The database's file
        database: PathBuf,
    },
    /// Check the roots whose volumes and numbers come on standard input, and all others
    CheckRoots {
        /// The database's file
        database: PathBuf,
    },
    /// Print the bytes of an owner's pages, whatever their state
    PageBytes {
        /// The database's file
        database: PathBuf,
        /// The owner's settings
        settings: PathBuf,
    },
    /// Check that every Host of a planet that does not run keeps what the Bridge has receipts for
    Receipts {
        /// The planet's folder
        planet: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Cli::parse().what {
        What::WriteShards { store, first } => shards::write(&store, first).await,
        What::ChurnShards { store, first } => shards::churn(&store, first).await,
        What::CheckShards { store } => shards::check(&store),
        What::WriteRoots { database } => database::write(&database).await,
        What::CheckRoots { database } => database::check(&database).await,
        What::PageBytes { database, settings } => database::page_bytes(&database, &settings).await,
        What::Receipts { planet } => receipts::check(&planet).await,
    }
}
