//! What chaos does: one event at a time, where every file survives it, and its end.

use std::ffi::OsString;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::hosts::Mood;
use super::{Campaign, MARGIN, Talk, say};
use crate::network::Patience;
use crate::node::{LOOK_EVERY, Node};
use crate::owner::Owner;
use crate::shards::stored_shards;

/// What is done, as often as it stands here.
const KINDS: [Kind; 14] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Freeze,
    Kind::Freeze,
    Kind::Pause,
    Kind::Skew,
    Kind::Die,
    Kind::Damage,
    Kind::Leave,
    Kind::KillBridge,
    Kind::KillBridge,
    Kind::FreezeBridge,
    Kind::RestartBridge,
];
/// Events that are tried until one is possible.
const TRIES: u32 = 4;
/// How long a Host is disturbed: sometimes long enough to count as absent.
const DISTURBED_MS: (u64, u64) = (2_000, 26_000);
/// How long the place of a dead Host stays empty.
const EMPTY_MS: (u64, u64) = (5_000, 30_000);
const BRIDGE_FROZEN_MAX_MS: u64 = 3_000;
/// Clocks are wrong by at most so many minutes, either way.
const SKEW_MINUTES_MAX: u64 = 600;
/// One byte in so many is flipped in a damaged shard: every leaf is.
const FLIP_EVERY_BYTES: usize = 40_009;
/// Between two looks whether damage is made good.
const LOOK_AFTER_DAMAGE_EVERY: Duration = Duration::from_secs(4);
/// Everybody is back within this, also who has just begun to leave.
const BACK_WITHIN: Duration = Duration::from_secs(120);
/// Nothing takes longer, unless it never happens.
const WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Freeze,
    Pause,
    Skew,
    Die,
    Damage,
    Leave,
    KillBridge,
    FreezeBridge,
    RestartBridge,
}

impl Campaign<'_> {
    /// One event that every file survives, if there is one.
    pub(super) fn act(&mut self, talk: &mut Talk<'_>) -> Result<()> {
        for _ in 0..TRIES {
            let kind = self.dice.pick(&KINDS).copied().unwrap_or(Kind::Kill);
            let done = match kind {
                Kind::KillBridge | Kind::FreezeBridge | Kind::RestartBridge => {
                    self.bridge(kind, talk)?;
                    true
                }
                Kind::Leave => self.leave(talk)?,
                _ => self.host(kind, talk)?,
            };
            if done {
                break;
            }
        }
        Ok(())
    }

    fn bridge(&mut self, kind: Kind, talk: &mut Talk<'_>) -> Result<()> {
        let patience = Patience::within(WITHIN);
        match kind {
            Kind::FreezeBridge => {
                let ms = self.dice.below(BRIDGE_FROZEN_MAX_MS);
                self.planet.bridge().freeze()?;
                self.tell(
                    "bridge frozen",
                    &format!("the bridge freezes for {ms} ms"),
                    talk,
                );
                sleep(Duration::from_millis(ms));
                return self.planet.bridge().thaw();
            }
            Kind::RestartBridge => {
                self.planet.bridge().ask_to_end()?;
                self.planet.bridge().wait_to_end(WITHIN);
                self.tell("bridge restarted", "the bridge ends and starts again", talk);
            }
            _ => {
                self.planet.bridge().kill();
                self.tell(
                    "bridge killed",
                    "kill -9 of the bridge; it starts again",
                    talk,
                );
            }
        }
        self.planet.start_bridge(patience)
    }

    fn leave(&mut self, talk: &mut Talk<'_>) -> Result<bool> {
        let enough = self.hosts.leaving().is_empty() && !self.hosts.is_something_destroyed();
        let Some(number) = self.hosts.pick(&mut self.dice).filter(|_| enough) else {
            return Ok(false);
        };
        self.planet.tell_host(number, ["exit", "--detach"])?;
        self.hosts.set(number, Mood::Leaving, None);
        self.tell("leaving", &format!("h{} leaves", number + 1), talk);
        Ok(true)
    }

    fn host(&mut self, kind: Kind, talk: &mut Talk<'_>) -> Result<bool> {
        let Some(number) = self.hosts.pick(&mut self.dice) else {
            return Ok(false);
        };
        let destroys = matches!(kind, Kind::Die | Kind::Damage);
        let too_much = destroys && self.hosts.is_something_destroyed();
        let impossible = kind == Kind::Skew && self.chaos.faketime.is_none();
        if too_much || impossible || !self.hosts.may_disturb_more() {
            return Ok(false);
        }
        // A file may be gone between two questions, or the Bridge away: then nothing is risked.
        if !self.can_spare(number).unwrap_or(false) {
            return Ok(false);
        }
        let span = self.draw_span(if kind == Kind::Die {
            EMPTY_MS
        } else {
            DISTURBED_MS
        });
        let (name, seconds) = (format!("h{}", number + 1), span.as_secs());
        let (mood, event, what) = match kind {
            Kind::Freeze => {
                self.node(number)?.freeze()?;
                let what = format!("{name} freezes for {seconds} s");
                (Mood::Frozen, "frozen", what)
            }
            Kind::Pause => {
                self.planet.tell_host(number, ["pause"])?;
                (
                    Mood::Paused,
                    "paused",
                    format!("{name} rests for {seconds} s"),
                )
            }
            Kind::Skew => {
                let skew = self.skew(number)?;
                let what = format!("{name}'s clock jumps by {skew} minutes for {seconds} s");
                (Mood::Skewed, "clock wrong", what)
            }
            Kind::Die => {
                self.node(number)?.kill();
                self.forget(number)?;
                let what = format!("{name} dies for good; another takes its place in {seconds} s");
                (Mood::Dead, "died", what)
            }
            Kind::Damage => {
                let shards = self.damage(number)?;
                let what = format!("{name} is restarted with {shards} damaged shards");
                (Mood::Damaged, "damaged", what)
            }
            _ => {
                self.node(number)?.kill();
                (
                    Mood::Killed,
                    "killed",
                    format!("kill -9 of {name} for {seconds} s"),
                )
            }
        };
        // What is damaged is well when all of it is made anew.
        let span = (mood != Mood::Damaged).then_some(span);
        self.hosts.set(number, mood, span);
        self.tell(event, &what, talk);
        Ok(true)
    }

    /// Whether every file survives without this Host and all that are disturbed.
    fn can_spare(&self, number: usize) -> Result<bool> {
        let mut away = self.hosts.disturbed();
        away.insert(number);
        let away: Vec<String> = away.into_iter().map(|it| format!("h{}", it + 1)).collect();
        for path in self.owner.files()? {
            for segment in self.owner.segments(&path)? {
                let keepers = segment.keepers().into_iter();
                let left = keepers.filter(|keeper| !away.iter().any(|it| it == keeper));
                if left.count() < usize::from(segment.k + MARGIN) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Ends what has lasted long enough, or is over by itself.
    pub(super) fn end_what_is_due(&mut self, talk: &mut Talk<'_>) -> Result<()> {
        for (number, mood) in self.hosts.due(false) {
            self.end(number, mood, talk)?;
        }
        for number in self.hosts.leaving() {
            let events = self.planet.host_events(number)?;
            if events.iter().any(|event| event.kind == "leaving_done") {
                self.node(number)?.ask_to_end()?;
                self.node(number)?.wait_to_end(WITHIN);
                self.forget(number)?;
                self.node(number)?.start()?;
                self.hosts.set(number, Mood::Well, None);
                let what = format!("h{0} has left; a new h{0} joins", number + 1);
                self.tell("left and joined", &what, talk);
            }
        }
        if self.looked.elapsed() >= LOOK_AFTER_DAMAGE_EVERY {
            self.look_after_the_damaged(talk);
            self.looked = Instant::now();
        }
        Ok(())
    }

    /// The damage is made good when no proof fails any more: every leaf of it was damaged.
    fn look_after_the_damaged(&mut self, talk: &mut Talk<'_>) {
        let damaged = self.hosts.damaged_now();
        let proves = |owner: &Owner| {
            owner
                .proofs("/")
                .is_ok_and(|(proofs, _)| proofs.failed == 0)
        };
        if damaged.is_empty() || !proves(self.owner) {
            return;
        }
        for number in damaged {
            self.hosts.set(number, Mood::Well, None);
            let what = format!("what h{} had damaged is made good", number + 1);
            say(self.began, &what, talk);
        }
    }

    /// Everybody is there again.
    pub(super) fn end_everything(&mut self, talk: &mut Talk<'_>) -> Result<()> {
        for (number, mood) in self.hosts.due(true) {
            self.end(number, mood, talk)?;
        }
        let began = Instant::now();
        // Who was leaving may have left meanwhile: another takes its place.
        while self.planet.online().ok() != u64::try_from(self.hosts.len()).ok() {
            self.end_what_is_due(talk)?;
            self.planet.check_alive()?;
            ensure!(began.elapsed() < BACK_WITHIN, "not everybody came back");
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn end(&mut self, number: usize, mood: Mood, talk: &mut Talk<'_>) -> Result<()> {
        let name = format!("h{}", number + 1);
        let what = match mood {
            Mood::Frozen => {
                self.node(number)?.thaw()?;
                "goes on"
            }
            Mood::Paused => {
                self.planet.tell_host(number, ["resume"])?;
                "is back from its rest"
            }
            Mood::Skewed => {
                let node = self.node(number)?;
                node.kill();
                node.set_environment(Vec::new());
                node.start()?;
                "has the right clock again"
            }
            _ => {
                self.node(number)?.start()?;
                "starts again"
            }
        };
        self.hosts.set(number, Mood::Well, None);
        say(self.began, &format!("{name} {what}"), talk);
        Ok(())
    }

    /// Restarts a Host with another clock; returns by how many minutes it is wrong.
    fn skew(&mut self, number: usize) -> Result<i64> {
        let library = self.chaos.faketime.clone().context("no faketime")?;
        let minutes = i64::try_from(self.dice.below(2 * SKEW_MINUTES_MAX))?;
        let minutes = minutes - i64::try_from(SKEW_MINUTES_MAX)?;
        let pairs: [(&str, OsString); 3] = [
            ("LD_PRELOAD", library.into()),
            ("FAKETIME", format!("{minutes:+}m").into()),
            // Spans are measured by the clock that never jumps.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ];
        let node = self.node(number)?;
        node.kill();
        node.set_environment(pairs.map(|(name, value)| (name.into(), value)).into());
        node.start()?;
        Ok(minutes)
    }

    /// Damages a third of what a Host keeps while it is stopped; returns how many shards.
    fn damage(&mut self, number: usize) -> Result<usize> {
        self.node(number)?.kill();
        let data = self.data(number)?;
        let mut damaged = 0;
        for shard in stored_shards(&data)?.iter().step_by(3) {
            shard.bend(FLIP_EVERY_BYTES)?;
            damaged += 1;
        }
        self.node(number)?.start()?;
        Ok(damaged)
    }

    /// What a Host kept, and who it was, is gone.
    fn forget(&mut self, number: usize) -> Result<()> {
        self.hosts.replaced(number);
        fs::remove_dir_all(self.data(number)?).context("removing a host's data")
    }

    fn data(&self, number: usize) -> Result<std::path::PathBuf> {
        let place = self.planet.layout().hosts().into_iter().nth(number);
        Ok(place.context("no such host")?.data)
    }

    fn node(&mut self, number: usize) -> Result<&mut Node> {
        self.planet.hosts().get_mut(number).context("no such host")
    }

    fn draw_span(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.dice.below(most - least))
    }
}
