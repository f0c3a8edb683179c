//! Runs the simulation: `cargo xtask fleet` builds this with optimisation and calls it.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use fleet::picture::{Run, picture};
use fleet::{Model, Outcome, QueueRule, simulate};
use model::formats::shape::Class;

/// The classes that `--class all` means: mirrors, and what networks of each size get.
const CLASSES: [Class; 5] = [
    Class::Mirrors { n: 3 },
    Class::Mirrors { n: 5 },
    Class::Coded { k: 4, n: 8 },
    Class::Coded { k: 10, n: 20 },
    Class::Coded { k: 16, n: 32 },
];
const HOUR_MS: u64 = 3_600_000;

/// Simulate years of a fleet of home computers with the Bridge's own decisions
#[derive(Debug, Parser)]
#[command(name = "fleet")]
struct Options {
    /// Hosts at a time
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=4_000_000))]
    hosts: u32,
    /// Segments that are watched [default: as many as Hosts]
    #[arg(long)]
    segments: Option<u32>,
    /// mirrors:N, coded:K/N, or all of docs/durability.md
    #[arg(long, default_value = "all")]
    class: String,
    /// Years
    #[arg(long, default_value_t = 1.0)]
    years: f64,
    /// Everything random follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What to compare
    #[arg(long, value_enum, default_value_t = Study::Classes)]
    study: Study,
    /// Ten thousand Hosts for two months
    #[arg(long)]
    quick: bool,
    /// Write the outcomes to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the picture of these outcomes instead of simulating: files of `--json`
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "svg")]
    from: Vec<PathBuf>,
    /// Draw the outcomes to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Study {
    /// Classes.
    Classes,
    /// Giving silent Hosts up after an hour, a day, and three days.
    Patience,
    /// The queue, and one that waits for its first segment.
    Queue,
    /// Placement by what Hosts declare, and by what they keep of it.
    History,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let runs = if options.from.is_empty() {
        simulate_all(&options)?
    } else {
        read(&options.from)?
    };
    if let Some(path) = &options.json {
        let text = serde_json::to_vec_pretty(&runs)?;
        write(path, &text)?;
    }
    if let Some(path) = &options.svg {
        write(path, picture(&runs).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn simulate_all(options: &Options) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for model in models(options)? {
        let (began, cpu) = (Instant::now(), cpu_seconds());
        let outcome = simulate(&model);
        let run = Run {
            wall_seconds: began.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - cpu,
            queue: model.queue,
            outcome,
        };
        tell(&run);
        runs.push(run);
    }
    Ok(runs)
}

fn tell(run: &Run) {
    let Run { outcome, .. } = run;
    let lines = Outcome::lines(outcome);
    for line in lines {
        println!("{line}");
    }
    let queue = match run.queue {
        QueueRule::Urgent => "",
        QueueRule::WaitForFirst => "; the queue waits for its first segment",
    };
    println!(
        "  {:.0} s of CPU, {:.0} s{queue}",
        run.cpu_seconds, run.wall_seconds
    );
}

fn models(options: &Options) -> Result<Vec<Model>> {
    let classes = match options.class.as_str() {
        "all" => CLASSES.to_vec(),
        class => vec![class.parse::<Class>()?],
    };
    let (hosts, days) = if options.quick {
        (10_000, 60.0)
    } else {
        (options.hosts, options.years * 365.0)
    };
    if !(1.0..=36_500.0).contains(&days) {
        bail!("between one day and a hundred years can be simulated");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within bounds"
    )]
    let days = days as u32;
    let segments = options.segments.unwrap_or(hosts);
    let model = |class| {
        let mut model = Model::new(class, hosts, segments, options.seed);
        model.days = days;
        model
    };
    let mut models = Vec::new();
    for class in classes {
        match options.study {
            Study::Classes => models.push(model(class)),
            Study::Patience => models.extend([1, 24, 72].map(|hours| {
                let mut model = model(class);
                model.timing.lost_after_ms = hours * HOUR_MS;
                let absent = model.timing.absent_after_ms.min(hours * HOUR_MS);
                model.timing.absent_after_ms = absent;
                model
            })),
            Study::History => models.extend([false, true].map(|history| {
                let mut model = model(class);
                model.history = history;
                model
            })),
            Study::Queue => {
                models.extend([QueueRule::Urgent, QueueRule::WaitForFirst].map(|queue| {
                    let mut model = model(class);
                    model.queue = queue;
                    model
                }));
            }
        }
    }
    Ok(models)
}

fn read(paths: &[PathBuf]) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in paths {
        let text = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        let some: Vec<Run> = serde_json::from_slice(&text)?;
        runs.extend(some);
    }
    Ok(runs)
}

fn write(path: &std::path::Path, text: &[u8]) -> Result<()> {
    shardstore::durable::replace(path, text).with_context(|| format!("{}", path.display()))
}

/// What this process has used of processors, by the kernel's count in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold spaces: the 12th and 13th field.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
