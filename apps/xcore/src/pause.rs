//! `xcore pause`, `resume` and `schedule`: when a Host is to rest. A running one heeds it within a
//! second, one that does not run when it starts.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use host::{Environment as _, Pause, SystemEnvironment, Wishes};
use model::units::UnixMs;
use model::wire::Schedule;
use runtime::Span;

use crate::{config, moment};

/// Options of `xcore pause`.
#[derive(Debug, Args)]
pub(crate) struct PauseFlags {
    /// Data folder of the Host [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// For how long, `1h` say [default: until `xcore resume`].
    #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
    span: Option<Span>,
    /// Until when, in UTC: `2026-12-01T08:30Z` or `2026-12-01`.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

/// Options of `xcore resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeFlags {
    /// Data folder of the Host [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Options of `xcore schedule`.
#[derive(Debug, Args)]
pub(crate) struct ScheduleFlags {
    /// Data folder of the Host [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Hours to be there: `always`, or 42 hexadecimal characters, one bit an hour from Monday
    /// 00:00 UTC.
    #[arg(value_name = "HOURS", required_unless_present = "default")]
    hours: Option<String>,
    /// Back to the hours that the Host is started with.
    #[arg(long, conflicts_with = "hours")]
    default: bool,
}

/// Has the Host in the data folder rest.
pub(crate) fn pause(flags: &PauseFlags) -> anyhow::Result<()> {
    let now = SystemEnvironment.now();
    let until = end(flags, now)?;
    let data = flags.data.clone().map_or_else(config::default_data, Ok)?;
    Wishes::change(&data, |wishes| wishes.pause = Some(Pause { until }))?;
    let until = until.map(|until| format!("until {}", moment::text(until)));
    let until = until.unwrap_or_else(|| "until `xcore resume`".to_owned());
    say(&format!(
        "paused {until}: no shards are taken or served; bridges count it as absence"
    ))
}

fn end(flags: &PauseFlags, now: UnixMs) -> anyhow::Result<Option<UnixMs>> {
    let until = match (&flags.until, flags.span) {
        (Some(text), _) => moment::parse(text).context("--until")?,
        (None, Some(span)) => now.plus_ms(span.ms()),
        (None, None) => return Ok(None),
    };
    anyhow::ensure!(until > now, "{} has passed already", moment::text(until));
    Ok(Some(until))
}

/// Ends a pause of the Host in the data folder.
pub(crate) fn resume(flags: &ResumeFlags) -> anyhow::Result<()> {
    let data = flags.data.clone().map_or_else(config::default_data, Ok)?;
    Wishes::change(&data, |wishes| wishes.pause = None)?;
    say("no pause any more")
}

/// Gives the Host in the data folder other hours.
pub(crate) fn schedule(flags: &ScheduleFlags) -> anyhow::Result<()> {
    let hours = flags.hours.as_deref().filter(|_| !flags.default);
    let schedule = hours.map(parse).transpose()?;
    let data = flags.data.clone().map_or_else(config::default_data, Ok)?;
    Wishes::change(&data, |wishes| wishes.schedule = schedule)?;
    say(&match schedule {
        Some(schedule) => format!("{} hours of the week from now on", schedule.hours()),
        None => "the hours that the host is started with".to_owned(),
    })
}

fn parse(text: &str) -> anyhow::Result<Schedule> {
    let schedule: Schedule = text.parse()?;
    anyhow::ensure!(
        schedule.hours() > 0,
        "the schedule promises no hour of the week; `xcore pause` rests for a while, `xcore exit` leaves"
    );
    Ok(schedule)
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{Cli, Command};

    const NOW: UnixMs = UnixMs(1_796_114_096_000);

    fn paused(args: &str) -> anyhow::Result<Option<UnixMs>> {
        let args = ["xcore", "pause"]
            .into_iter()
            .chain(args.split_whitespace());
        match Cli::try_parse_from(args)?.command {
            Command::Pause(flags) => end(&flags, NOW),
            other => anyhow::bail!("not a pause: {other:?}"),
        }
    }

    #[test]
    fn a_pause_has_an_end_or_none_and_never_a_past_one() {
        assert_eq!(paused("--data d").unwrap(), None);
        assert_eq!(paused("--for 1h").unwrap(), Some(NOW.plus_ms(3_600_000)));
        let until = paused("--until 2026-12-01T08:34:57Z").unwrap();
        assert_eq!(until, Some(NOW.plus_ms(1_000)));
        let past = paused("--until 2026-12-01").unwrap_err();
        assert_eq!(
            past.to_string(),
            "2026-12-01 00:00:00 UTC has passed already"
        );
        assert!(paused("--for 1h --until 2027-01-01").is_err());
        assert!(paused("--for soon").is_err());
    }

    #[test]
    fn hours_are_checked_before_a_host_heeds_them() {
        assert_eq!(parse("always").unwrap(), Schedule::ALWAYS);
        let never = parse(&"0".repeat(42)).unwrap_err().to_string();
        assert!(
            never.starts_with("the schedule promises no hour"),
            "{never}"
        );
        let flags = |args: &[&str]| Cli::try_parse_from([&["xcore", "schedule"], args].concat());
        assert!(flags(&["always"]).is_ok() && flags(&["--default"]).is_ok());
        assert!(flags(&[]).is_err() && flags(&["always", "--default"]).is_err());
    }

    #[test]
    fn what_is_wished_is_written_down() {
        let data = tempfile::tempdir().unwrap();
        let folder = || Some(data.path().to_owned());
        let first_hour = format!("8{}", "0".repeat(41));
        schedule(&ScheduleFlags {
            data: folder(),
            hours: Some(first_hour.clone()),
            default: false,
        })
        .unwrap();
        pause(&PauseFlags {
            data: folder(),
            span: None,
            until: None,
        })
        .unwrap();
        let wishes = Wishes::read(data.path()).unwrap();
        assert_eq!(wishes.pause, Some(Pause { until: None }));
        assert_eq!(wishes.schedule.unwrap().to_string(), first_hour);
        resume(&ResumeFlags { data: folder() }).unwrap();
        schedule(&ScheduleFlags {
            data: folder(),
            hours: None,
            default: true,
        })
        .unwrap();
        assert_eq!(Wishes::read(data.path()).unwrap(), Wishes::default());
    }
}
