//! Random histories against a model that is too simple to be wrong.

use std::env;

use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::{Place, long, model, run};

/// Histories tried, and operations in each.
const CASES: u32 = 48;
const CASES_LONG: u32 = 1_000;

/// Whatever is done, with reopening in between, every answer is the model's.
///
/// `NEPTUNE_TEST_SEED=n` repeats a run; a failure is shrunk to the shortest history that shows it.
pub fn any_history_equals_the_model<P: Place>(make: impl Fn() -> P) {
    let seed = env::var("NEPTUNE_TEST_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
    let seed: u64 = seed.unwrap_or_else(rand_seed);
    println!("NEPTUNE_TEST_SEED={seed}");
    let config = Config {
        cases: if long() { CASES_LONG } else { CASES },
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&model::histories(), |history| {
        let place = make();
        run(model::check(&place, history));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("seed {seed}: {failure}");
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}
