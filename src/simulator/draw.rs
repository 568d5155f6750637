//! Seeded draws and content hashes: the same request under the same seed draws the same answer, on
//! every machine and in every version. Must not know: what is drawn, clocks, the outside.

/// A small generator (`SplitMix64`). Written out here because a rehearsal must repeat exactly for as
/// long as its seed is remembered, and library generators keep the right to change their streams.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    state: u64,
}

impl Draw {
    /// A generator for one purpose; equal seeds give equal draws.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        finish(self.state)
    }

    /// A number below `bound`; 0 where `bound` is 0. The bias of the remainder is of no account
    /// for bounds this small.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// An index into something of `len` items; 0 where it is empty.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        let bound = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }

    /// A number in `low..=high`; `low` where the range is empty.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low);
        low.saturating_add(self.below(span.saturating_add(1)))
    }

    /// A fraction in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        let high = u32::try_from(self.bits() >> 32).unwrap_or(0);
        f64::from(high) / 4_294_967_296.0
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of the items, or nothing where there are none.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }
}

/// A running hash of a request's content. It need not resist an adversary, only be cheap and
/// the same everywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ContentHash(u64);

impl ContentHash {
    /// A hash that starts from the simulator's seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(finish(seed ^ 0x51_7C_C1_B7_27_22_0A_95))
    }

    /// Takes in one part; parts do not run together.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let mut hash = self.0 ^ u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut raw = [0_u8; 8];
            raw.copy_from_slice(word);
            hash = mix(hash, u64::from_le_bytes(raw));
        }
        let mut last = 0_u64;
        for byte in words.remainder() {
            last = (last << 8) | u64::from(*byte);
        }
        self.0 = mix(hash, last);
    }

    /// The hash of everything added.
    pub(crate) fn value(self) -> u64 {
        finish(self.0)
    }
}

/// Joins two seeds into one that depends on both.
pub(crate) fn join(left: u64, right: u64) -> u64 {
    finish(mix(left, right))
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0xFF51_AFD7_ED55_8CCD).rotate_left(29)
}

fn finish(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(parts: &[&str]) -> u64 {
        let mut hash = ContentHash::new(7);
        for part in parts {
            hash.add(part.as_bytes());
        }
        hash.value()
    }

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut draw = Draw::new(0);
        assert_eq!(draw.bits(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(draw.bits(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn equal_content_hashes_alike_and_parts_do_not_run_together() {
        assert_eq!(hash(&["user", "hello"]), hash(&["user", "hello"]));
        assert_ne!(hash(&["user", "hello"]), hash(&["userhello"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
    }

    #[test]
    fn draws_stay_inside_their_bounds() {
        let mut draw = Draw::new(3);
        for _ in 0..1_000 {
            assert!(draw.below(7) < 7);
            assert!((3..=5).contains(&draw.within(3, 5)));
            assert!((0.0..1.0).contains(&draw.unit()));
        }
        assert_eq!(draw.below(0), 0);
        assert_eq!(draw.within(9, 3), 9);
    }
}
