//! What people do with their computers: when each Host is switched on and off.
//!
//! Three sorts: meant to be on always, with interruptions; on by a weekly schedule that was
//! declared; off every night without a word. All of them are away for long now and then.

use model::wire::Schedule;

use crate::draw::{Draw, whole};
use crate::minutes::{DAY, HOUR, Minute};
use crate::model_figures::Habits;

/// Where Hosts are: hours ahead of UTC, and their share in percent.
const REGIONS: [(u32, u32); 4] = [(1, 40), (18, 30), (8, 20), (10, 10)];
/// First hour, local time, of declared schedules.
const STARTS: [u32; 4] = [7, 9, 12, 16];
/// Hours of a day that are declared.
const LENGTHS: [u32; 3] = [8, 12, 16];
/// First hour, local time, at which nightly Hosts go on, and how long they stay, in minutes.
const NIGHTLY_START: Minute = 9 * HOUR;
const NIGHTLY_ON_MEDIAN: f64 = 600.0;
const NIGHTLY_ON_SIGMA: f64 = 0.4;
/// Nobody is exact: standard deviation of how late it gets, in minutes.
const LATE_MIN: f64 = 20.0;
/// Chance that a scheduled Host is switched off before its hours end.
const EARLY: f64 = 0.05;

/// The sort of a Host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Meant to be on always.
    Always,
    /// On by a declared schedule.
    Scheduled,
    /// Off every night, though that was not declared.
    Nightly,
}

/// A daily window of the week.
#[derive(Clone, Debug)]
struct Pattern {
    schedule: Schedule,
    hours: u32,
    /// Minute of the UTC day at which the window begins.
    start: Minute,
    length: Minute,
    /// Only Monday to Friday.
    weekdays: bool,
}

/// All schedules that Hosts have, by number; the first is "always".
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    all: Vec<Pattern>,
}

impl Habit {
    pub(crate) fn draw(habits: &Habits, draw: &mut Draw) -> Self {
        let drawn = draw.unit();
        if drawn < habits.scheduled {
            Self::Scheduled
        } else if drawn < habits.scheduled + habits.nightly {
            Self::Nightly
        } else {
            Self::Always
        }
    }
}

impl Patterns {
    pub(crate) fn new() -> Self {
        let mut all = vec![Pattern {
            schedule: Schedule::ALWAYS,
            hours: Schedule::ALWAYS.hours(),
            start: 0,
            length: DAY,
            weekdays: false,
        }];
        // In the order in which `draw` counts them.
        for (ahead, _) in REGIONS {
            let starts = STARTS.iter().map(|start| (start + 24 - ahead) % 24);
            let windows = starts.flat_map(|start| LENGTHS.map(|length| (start, length)));
            for (start, length) in windows {
                all.push(Pattern::new(start, length, false));
                all.push(Pattern::new(start, length, true));
            }
        }
        Self { all }
    }

    pub(crate) fn schedule(&self, number: u16) -> &Schedule {
        &self.all[usize::from(number)].schedule
    }

    /// Hours that a schedule promises in a week.
    pub(crate) fn hours(&self, number: u16) -> u32 {
        self.all[usize::from(number)].hours
    }

    pub(crate) fn draw_region(&self, draw: &mut Draw) -> u8 {
        let mut drawn = draw.below(100);
        for (number, (_, share)) in (0..).zip(REGIONS) {
            if drawn < share {
                return number;
            }
            drawn -= share;
        }
        0
    }

    /// The number of a schedule for a Host of this sort.
    pub(crate) fn draw(&self, habit: Habit, region: u8, draw: &mut Draw) -> u16 {
        if habit != Habit::Scheduled {
            return 0;
        }
        let kinds = u32::try_from(STARTS.len() * LENGTHS.len() * 2).unwrap_or(1);
        let number = 1 + u32::from(region) * kinds + draw.below(kinds);
        u16::try_from(number).unwrap_or(0)
    }

    /// How long a Host that was just switched on stays so.
    pub(crate) fn on_for(
        &self,
        (habit, number): (Habit, u16),
        habits: &Habits,
        draw: &mut Draw,
        now: Minute,
    ) -> Minute {
        match habit {
            Habit::Always => whole(draw.weibull(habits.on_scale_min, habits.on_shape)),
            Habit::Nightly => whole(draw.lognormal(NIGHTLY_ON_MEDIAN, NIGHTLY_ON_SIGMA)),
            Habit::Scheduled => {
                let pattern = &self.all[usize::from(number)];
                let into = (now + DAY - pattern.start) % DAY;
                let left = if into < pattern.length {
                    pattern.length - into
                } else {
                    HOUR
                };
                // The program ends with the declared hours by itself; now and then somebody
                // switches the computer off before.
                if draw.chance(EARLY) {
                    whole(f64::from(left) * draw.unit())
                } else {
                    left
                }
            }
        }
    }

    /// How long a Host that was just switched off stays so.
    pub(crate) fn off_for(
        &self,
        (habit, number, region): (Habit, u16, u8),
        habits: &Habits,
        draw: &mut Draw,
        now: Minute,
    ) -> Minute {
        let (absence, usual) = match habit {
            Habit::Always => {
                let off = draw.lognormal(habits.off_median_min, habits.off_sigma);
                (habits.absence, off)
            }
            Habit::Nightly => {
                let (ahead, _) = REGIONS[usize::from(region)];
                let start = (NIGHTLY_START + DAY - ahead * HOUR) % DAY;
                let off = daily(start, false, habits, draw, now);
                (habits.absence_daily, off)
            }
            Habit::Scheduled => {
                let pattern = &self.all[usize::from(number)];
                let off = daily(pattern.start, pattern.weekdays, habits, draw, now);
                (habits.absence_daily, off)
            }
        };
        let long = if draw.chance(absence) {
            draw.pareto(
                habits.absence_least_min,
                habits.absence_alpha,
                habits.absence_most_min,
            )
        } else {
            0.0
        };
        whole(usual + long)
    }
}

/// Until the next day's start that is not skipped.
fn daily(start: Minute, weekdays: bool, habits: &Habits, draw: &mut Draw, now: Minute) -> f64 {
    let mut wait = DAY - (now + DAY - start) % DAY;
    // Whoever is switched off shortly before the start is not meant to come back at once.
    if wait < 2 * HOUR {
        wait += DAY;
    }
    // A week is never skipped whole, so this ends.
    for _ in 0..14 {
        let weekend = weekdays && (now + wait) / DAY % 7 >= 5;
        if !weekend && !draw.chance(habits.day_skipped) {
            break;
        }
        wait += DAY;
    }
    f64::from(wait) + LATE_MIN * draw.normal().abs()
}

impl Pattern {
    /// `length` hours from hour `start` of the UTC day on.
    fn new(start: u32, length: u32, weekdays: bool) -> Self {
        let mut hours = [0_u8; 21];
        for day in 0..7 {
            if weekdays && day >= 5 {
                continue;
            }
            for hour in 0..length {
                let of_week = ((day * 24 + start + hour) % 168) as usize;
                hours[of_week / 8] |= 0x80 >> (of_week % 8);
            }
        }
        let text: String = hours.iter().map(|byte| format!("{byte:02x}")).collect();
        // Written from what it is read to.
        let schedule: Schedule = text.parse().unwrap_or(Schedule::ALWAYS);
        Self {
            hours: schedule.hours(),
            schedule,
            start: start * HOUR,
            length: length * HOUR,
            weekdays,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minutes::moment;

    /// The share of a year that a Host of this sort is on; with a schedule also the share of
    /// promised time.
    fn share_on(habit: Habit) -> (f64, f64) {
        let (patterns, habits, mut draw) = (Patterns::new(), Habits::HOME, Draw::new(9));
        let number = patterns.draw(habit, 1, &mut draw);
        let (mut now, mut on, mut kept, mut promised) = (0, 0.0, 0.0, 0.0);
        let schedule = patterns.schedule(number);
        while now < 50 * 365 * DAY {
            let stays = patterns.on_for((habit, number), &habits, &mut draw, now);
            on += f64::from(stays);
            kept += schedule.promised_ms(moment(now), moment(now + stays)) as f64;
            let off = patterns.off_for((habit, number, 1), &habits, &mut draw, now + stays);
            promised += schedule.promised_ms(moment(now), moment(now + stays + off)) as f64;
            now += stays + off;
        }
        (on / f64::from(now), kept / promised)
    }

    #[test]
    fn hosts_are_on_as_much_as_their_sort_is() {
        let (always, kept) = share_on(Habit::Always);
        assert!((0.94..0.985).contains(&always), "{always}");
        assert!((kept - always).abs() < 1e-9);
        let (nightly, _) = share_on(Habit::Nightly);
        assert!((0.34..0.48).contains(&nightly), "{nightly}");
        let (_, kept) = share_on(Habit::Scheduled);
        assert!((0.80..0.97).contains(&kept), "{kept}");
    }

    #[test]
    fn a_schedule_promises_its_hours() {
        let patterns = Patterns::new();
        assert_eq!(patterns.schedule(0), &Schedule::ALWAYS);
        // The first region is an hour ahead: seven o'clock is six UTC.
        let first = patterns.schedule(1);
        assert_eq!(first.hours(), 56);
        assert!(first.promises(moment(6 * HOUR)) && !first.promises(moment(5 * HOUR)));
        let weekdays = patterns.schedule(2);
        assert_eq!(weekdays.hours(), 40);
    }
}
