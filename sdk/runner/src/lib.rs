//! Prepares a job, runs its process tree, relays logs, obeys aborts.
