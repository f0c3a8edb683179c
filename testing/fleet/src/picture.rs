//! The picture of `docs/durability.md`: nines per class with their bounds, and what it costs.
//! Hand-made SVG; it is read in browsers, light and dark.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{Outcome, QueueRule};

const WIDTH: f64 = 960.0;
const ROW: f64 = 46.0;
const TOP: f64 = 64.0;
/// Where class names end.
const NAMES: f64 = 150.0;
/// Where each panel begins, and how wide it is.
const NINES: (f64, f64) = (NAMES, 300.0);
const COSTS: (f64, f64) = (520.0, 180.0);
const READS: (f64, f64) = (760.0, 180.0);
/// Powers of ten that the panel of unreadable segments spans.
const READS_FROM: f64 = -8.0;
const READS_TO: f64 = -2.0;

/// An outcome, and what it took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// What came of it.
    pub outcome: Outcome,
    /// The queue's rule.
    pub queue: QueueRule,
    /// CPU time, in seconds.
    pub cpu_seconds: f64,
    /// Time by the clock, in seconds.
    pub wall_seconds: f64,
}

/// Text that grows.
struct Svg(String);

impl Svg {
    fn push(&mut self, element: &str) {
        // Writing to a string cannot fail.
        let _written = writeln!(self.0, "{element}");
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, words: &str) {
        self.push(&format!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{words}</text>"#
        ));
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        let width = width.max(1.0);
        self.push(&format!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class}"/>"#
        ));
    }

    fn line(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64), class: &str) {
        self.push(&format!(
            r#"<line x1="{x:.1}" y1="{y:.1}" x2="{to_x:.1}" y2="{to_y:.1}" class="{class}"/>"#
        ));
    }
}

/// Draws outcomes, one a row.
#[must_use]
pub fn picture(runs: &[Run]) -> String {
    let height = TOP + ROW * runs.len() as f64 + 40.0;
    let mut svg = Svg(String::new());
    svg.push(&format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">"#
    ));
    svg.push(STYLE);
    let most = |of: fn(&Outcome) -> f64| {
        let values = runs.iter().map(|run| of(&run.outcome));
        values.fold(1.0, f64::max)
    };
    let nines_most = most(|outcome| outcome.nines_high.unwrap_or(outcome.nines_low + 0.5)).ceil();
    let cost_most = most(|outcome| outcome.repair_bytes_per_host_day / 1e9);
    let bottom = TOP + ROW * runs.len() as f64;
    titles(&mut svg);
    for nines in 0..=20_u8 {
        let value = f64::from(nines);
        if value <= nines_most {
            let x = NINES.0 + NINES.1 * value / nines_most;
            svg.line((x, TOP - 8.0), (x, bottom), "grid");
            svg.text((x, bottom + 16.0), "middle", &nines.to_string());
        }
    }
    for power in [-8, -6, -4, -2_i32] {
        let x = read_at(10_f64.powi(power));
        svg.line((x, TOP - 8.0), (x, bottom), "grid");
        svg.text((x, bottom + 16.0), "middle", &format!("1e{power}"));
    }
    for (run, row) in runs.iter().zip(0_u16..) {
        let y = TOP + ROW * f64::from(row);
        draw_row(&mut svg, &run.outcome, y, (nines_most, cost_most));
    }
    svg.push("</svg>");
    svg.0
}

const STYLE: &str = "<style>
svg { background: #ffffff; fill: #1f2328; }
.grid { stroke: #d0d7de; } .whisker { stroke: #0b4a8f; stroke-width: 2; }
.nines { fill: #4c8fd6; } .cost { fill: #d99a3d; } .mean { fill: #2f8f5b; } .worst { fill: #b8433a; }
.small { font-size: 11px; fill: #57606a; }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117; fill: #e6edf3; } .grid { stroke: #30363d; } .whisker { stroke: #a5d0ff; }
.small { fill: #8b949e; } }
</style>";

fn titles(svg: &mut Svg) {
    for ((x, _), title, below) in [
        (
            NINES,
            "durability",
            "nines per segment and year; whiskers: 95 %",
        ),
        (COSTS, "repair", "GB per host and day"),
        (
            READS,
            "unreadable now",
            "of segments: mean green, worst red",
        ),
    ] {
        svg.push(&format!(
            r#"<text x="{x:.1}" y="20" font-weight="bold">{title}</text>"#
        ));
        svg.push(&format!(
            r#"<text x="{x:.1}" y="38" class="small">{below}</text>"#
        ));
    }
}

fn draw_row(svg: &mut Svg, outcome: &Outcome, y: f64, (nines_most, cost_most): (f64, f64)) {
    let middle = y + 14.0;
    svg.text((NAMES - 10.0, middle), "end", &outcome.class);
    svg.push(&format!(
        r#"<text x="{:.1}" y="{:.1}" text-anchor="end" class="small">{} hosts</text>"#,
        NAMES - 10.0,
        middle + 14.0,
        outcome.hosts
    ));
    let at = |nines: f64| NINES.0 + NINES.1 * (nines / nines_most).clamp(0.0, 1.0);
    svg.bar((NINES.0, y), (at(outcome.nines) - NINES.0, 20.0), "nines");
    let (low, high) = (outcome.nines_low, outcome.nines_high.unwrap_or(nines_most));
    svg.line((at(low), y + 10.0), (at(high), y + 10.0), "whisker");
    svg.line((at(low), y + 4.0), (at(low), y + 16.0), "whisker");
    if outcome.nines_high.is_some() {
        svg.line((at(high), y + 4.0), (at(high), y + 16.0), "whisker");
    }
    let sign = if outcome.losses == 0 { "&gt; " } else { "" };
    let lost = format!("{sign}{:.1} ({} lost)", outcome.nines, outcome.losses);
    svg.push(&format!(
        r#"<text x="{:.1}" y="{:.1}" class="small">{lost}</text>"#,
        NINES.0,
        y + 32.0
    ));
    let cost = outcome.repair_bytes_per_host_day / 1e9;
    svg.bar((COSTS.0, y), (COSTS.1 * cost / cost_most, 20.0), "cost");
    svg.push(&format!(
        r#"<text x="{:.1}" y="{:.1}" class="small">{cost:.1}, {:.1} % of upload</text>"#,
        COSTS.0,
        y + 32.0,
        100.0 * outcome.repair_share_of_bandwidth
    ));
    for (share, class, down) in [
        (outcome.unreadable_mean, "mean", 0.0),
        (outcome.unreadable_worst, "worst", 11.0),
    ] {
        svg.bar((READS.0, y + down), (read_at(share) - READS.0, 9.0), class);
    }
}

/// Where a share of unreadable segments lies; what is below the axis lies at its beginning.
fn read_at(share: f64) -> f64 {
    let power = share.max(1e-300).log10().clamp(READS_FROM, READS_TO);
    READS.0 + READS.1 * (power - READS_FROM) / (READS_TO - READS_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_row() {
        let run = |class: &str, losses| Run {
            outcome: Outcome {
                class: class.to_owned(),
                losses,
                nines: 5.2,
                nines_low: 5.0,
                nines_high: (losses > 0).then_some(5.5),
                ..Outcome::default()
            },
            queue: QueueRule::Urgent,
            cpu_seconds: 1.0,
            wall_seconds: 1.0,
        };
        let drawn = picture(&[run("mirrors:3", 7), run("coded:16/32", 0)]);
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
        assert!(drawn.contains("mirrors:3") && drawn.contains("&gt; 5.2 (0 lost)"));
        assert_eq!(drawn.matches("<rect").count(), 8);
    }
}
