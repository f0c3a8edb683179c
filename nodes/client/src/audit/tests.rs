use super::*;

fn segment(k: u16, proved: u16, others: &[Verdict]) -> SegmentAudit {
    let unproved = (proved..).zip(others).map(|(index, verdict)| ShardAudit {
        index,
        shard: ShardId([7; 32]),
        host: Some(AskedHost {
            id: HostId([8; 32]),
            name: "h8".to_owned(),
        }),
        verdict: verdict.clone(),
    });
    SegmentAudit {
        blob: BlobId([1; 16]),
        segment: 3,
        k,
        proved,
        unproved: unproved.collect(),
    }
}

#[test]
fn a_segment_stands_as_its_proofs_say() {
    let (away, gone) = (Verdict::Unreachable("off".to_owned()), Verdict::Nowhere);
    let rotten = Verdict::Failed(Failing::Rotten);
    assert_eq!(segment(4, 8, &[]).grade(), Grade::Whole);
    let one_away = [away.clone(), gone.clone()];
    assert_eq!(segment(4, 6, &one_away).grade(), Grade::Enough);
    assert_eq!(
        segment(4, 6, &[rotten.clone(), away.clone()]).grade(),
        Grade::Damaged
    );
    let mut few = vec![away; 5];
    assert_eq!(segment(4, 3, &few).grade(), Grade::Unavailable);
    few.truncate(1);
    few.extend([rotten.clone(), rotten, gone.clone(), gone]);
    assert_eq!(segment(4, 3, &few).grade(), Grade::Unavailable);
    few.remove(0);
    assert_eq!(segment(4, 3, &few).grade(), Grade::Lost);
}

#[test]
fn only_what_hosts_did_is_reported_with_its_place() {
    let verdicts = [
        Verdict::Failed(Failing::Missing),
        Verdict::Failed(Failing::OtherShard),
        Verdict::Unreachable("off".to_owned()),
        Verdict::Failed(Failing::WrongLeaf),
    ];
    let segment = segment(1, 2, &verdicts);
    let reports: Vec<Report> = segment.reports().collect();
    let seen = reports
        .iter()
        .map(|report| (report.saw, report.segment, report.index));
    let expected = [
        (Sighting::Missing, Some(3), Some(2)),
        (Sighting::BadShard, Some(3), Some(5)),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}
