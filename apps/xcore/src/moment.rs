//! Times of day as people read and write them, always in UTC.

use anyhow::{Context as _, bail};
use model::units::UnixMs;
use time::{Date, Month, OffsetDateTime, Time};

/// `2026-12-01 08:30:00 UTC`.
pub(crate) fn text(at: UnixMs) -> String {
    let seconds = i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX);
    let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds) else {
        return format!("{} ms after 1970", at.0);
    };
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// Reads `2026-12-01`, `2026-12-01 08:30` or `2026-12-01T08:30:00Z`.
pub(crate) fn parse(text: &str) -> anyhow::Result<UnixMs> {
    let how = || format!("`{text}` is no time: say 2026-12-01T08:30Z, in UTC, or 2026-12-01");
    let plain = text.trim().trim_end_matches("UTC").trim_end();
    let plain = plain.strip_suffix('Z').unwrap_or(plain);
    let (date, time) = match plain.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time.trim())),
        None => (plain, None),
    };
    let [year, month, day] = numbers(date, '-')
        .and_then(|parts| parts.try_into().ok())
        .with_context(how)?;
    let (hour, minute, second) = match time.map(|time| numbers(time, ':')) {
        None => (0, 0, 0),
        Some(Some(parts)) => match parts[..] {
            [hour, minute] => (hour, minute, 0),
            [hour, minute, second] => (hour, minute, second),
            _ => bail!(how()),
        },
        Some(None) => bail!(how()),
    };
    let small = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    let month = Month::try_from(small(month)).with_context(how)?;
    let date = Date::from_calendar_date(year, month, small(day)).with_context(how)?;
    let time = Time::from_hms(small(hour), small(minute), small(second)).with_context(how)?;
    let seconds = date.with_time(time).assume_utc().unix_timestamp();
    let seconds = u64::try_from(seconds).ok().with_context(how)?;
    Ok(UnixMs(seconds.saturating_mul(1_000)))
}

fn numbers(text: &str, between: char) -> Option<Vec<i32>> {
    let digits = |part: &str| {
        let all = !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
        all.then(|| part.parse().ok()).flatten()
    };
    text.split(between).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_shown() {
        let at = UnixMs(1_796_114_096_000);
        assert_eq!(text(at), "2026-12-01 08:34:56 UTC");
        for spelt in ["2026-12-01 08:34:56 UTC", "2026-12-01T08:34:56Z"] {
            assert_eq!(parse(spelt).unwrap(), at, "{spelt}");
        }
        assert_eq!(
            text(parse("2026-12-01T08:30Z").unwrap()),
            "2026-12-01 08:30:00 UTC"
        );
        assert_eq!(
            text(parse("2026-12-01").unwrap()),
            "2026-12-01 00:00:00 UTC"
        );
        for wrong in [
            "",
            "tomorrow",
            "2026-13-01",
            "2026-12-32",
            "2026-12-01T25:00",
            "1-2",
            "2026-12-01T8",
        ] {
            let refused = parse(wrong).unwrap_err().to_string();
            assert!(refused.contains("is no time"), "{wrong}: {refused}");
        }
    }
}
