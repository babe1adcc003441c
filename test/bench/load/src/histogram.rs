/// Linear buckets per power of two: a value is kept to within 1/128.
const DETAIL: u32 = 7;
const BUCKETS: usize = (65 - DETAIL as usize) << DETAIL;

/// Durations in nanoseconds, kept to within a percent.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The smallest value kept that `share` (0 to 1) of all values do not exceed; 0 when there are none.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest(index).min(self.max);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(DETAIL + 1);
    ((shift as usize) << DETAIL) + (value >> shift) as usize
}

/// The highest value that falls into a bucket.
fn highest(index: usize) -> u64 {
    let shift = (index >> DETAIL).saturating_sub(1);
    let first = (index - (shift << DETAIL)) as u64;
    ((u128::from(first + 1) << shift) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_is_not_far_from_it() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) + (1 << shift) / 3, u64::MAX >> (63 - shift)] {
                let kept = highest(bucket(value));
                assert!(kept >= value && kept - value <= value / 128, "{value} kept as {kept}");
                assert!(bucket(value) < BUCKETS);
            }
        }
        assert_eq!(highest(bucket(0)), 0);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut histogram = Histogram::default();
        for value in 1..=1000 {
            histogram.add(value * 1000);
        }
        for (share, exact) in [(0.5, 500_000u64), (0.99, 990_000), (0.999, 999_000), (0.001, 1000)] {
            let got = histogram.percentile(share);
            assert!(got >= exact && got - exact <= exact / 128, "{share}: {got}");
        }
        assert_eq!(histogram.percentile(1.0), 1_000_000);
        assert_eq!((histogram.total(), histogram.max()), (1000, 1_000_000));
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(Histogram::default().percentile(0.5), 0);
    }
}
