//! Random numbers that come again with the same seed: splitmix64, which has no state but a counter.

/// The numbers of one seed.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    pub fn new(seed: u64) -> Seed {
        Seed(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Says yes this often in a hundred.
    pub fn percent(&mut self, often: u64) -> bool {
        self.below(100) < often
    }

    /// Chooses one.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

#[test]
fn the_numbers_are_those_of_splitmix64() {
    // Of the reference implementation by Sebastiano Vigna, for the seed 1234567.
    let mut seed = Seed::new(1_234_567);
    let numbers = [seed.next(), seed.next(), seed.next()];
    assert_eq!(numbers, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
}
