//! Windows as columns of a drawing: as many as fit, and a silence takes one column however long it was.

use super::{Analysis, Series};
use crate::clock::Timestamp;

/// A silence of more windows than these is one column.
const EMPTY_MAX: i64 = 3;

pub(super) struct Timeline {
    /// The place of each on the time line, in columns since 1970; none for a silence.
    columns: Vec<Option<i64>>,
    /// To which column each window belongs.
    places: Vec<usize>,
    /// How long a column is.
    column_ns: i64,
}

impl Timeline {
    pub(super) fn fit(analysis: &Analysis, columns_max: usize) -> Self {
        let window_ns = i64::try_from(analysis.window_ns).unwrap_or(i64::MAX).max(1);
        let windows: Vec<i64> =
            analysis.windows.iter().map(|start| start.as_unix_nanos().div_euclid(window_ns)).collect();
        let mut factor = 1;
        loop {
            let timeline = Self::of(&windows, factor, window_ns.saturating_mul(factor));
            if timeline.columns.len() <= columns_max || factor > i64::MAX / 2 {
                return timeline;
            }
            factor *= 2;
        }
    }

    fn of(windows: &[i64], factor: i64, column_ns: i64) -> Self {
        let (mut columns, mut places) = (Vec::new(), Vec::with_capacity(windows.len()));
        let mut before: Option<i64> = None;
        for window in windows {
            let column = window.div_euclid(factor);
            match before {
                Some(before) if column <= before => {}
                Some(before) if column - before - 1 > EMPTY_MAX => columns.extend([None, Some(column)]),
                Some(before) => columns.extend((before + 1..=column).map(Some)),
                None => columns.push(Some(column)),
            }
            before = Some(column);
            places.push(columns.len() - 1);
        }
        Timeline { columns, places, column_ns }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn column_ns(&self) -> u64 {
        self.column_ns.unsigned_abs()
    }

    /// When a column begins, unless it is a silence.
    pub(super) fn start(&self, column: usize) -> Option<Timestamp> {
        let index = (*self.columns.get(column)?)?;
        Some(Timestamp::from_unix_nanos(index.saturating_mul(self.column_ns)))
    }

    /// The column in which a time lies, or in whose silence.
    pub(super) fn column_of(&self, time: Timestamp) -> usize {
        let index = time.as_unix_nanos().div_euclid(self.column_ns);
        let after = self.columns.iter().position(|column| column.is_some_and(|column| column >= index));
        match after {
            Some(column) if self.columns[column] != Some(index) => column.saturating_sub(1),
            Some(column) => column,
            None => self.columns.len().saturating_sub(1),
        }
    }

    /// How many events a series has in each column; none for a silence.
    pub(super) fn counts(&self, series: &Series) -> Vec<Option<u64>> {
        let mut counts: Vec<Option<u64>> = self.columns.iter().map(|column| column.map(|_| 0)).collect();
        for (place, events) in self.places.iter().zip(&series.counts) {
            if let Some(count) = &mut counts[*place] {
                *count += events;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(windows: &[i64], counts: &[u64], columns_max: usize) -> (Vec<Option<u64>>, i64) {
        let analysis = Analysis {
            window_ns: 10,
            windows: windows.iter().map(|index| Timestamp::from_unix_nanos(index * 10)).collect(),
            ..Analysis::default()
        };
        let timeline = Timeline::fit(&analysis, columns_max);
        let series = Series { counts: counts.to_vec(), ..Series::default() };
        (timeline.counts(&series), timeline.column_ns / 10)
    }

    #[test]
    fn short_silences_are_drawn_and_long_ones_are_one_column() {
        assert_eq!(drawn(&[], &[], 8), (vec![], 1));
        assert_eq!(drawn(&[-1, 0, 2], &[5, 6, 7], 8), (vec![Some(5), Some(6), Some(0), Some(7)], 1));
        let (four, five) = (drawn(&[0, 4], &[1, 2], 8), drawn(&[0, 5], &[1, 2], 8));
        assert_eq!(four, (vec![Some(1), Some(0), Some(0), Some(0), Some(2)], 1));
        assert_eq!(five, (vec![Some(1), None, Some(2)], 1));
    }

    #[test]
    fn columns_take_more_windows_until_they_fit() {
        let windows: Vec<i64> = (-3..5).collect();
        assert_eq!(drawn(&windows, &[1; 8], 4).1, 4);
        let (counts, factor) = drawn(&[0, 1, 1_000, 1_001, 1 << 40], &[1, 2, 4, 8, 16], 3);
        assert_eq!(counts.iter().flatten().sum::<u64>(), 31);
        assert!(counts.len() <= 3 && factor > 1_000, "{counts:?}");
    }

    #[test]
    fn a_time_has_the_column_that_it_lies_in() {
        let analysis = Analysis {
            window_ns: 10,
            windows: [0, 10, 990].map(Timestamp::from_unix_nanos).to_vec(),
            ..Analysis::default()
        };
        let timeline = Timeline::fit(&analysis, 8);
        assert_eq!(timeline.len(), 4);
        for (nanos, column) in [(-5, 0), (0, 0), (9, 0), (10, 1), (20, 2), (989, 2), (990, 3), (5_000, 3)] {
            assert_eq!(timeline.column_of(Timestamp::from_unix_nanos(nanos)), column, "{nanos}");
        }
    }
}
