//! `xcloud where`.

use std::collections::BTreeMap;

use client::drive::Drive;
use client::drive::locate::{PlacedHost, PlacedSegment, Spread, Whereabouts};
use client::transfer::{Environment as _, SystemEnvironment};
use model::units::UnixMs;
use serde::Serialize;

use super::remote;
use crate::cli::PathArgs;
use crate::exit::{Exit, Failure};
use crate::printer::{ExactPath, Printer, human_bytes};

#[derive(Serialize)]
struct WhereReport {
    #[serde(flatten)]
    path: ExactPath,
    size: u64,
    inline: bool,
    blob: Option<String>,
    class: Option<String>,
    k: Option<u16>,
    n: Option<u16>,
    survives: Option<u64>,
    segments: Vec<SegmentReport>,
}

#[derive(Serialize)]
struct SegmentReport {
    segment: u64,
    k: u16,
    n: u16,
    live: u64,
    inconsistent: bool,
    shards: Vec<ShardReport>,
}

#[derive(Serialize)]
struct ShardReport {
    index: usize,
    id: String,
    host: Option<String>,
    name: Option<String>,
    zone: Option<String>,
    region: Option<String>,
    online: bool,
    /// When its Host last proved to the Bridge what it keeps, in milliseconds since 1970.
    proved: Option<u64>,
}

pub(super) async fn locate(
    drive: &Drive,
    args: PathArgs,
    printer: Printer,
) -> Result<Exit, Failure> {
    let typed = remote(&args.path)?;
    let found = drive.locate(&typed.path).await?;
    if printer.json {
        printer.value(&report(ExactPath::from(&typed.path), &found))?;
        return Ok(Exit::Done);
    }
    match &found {
        Whereabouts::Tree(bytes) => {
            let bytes = human_bytes(*bytes);
            printer.line(format!(
                "{bytes} in the sealed tree, which the bridge keeps; no shards"
            ))?;
        }
        Whereabouts::Hosts(spread) => show(spread, printer)?,
    }
    Ok(Exit::Done)
}

fn show(spread: &Spread, printer: Printer) -> Result<(), Failure> {
    let (size, count) = (human_bytes(spread.length), spread.segments.len());
    let now = SystemEnvironment.now();
    printer.line(format!("{size} in {count} segments, {}", spread.class))?;
    for segment in &spread.segments {
        let (k, n, live) = (spread.class.k(), spread.class.n(), segment.live());
        printer.line(format!(
            "segment {}: {live} of {n} shards live, {k} needed",
            segment.segment
        ))?;
        if segment.inconsistent {
            printer.line(
                "  its shards do not fit together: what is lost of it is not made anew; put the file \
                 again",
            )?;
        }
        for (index, shard) in segment.shards.iter().enumerate() {
            let host = shard
                .host
                .as_ref()
                .map_or_else(|| "no host".to_owned(), |host| described(host, now));
            let host = printer.name(host.as_bytes());
            let start = format!("  {index:>2} {}  ", shard.id.short());
            printer.line([start.as_bytes(), &host].concat())?;
        }
    }
    for (place, hosts) in places(spread) {
        let line = format!("{hosts} hosts in {place}");
        printer.line(printer.name(line.as_bytes()))?;
    }
    printer.line(match spread.survives() {
        Some(0) => "comes back now, but survives no further host failing".to_owned(),
        Some(hosts) => format!("survives any {hosts} hosts failing"),
        None => "does not come back now: too few hosts are online".to_owned(),
    })?;
    Ok(())
}

fn described(host: &PlacedHost, now: UnixMs) -> String {
    let region = host
        .region
        .as_deref()
        .map_or_else(String::new, |region| format!(", {region}"));
    let state = if host.online { "online" } else { "OFFLINE" };
    let proved = host.proved.map_or_else(
        || "no proof yet".to_owned(),
        |at| format!("last proof {} ago", span(now.since_ms(at))),
    );
    format!(
        "{:<12} {} zone {}{region}  {state}, {proved}",
        host.name,
        host.id.short(),
        host.zone
    )
}

/// `3 min`: one unit is enough.
fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400_000, "days"), (3_600_000, "h"), (60_000, "min")];
    let fits = UNITS
        .iter()
        .find(|(unit, _)| ms >= 2 * unit || (*unit == 60_000 && ms >= *unit));
    match fits {
        Some((unit, name)) => format!("{} {name}", ms / unit),
        None => format!("{} s", ms / 1_000),
    }
}

/// How many different Hosts are where: by region, or zone where no region is known.
fn places(spread: &Spread) -> BTreeMap<String, usize> {
    let shards = spread.segments.iter().flat_map(|segment| &segment.shards);
    let hosts = shards.filter_map(|shard| shard.host.as_ref());
    let distinct: BTreeMap<_, _> = hosts.map(|host| (host.id, host)).collect();
    let mut places = BTreeMap::new();
    for host in distinct.into_values() {
        let zone = || format!("zone {}", host.zone);
        let place = host
            .region
            .as_ref()
            .map_or_else(zone, |region| format!("region {region}"));
        *places.entry(place).or_insert(0) += 1;
    }
    places
}

fn report(path: ExactPath, found: &Whereabouts) -> WhereReport {
    let spread = match found {
        Whereabouts::Hosts(spread) => Some(spread),
        Whereabouts::Tree(_) => None,
    };
    let size = match found {
        Whereabouts::Hosts(spread) => spread.length,
        Whereabouts::Tree(bytes) => *bytes,
    };
    WhereReport {
        path,
        size,
        inline: spread.is_none(),
        blob: spread.map(|spread| spread.blob.to_string()),
        class: spread.map(|spread| spread.class.to_string()),
        k: spread.map(|spread| spread.class.k()),
        n: spread.map(|spread| spread.class.n()),
        survives: spread.and_then(Spread::survives),
        segments: spread.map(segments).unwrap_or_default(),
    }
}

fn segments(spread: &Spread) -> Vec<SegmentReport> {
    let (k, n) = (spread.class.k(), spread.class.n());
    let report = |segment: &PlacedSegment| SegmentReport {
        segment: segment.segment,
        k,
        n,
        live: segment.live(),
        inconsistent: segment.inconsistent,
        shards: shards(segment),
    };
    spread.segments.iter().map(report).collect()
}

fn shards(segment: &PlacedSegment) -> Vec<ShardReport> {
    let report = |(index, shard): (usize, &client::drive::locate::PlacedShard)| {
        let host = shard.host.as_ref();
        ShardReport {
            index,
            id: shard.id.to_string(),
            host: host.map(|host| host.id.to_string()),
            name: host.map(|host| host.name.clone()),
            zone: host.map(|host| host.zone.clone()),
            region: host.and_then(|host| host.region.clone()),
            online: host.is_some_and(|host| host.online),
            proved: host.and_then(|host| host.proved).map(|at| at.0),
        }
    };
    segment.shards.iter().enumerate().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::units::HostId;

    #[test]
    fn the_last_proof_is_told_in_one_unit() {
        let spans = [
            0,
            59_999,
            60_000,
            7_199_999,
            7_200_000,
            172_799_999,
            172_800_000,
        ];
        let shown = spans.map(span);
        assert_eq!(
            shown,
            ["0 s", "59 s", "1 min", "119 min", "2 h", "47 h", "2 days"]
        );
        let mut host = PlacedHost {
            id: HostId([1; 32]),
            name: "h1".to_owned(),
            zone: "z1".to_owned(),
            region: None,
            online: true,
            proved: None,
        };
        assert!(described(&host, UnixMs(200_000)).ends_with("online, no proof yet"));
        host.proved = Some(UnixMs(20_000));
        assert!(described(&host, UnixMs(200_000)).ends_with("online, last proof 3 min ago"));
    }
}
