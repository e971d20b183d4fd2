//! The present time, by the server's clock, and one tick a second for everything on the page that counts up.
//!
//! The server's clock is read from the `Date` header of its answers, which is exact to a second: a smaller difference is
//! taken for none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use gloo_timers::callback::Interval;
use yew::Callback;

/// Differences below this are the header's rounding and the way of the answer.
const SMALLEST_SKEW_MILLIS: f64 = 2_500.0;

thread_local! {
    static SKEW_MILLIS: Cell<f64> = const { Cell::new(0.0) };
    static TICKS: RefCell<Ticks> = const { RefCell::new(Ticks { interval: None, next: 0, listeners: BTreeMap::new() }) };
}

struct Ticks {
    interval: Option<Interval>,
    next: u64,
    listeners: BTreeMap<u64, Callback<()>>,
}

/// Now, in microseconds since the epoch, by the server's clock.
pub fn now_micros() -> i64 {
    ((js_sys::Date::now() + SKEW_MILLIS.get()) * 1000.0) as i64
}

/// How many minutes east of UTC the browser's zone is at that time.
pub fn minutes_east(micros: i64) -> i32 {
    let date = js_sys::Date::new(&(micros as f64 / 1000.0).into());
    -(date.get_timezone_offset() as i32)
}

/// Learns the server's clock from an answer's `Date` header.
pub fn learn(date_header: &str) {
    let skew = js_sys::Date::parse(date_header) + 500.0 - js_sys::Date::now();
    if skew.is_finite() {
        SKEW_MILLIS.set(if skew.abs() < SMALLEST_SKEW_MILLIS { 0.0 } else { skew });
    }
}

/// Calls back once a second until it is dropped.
#[derive(Debug)]
pub struct Tick(u64);

impl Tick {
    /// Begins to call back.
    pub fn every_second(callback: Callback<()>) -> Self {
        TICKS.with_borrow_mut(|ticks| {
            ticks.next += 1;
            ticks.listeners.insert(ticks.next, callback);
            ticks.interval.get_or_insert_with(|| Interval::new(1_000, tick));
            Self(ticks.next)
        })
    }
}

impl Drop for Tick {
    fn drop(&mut self) {
        TICKS.with_borrow_mut(|ticks| {
            ticks.listeners.remove(&self.0);
            if ticks.listeners.is_empty() {
                ticks.interval = None;
            }
        });
    }
}

fn tick() {
    let listeners: Vec<_> = TICKS.with_borrow(|ticks| ticks.listeners.values().cloned().collect());
    listeners.iter().for_each(|listener| listener.emit(()));
}
