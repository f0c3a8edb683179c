//! `cargo xtask fleet`: builds the durability simulation with optimisation and runs it.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::cargo;

/// Options of `cargo xtask fleet`.
#[derive(Args)]
pub(crate) struct Options {
    /// Hosts at a time [default: 100000]
    #[arg(long, value_name = "N")]
    hosts: Option<u32>,
    /// Segments that are watched [default: as many as Hosts]
    #[arg(long, value_name = "S")]
    segments: Option<u32>,
    /// mirrors:N, coded:K/N, or all of docs/durability.md [default: all]
    #[arg(long)]
    class: Option<String>,
    /// Years [default: 1]
    #[arg(long, value_name = "Y")]
    years: Option<f64>,
    /// Everything random follows from it [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What to compare: classes, patience (giving Hosts up after 1 h, 24 h, 72 h), queue, or history
    /// (placement by what Hosts keep of what they declare) [default: classes]
    #[arg(long)]
    study: Option<String>,
    /// Ten thousand Hosts for two months: some seconds
    #[arg(long)]
    quick: bool,
    /// Write the outcomes to this file
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Draw the outcomes of these files, made with --json, instead of simulating
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "svg")]
    from: Vec<String>,
    /// Draw the outcomes to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<String>,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let mut command = cargo();
    command.current_dir(root);
    command.args(["run", "--quiet", "--profile", "fleet", "-p", "fleet", "--"]);
    command.args(options.arguments());
    Ok(command.status().context("cargo cannot be run")?.success())
}

impl Options {
    /// As the simulation takes them.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let valued = [
            ("--hosts", self.hosts.map(|hosts| hosts.to_string())),
            ("--segments", self.segments.map(|some| some.to_string())),
            ("--class", self.class.clone()),
            ("--years", self.years.map(|years| years.to_string())),
            ("--seed", self.seed.map(|seed| seed.to_string())),
            ("--study", self.study.clone()),
            ("--json", self.json.clone()),
            ("--svg", self.svg.clone()),
        ];
        for (name, value) in valued {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value]);
            }
        }
        if self.quick {
            arguments.push("--quick".to_owned());
        }
        if !self.from.is_empty() {
            arguments.push("--from".to_owned());
            arguments.extend(self.from.iter().cloned());
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn options_are_passed_on() {
        let given = "fleet --hosts 500 --class coded:4/8 --years 0.5 --quick --json o.json";
        let line = Line::parse_from(given.split(' '));
        let passed = line.options.arguments().join(" ");
        assert_eq!(
            passed,
            "--hosts 500 --class coded:4/8 --years 0.5 --json o.json --quick"
        );
    }
}
