//! What a person types: commands, options and their help. Nothing is checked here that needs a
//! file, a network or an account.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use client::drive::ByteRange;
use model::formats::shape::Class;
use model::units::UploadId;
use net::BridgeUrl;

/// Keep files in an encrypted cloud of other people's disks.
#[derive(Debug, Parser)]
#[command(name = "xcloud", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0 done   1 some files failed (each named)   2 wrong usage   3 not found
  4 unavailable (too few Hosts)   5 integrity   6 quota or space   7 conflict";

/// Options of every command.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// This device's keys and settings [default: the user's data folder]
    #[arg(long, global = true, env = "XCLOUD_HOME", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open an account, or bring an existing one to this device
    Init(InitArgs),
    /// Store files and folders
    Put(PutArgs),
    /// Bring files and folders back
    Get(GetArgs),
    /// Write files to standard output
    Cat(CatArgs),
    /// List a folder
    Ls(LsArgs),
    /// Show everything known about a path
    Stat(PathArgs),
    /// Make folders
    Mkdir(MkdirArgs),
    /// Rename, or move into a folder
    Mv(MoveArgs),
    /// Copy within the cloud; no content is moved
    Cp(MoveArgs),
    /// Remove files and folders; old versions are kept until retention ends
    Rm(RmArgs),
    /// Rewrite packs of which less than half is still in use, so that their space comes back
    Tidy(TidyArgs),
    /// Sum up what lies below a path
    Du(OptionalPathArgs),
    /// List uploads that were interrupted and that `put` goes on with, or give one up
    Uploads(UploadsArgs),
    /// Show which Hosts keep a file
    Where(PathArgs),
    /// Ask Hosts to prove that they keep what lies below a path, without fetching it
    Verify(VerifyArgs),
    /// Go by the older history of a Bridge that was restored from a backup; what this device saw
    /// since is no longer in the tree
    AcceptRollback(RollbackArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// `xcloud init`.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The Bridge: http://127.0.0.1:PORT, https://NAME or https://KEY@HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(crate) bridge: BridgeUrl,
    /// Write the new account's recovery phrase to this new file instead of showing it
    #[arg(long, value_name = "FILE", requires = "yes", conflicts_with = "restore", value_hint = ValueHint::FilePath)]
    pub(crate) mnemonic_file: Option<PathBuf>,
    /// Bring back the account whose recovery phrase is in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) restore: Option<PathBuf>,
    /// This device's name [default: the machine's]
    #[arg(long, value_name = "NAME")]
    pub(crate) device_name: Option<String>,
    /// Ask nothing; goes with --mnemonic-file
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `xcloud put`.
#[derive(Args, Debug)]
pub(crate) struct PutArgs {
    /// How files are spread: mirrors:N or coded:K/N [default: the Bridge decides]
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<Class>,
    /// What to store, and last where: `put dir /` makes /dir, `put dir/ /` puts what is in it;
    /// `-` reads standard input
    #[arg(required = true, num_args = 2.., value_names = ["LOCAL", "REMOTE"], value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// `xcloud uploads`.
#[derive(Args, Debug)]
pub(crate) struct UploadsArgs {
    /// Give this one up; what Hosts have of it is deleted
    #[arg(long, value_name = "ID")]
    pub(crate) drop: Option<UploadId>,
}

/// `xcloud cat`.
#[derive(Args, Debug)]
pub(crate) struct CatArgs {
    /// Only these bytes of each file: A-B, A- or -N, counted from 0, both ends included
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(crate) range: Option<ByteRange>,
    /// Files to write, one after the other
    #[arg(required = true, value_name = "REMOTE", value_hint = ValueHint::Other)]
    pub(crate) paths: Vec<OsString>,
}

/// `xcloud get`.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// Only these bytes of one file: A-B, A- or -N, counted from 0, both ends included
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(crate) range: Option<ByteRange>,
    /// What to bring, and last where: a trailing slash brings what is in a folder; `-` writes to
    /// standard output
    #[arg(required = true, num_args = 2.., value_names = ["REMOTE", "LOCAL"], value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// `xcloud ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// Also list what is in the folders below
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Show mode, size and time
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Show at most so many entries of the folder, and where to go on
    #[arg(long, value_name = "N", conflicts_with = "recursive", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Begin behind this name, which need not be there
    #[arg(long, value_name = "NAME", conflicts_with = "recursive", value_hint = ValueHint::Other)]
    pub(crate) after: Option<OsString>,
    /// A folder or file [default: /]
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) path: Option<OsString>,
}

/// A command about one path.
#[derive(Args, Debug)]
pub(crate) struct PathArgs {
    /// Absolute path in the cloud
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) path: OsString,
}

/// A command about one path, or everything.
#[derive(Args, Debug)]
pub(crate) struct OptionalPathArgs {
    /// Absolute path in the cloud [default: /]
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) path: Option<OsString>,
}

/// `xcloud mkdir`.
#[derive(Args, Debug)]
pub(crate) struct MkdirArgs {
    /// Make missing folders above as well; existing ones are no error
    #[arg(short, long)]
    pub(crate) parents: bool,
    /// Folders to make
    #[arg(required = true, value_hint = ValueHint::Other)]
    pub(crate) paths: Vec<OsString>,
}

/// `xcloud mv` and `xcloud cp`.
#[derive(Args, Debug)]
pub(crate) struct MoveArgs {
    /// What, and last where to: a new name, or a folder to put it into
    #[arg(required = true, num_args = 2.., value_names = ["FROM", "TO"], value_hint = ValueHint::Other)]
    pub(crate) paths: Vec<OsString>,
}

/// `xcloud rm`.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Destroy content and earlier versions for good; asks for the recovery phrase
    #[arg(long)]
    pub(crate) purge: bool,
    /// Read the recovery phrase from this file instead of asking
    #[arg(long, value_name = "FILE", requires = "purge", value_hint = ValueHint::FilePath)]
    pub(crate) mnemonic_file: Option<PathBuf>,
    /// What to remove; folders go with everything in them
    #[arg(required = true, value_hint = ValueHint::Other)]
    pub(crate) paths: Vec<OsString>,
}

/// `xcloud verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Ask for every 64 KiB of each shard instead of one at random; as slow as fetching it
    #[arg(long)]
    pub(crate) all: bool,
    /// A file or folder in the cloud
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) path: OsString,
}

/// `xcloud tidy`.
#[derive(Args, Debug)]
pub(crate) struct TidyArgs {
    /// Only tell what there is to do
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `xcloud accept-rollback`.
#[derive(Args, Debug)]
pub(crate) struct RollbackArgs {
    /// Do it; without this, only tell what would be
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_promised_command_lines_parse() {
        for line in [
            "xcloud --home D init --bridge http://127.0.0.1:7400 --mnemonic-file F --yes",
            "xcloud --home D init --bridge http://127.0.0.1:7400 --restore F",
            "xcloud --home D put --class mirrors:3 a b /",
            "xcloud --home D put --class coded:4/8 - /a",
            "xcloud --home D get /a -",
            "xcloud get --range 0-99 /a b",
            "xcloud get --range -7 /a -",
            "xcloud cat --range=-7 /a",
            "xcloud cat --range 5- /a /b",
            "xcloud cat /a",
            "xcloud --home D ls -R --json /a",
            "xcloud --home D ls",
            "xcloud ls --json --limit 100 --after name /a",
            "xcloud where --json /a",
            "xcloud verify --json /a",
            "xcloud verify --all /",
            "xcloud mkdir -p /a/b",
            "xcloud mv /a /b /c",
            "xcloud rm --purge --mnemonic-file F /a",
            "xcloud du",
            "xcloud tidy --dry-run --json",
            "xcloud uploads --json",
            "xcloud uploads --drop 00112233445566778899aabbccddeeff",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "xcloud put a",
            "xcloud get /a",
            "xcloud get --range 7 /a b",
            "xcloud cat --range 9-a /a",
            "xcloud cat",
            "xcloud verify",
            "xcloud init",
            "xcloud init --bridge http://10.0.0.1:1",
            "xcloud init --bridge http://127.0.0.1:1 --mnemonic-file F",
            "xcloud put --class coded:8/4 a /",
            "xcloud rm --mnemonic-file F /a",
            "xcloud uploads --drop 0011",
            "xcloud ls --limit 0 /a",
            "xcloud ls -R --limit 1 /a",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
