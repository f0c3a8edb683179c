//! How many segments are under way at a time: few over a slow line, where each would only slow
//! the others below the rate at which Hosts give up; as many as memory takes over a fast one.

use std::time::Duration;

/// Under way at first.
const FIRST: usize = 2;
/// A segment that took less lets one more be under way.
const QUICK: Duration = Duration::from_secs(2);
/// A segment that took more halves them.
const TEDIOUS: Duration = Duration::from_secs(10);

/// The number of segments that may be under way.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    max: usize,
}

impl Window {
    pub(crate) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            size: FIRST.min(max),
            max,
        }
    }

    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Learns how long a segment took.
    pub(crate) fn took(&mut self, time: Duration) {
        if time < QUICK {
            self.size = (self.size + 1).min(self.max);
        } else if time > TEDIOUS {
            self.size = (self.size / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_on_a_fast_line_and_shrinks_on_a_slow_one() {
        let mut window = Window::new(4);
        (0..9).for_each(|_| window.took(Duration::from_millis(100)));
        assert_eq!(window.size(), 4);
        window.took(Duration::from_secs(5));
        assert_eq!(window.size(), 4);
        (0..9).for_each(|_| window.took(Duration::from_secs(60)));
        assert_eq!(window.size(), 1);
    }
}
