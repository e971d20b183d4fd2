//! The client against a peer that keeps the rules of the protocol and breaks everything else: connections, answers, itself.

#![allow(unreachable_pub, reason = "a test program has no outside")]

#[cfg(test)]
mod it {
    mod peer;
    mod small_disk;
    mod support;

    mod control;
    mod delivery;
    mod faults;
    mod full_disk;
    mod processes;
    mod rest;
    mod sync;
    mod tls;
}
