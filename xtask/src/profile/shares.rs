//! Samples, sorted by party and by what the time went into.

use std::collections::BTreeMap;

use crate::bench::table;

/// Whose time it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Client,
    Hosts,
    Bridge,
}

/// One sample of perf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample<'a> {
    pub(super) pid: i32,
    symbol: &'a str,
    /// The program, library or kernel it lies in.
    pub(super) object: &'a str,
}

/// What the time went into, and words that its symbols have; the first that fits counts.
const PURPOSES: [(&str, &[&str]); 12] = [
    (
        "seeds of random numbers (AWS-LC)",
        &["jent_", "rol64", "xoshiro128", "uint32rotl", "ptr_to_le32"],
    ),
    (
        "SHA-256",
        &["sha256", "sha2::", "sha_ni", "erasure::hash", "sha512"],
    ),
    (
        "AES: content, seals, TLS",
        &["aes", "ctr::", "gcm", "gctr", "ghash", "chacha"],
    ),
    (
        "signatures and key exchange",
        &[
            "ed25519",
            "x25519",
            "curve25519",
            "p256",
            "ecp_",
            "bignum",
            "fiat_",
        ],
    ),
    ("erasure code", &["erasure::"]),
    (
        "database",
        &["sqlite", "btree", "vdbe", "pager", "metastore", "wal"],
    ),
    ("memory copies of ours", &["memcpy", "memmove", "memset"]),
    (
        "allocator",
        &[
            "malloc",
            "free",
            "realloc",
            "calloc",
            "_int_",
            "unlink_chunk",
            "arena",
        ],
    ),
    (
        "kernel: copies",
        &[
            "copy_user",
            "copy_from",
            "copy_to",
            "rep_movs",
            "copyin",
            "copyout",
            "copy_page",
        ],
    ),
    (
        "kernel: fresh memory",
        &[
            "clear_page",
            "page_fault",
            "charge",
            "folio_",
            "alloc_pages",
            "rmqueue",
            "zap_",
            "mmap",
            "unmap",
        ],
    ),
    (
        "kernel: sockets",
        &[
            "tcp", "skb", "inet", "sock", "ip_", "net_", "epoll", "ep_", "nf_", "loopback", "eth_",
            "dev_",
        ],
    ),
    (
        "kernel: files",
        &[
            "ext4", "jbd2", "blk", "bio_", "iomap", "vfs", "path", "dentry", "d_", "lookup",
            "inode", "fsync", "virtblk", "filp", "open",
        ],
    ),
];

/// How many samples each party spent on what.
#[derive(Debug, Default)]
pub(super) struct Shares {
    purposes: BTreeMap<(Party, &'static str), u64>,
    symbols: BTreeMap<(Party, String), u64>,
}

impl<'a> Sample<'a> {
    /// `PID ADDRESS SYMBOL (OBJECT)`.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let (pid, rest) = line.split_once(char::is_whitespace)?;
        let (_, rest) = rest.trim_start().split_once(' ')?;
        let (symbol, object) = rest.rsplit_once(" (")?;
        Some(Self {
            pid: pid.parse().ok()?,
            symbol,
            object: object.strip_suffix(')')?,
        })
    }

    fn is_of_kernel(&self) -> bool {
        self.object.starts_with('[')
    }

    fn purpose(&self) -> &'static str {
        let symbol = self.symbol.to_lowercase();
        let fits = |(name, words): &&(&str, &[&str])| {
            // The kernel's own purposes are for the kernel alone.
            name.starts_with("kernel") == self.is_of_kernel()
                && words.iter().any(|word| symbol.contains(word))
        };
        let purpose = PURPOSES.iter().find(fits).map(|(name, _)| *name);
        match purpose {
            Some(purpose) => purpose,
            None if self.is_of_kernel() => "kernel: other",
            None => "everything else",
        }
    }
}

impl Shares {
    pub(super) fn add(&mut self, party: Party, sample: &Sample<'_>) {
        *self.purposes.entry((party, sample.purpose())).or_default() += 1;
        *self
            .symbols
            .entry((party, sample.symbol.to_owned()))
            .or_default() += 1;
    }

    /// Prints both, as tables.
    pub(super) fn tell(&self, flow: &str, symbols_max: usize) {
        let all: u64 = self.purposes.values().sum();
        let parties = [Party::Client, Party::Hosts, Party::Bridge];
        let of_party = |party: Party| -> u64 {
            let of = self.purposes.iter().filter(|((of, _), _)| *of == party);
            of.map(|(_, count)| count).sum()
        };
        let title = format!("profile of {flow}: {all} samples, per cent of all");
        table::head(&title, &["into", "client", "Hosts", "Bridge", "together"]);
        let mut names: Vec<&str> = self.purposes.keys().map(|(_, name)| *name).collect();
        let count = |party: Party, name: &str| {
            let found = self
                .purposes
                .iter()
                .find(|((of, what), _)| *of == party && *what == name);
            found.map_or(0, |(_, count)| *count)
        };
        let together = |name: &str| parties.iter().map(|party| count(*party, name)).sum::<u64>();
        names.sort_unstable_by_key(|name| std::cmp::Reverse((together(name), *name)));
        names.dedup();
        for name in names {
            let shares = parties.map(|party| percent(count(party, name), all));
            let cells = [
                vec![name.to_owned()],
                shares.to_vec(),
                vec![percent(together(name), all)],
            ];
            table::row(cells.concat());
        }
        let sums = parties.map(|party| percent(of_party(party), all));
        table::row(
            [
                vec!["all".to_owned()],
                sums.to_vec(),
                vec![percent(all, all)],
            ]
            .concat(),
        );
        for party in parties {
            self.tell_symbols(party, of_party(party), symbols_max);
        }
    }

    fn tell_symbols(&self, party: Party, all: u64, max: usize) {
        let of_party = self.symbols.iter().filter(|((of, _), _)| *of == party);
        let mut symbols: Vec<_> = of_party.map(|((_, name), count)| (*count, name)).collect();
        symbols.sort_unstable_by(|a, b| b.cmp(a));
        println!("\n{party:?}, symbols by per cent of its own {all} samples");
        for (count, name) in symbols.into_iter().take(max) {
            println!("  {:>5}  {name}", percent(count, all));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn percent(count: u64, all: u64) -> String {
    format!("{:.1}", count as f64 * 100.0 / (all.max(1)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_sorted() {
        let purpose = |line: &str| Sample::parse(line).unwrap().purpose();
        let ours = "  12  55d0 <aes::ni::Enc as Block>::run (inlined) (/target/release/xcloud)";
        assert_eq!(Sample::parse(ours).unwrap().pid, 12);
        assert_eq!(
            Sample::parse(ours).unwrap().object,
            "/target/release/xcloud"
        );
        assert_eq!(purpose(ours), "AES: content, seals, TLS");
        assert_eq!(
            purpose("1 ff tcp_sendmsg ([kernel.kallsyms])"),
            "kernel: sockets"
        );
        assert_eq!(
            purpose("1 ff schedule ([kernel.kallsyms])"),
            "kernel: other"
        );
        assert_eq!(purpose("1 ff tcp_of_ours (/bin/xcore)"), "everything else");
        assert_eq!(Sample::parse(""), None);
    }
}
