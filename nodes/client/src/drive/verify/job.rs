//! The files of one blob while it is asked for: which segments each lies in, and how it stands.

use std::collections::BTreeMap;
use std::ops::Range;

use model::formats::shape::Shape;
use model::formats::tree::TreePath;
use model::units::BlobId;

use crate::audit::Grade;

/// A file, and where in the blob it lies.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) path: TreePath,
    pub(super) bytes: Range<u64>,
    /// How the worst of its segments stands.
    pub(super) grade: Grade,
}

/// Files of one blob.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) blob: BlobId,
    /// Whether other files of it may be met later.
    pub(super) is_pack: bool,
    /// Segments that were asked for with other files.
    pub(super) known: BTreeMap<u64, Grade>,
    pub(super) shape: Option<Shape>,
    pub(super) spots: Vec<Spot>,
}

impl Job {
    /// Learns how the blob is cut: what was found before counts for these files as well.
    pub(super) fn learn(&mut self, shape: Shape) {
        self.shape = Some(shape);
        for (segment, grade) in std::mem::take(&mut self.known) {
            // Its shards were named with the files that they were met with.
            let _named = self.mark(segment, grade);
        }
    }

    /// Notes how a segment stands for all files in it; returns the first, and how many more.
    pub(super) fn mark(&mut self, segment: u64, grade: Grade) -> Option<(TreePath, usize)> {
        let segment = self.shape?.segment(segment)?;
        let bytes = segment.offset..segment.offset + u64::from(segment.length);
        let touched = self
            .spots
            .iter_mut()
            .filter(|spot| spot.bytes.start < bytes.end && bytes.start < spot.bytes.end);
        let (mut first, mut count) = (None, 0);
        for spot in touched {
            spot.grade = spot.grade.max(grade);
            first.get_or_insert_with(|| spot.path.clone());
            count += 1;
        }
        first.map(|first| (first, count - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::formats::shape::Class;

    #[test]
    fn a_segment_touches_the_files_in_it() {
        let full = 4 * 1_966_080;
        let spot = |path: &[u8], bytes| Spot {
            path: TreePath::parse(path).unwrap(),
            bytes,
            grade: Grade::Whole,
        };
        let mut job = Job {
            blob: BlobId([1; 16]),
            is_pack: true,
            known: [(1, Grade::Enough)].into(),
            shape: None,
            spots: vec![
                spot(b"/a", 0..10),
                spot(b"/b", full - 5..full + 5),
                spot(b"/c", full + 5..full + 6),
            ],
        };
        assert_eq!(job.mark(0, Grade::Lost), None, "not before the shape");
        job.learn(Shape::new(2 * full, Class::Coded { k: 4, n: 8 }).unwrap());
        let (first, others) = job.mark(0, Grade::Lost).unwrap();
        assert_eq!((first.to_bytes().as_slice(), others), (&b"/a"[..], 1));
        let grades: Vec<Grade> = job.spots.iter().map(|spot| spot.grade).collect();
        assert_eq!(grades, [Grade::Lost, Grade::Lost, Grade::Enough]);
    }
}
