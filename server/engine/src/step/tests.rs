//! An exhaustive walk: every sequence of events up to a depth, with the invariants checked at every step.

use std::collections::{HashSet, VecDeque};

use super::*;

const NOW: Micros = Micros(1_000);

fn exit(how: ExitKind, aborted: bool) -> Exit {
    Exit { how, ended_micros: Micros(2_000), aborted, reason: None }
}

fn events() -> Vec<Event> {
    let wish = |reason: &str| AbortWish { reason: reason.into(), grace_millis: 10 };
    let mut events = vec![
        Event::Claim { now: NOW },
        Event::Import { started: NOW, exit: exit(ExitKind::Code { code: 0 }, false) },
        Event::Abort { wish: wish("first"), now: NOW },
        Event::Abort { wish: wish("second"), now: NOW },
        Event::FellSilent { since: NOW },
        Event::GivenUp { now: NOW },
    ];
    for attempt in (0..=2).map(AttemptNumber) {
        events.push(Event::Heard { attempt });
        for aborted in [false, true] {
            for how in [
                ExitKind::Code { code: 0 },
                ExitKind::Code { code: 3 },
                ExitKind::Signal { signal: 9 },
                ExitKind::NotStarted,
            ] {
                events.push(Event::Exit { attempt, exit: exit(how, aborted) });
            }
        }
    }
    events
}

/// What must hold of any step, whatever came before.
fn check(before: &Status, event: &Event, after: &Status, effects: &[Effect]) {
    let context = format!("{before:?} + {event:?} -> {after:?}, {effects:?}");
    assert!(after.attempt >= before.attempt, "attempts never go back: {context}");
    assert_eq!(
        after.state == JobState::Created,
        after.attempt.is_none() && after.ended.is_none(),
        "{context}"
    );
    assert_eq!(after.state.is_ended(), after.ended.is_some(), "ended exactly with a time: {context}");
    assert!(
        after.silent_since.is_none() || after.state.is_live() || after.state == JobState::Lost,
        "{context}"
    );
    if before.state.is_ended() && before.state != JobState::Lost {
        assert_eq!(before, after, "ends are final: {context}");
        assert!(effects.is_empty(), "{context}");
    }
    if before.state == JobState::Lost {
        let truth = matches!(event, Event::Exit { .. } | Event::Heard { .. });
        assert!(truth || before == after, "lost gives way to the attempt alone: {context}");
        assert_eq!(before.attempt, after.attempt, "{context}");
    }
    if let Some(wish) = &before.abort {
        let stands = after.abort.as_ref() == Some(wish) && after.state != JobState::Running;
        assert!(stands || after.state.is_ended(), "an abort stands until the end: {context}");
    }
    let stops = effects.iter().filter(|effect| matches!(effect, Effect::StopAttempt(..))).count();
    assert_eq!(
        stops > 0,
        after.state == JobState::Aborting && before.state != JobState::Aborting,
        "{context}"
    );
    let closes = effects.iter().filter(|effect| matches!(effect, Effect::CloseAttempt(..))).count();
    let told_end = matches!(event, Event::Exit { .. } | Event::Import { .. });
    assert!(closes == 0 || closes == 1 && told_end && after.state.is_ended(), "{context}");
    let repeated = step(after, event.clone());
    let opens = matches!(event, Event::Claim { .. } | Event::Import { .. });
    assert!(
        opens || repeated == Ok((after.clone(), vec![])),
        "saying it twice is saying it once: {context}, {repeated:?}"
    );
}

#[test]
fn no_sequence_of_events_breaks_an_invariant() {
    let (mut seen, mut open) = (HashSet::new(), VecDeque::from([Status::created()]));
    let mut states = HashSet::new();
    while let Some(status) = open.pop_front() {
        states.insert(status.state);
        for event in events() {
            match step(&status, event.clone()) {
                Ok((next, effects)) => {
                    check(&status, &event, &next, &effects);
                    if seen.insert(format!("{next:?}")) {
                        open.push_back(next);
                    }
                }
                Err(Mismatch::State { .. }) => assert_ne!(status.state, JobState::Created),
                Err(Mismatch::Superseded { current }) => assert_eq!(Some(current), status.attempt),
                Err(Mismatch::UnknownAttempt) => {}
            }
        }
    }
    // The walk is exhaustive: it ends because no new status is reachable, and it has been everywhere.
    for state in [
        JobState::Created,
        JobState::Running,
        JobState::Aborting,
        JobState::Succeeded,
        JobState::Failed,
        JobState::Aborted,
        JobState::Lost,
    ] {
        assert!(states.contains(&state), "{state} is reachable");
    }
}

fn run(events: impl IntoIterator<Item = Event>) -> Status {
    events.into_iter().fold(Status::created(), |status, event| step(&status, event).unwrap().0)
}

#[test]
fn the_true_end_wins_over_an_abort_that_came_too_late() {
    let abort = Event::Abort { wish: AbortWish { reason: "by Ann".into(), grace_millis: 1 }, now: NOW };
    let claim = Event::Claim { now: NOW };
    let ended =
        |aborted| Event::Exit { attempt: AttemptNumber(1), exit: exit(ExitKind::Code { code: 0 }, aborted) };
    assert_eq!(run([claim.clone(), abort.clone(), ended(false)]).state, JobState::Succeeded);
    let obeyed = run([claim, abort, ended(true)]);
    assert_eq!(
        (obeyed.state, obeyed.reason.as_deref(), obeyed.exit_code),
        (JobState::Aborted, Some("by Ann"), Some(0))
    );
}

#[test]
fn a_lost_job_may_come_back_and_its_abort_still_stands() {
    let attempt = AttemptNumber(1);
    let lost = [Event::Claim { now: NOW }, Event::FellSilent { since: NOW }, Event::GivenUp { now: NOW }];
    let back = run(lost.clone().into_iter().chain([Event::Heard { attempt }]));
    assert_eq!((back.state, back.silent_since, back.ended), (JobState::Running, None, None));
    let abort = Event::Abort { wish: AbortWish { reason: "enough".into(), grace_millis: 1 }, now: NOW };
    let [claim, silent, given_up] = lost;
    let status = run([claim, abort, silent, given_up]);
    let (back, effects) = step(&status, Event::Heard { attempt }).unwrap();
    assert_eq!(back.state, JobState::Aborting);
    assert!(matches!(&effects[..], [Effect::StopAttempt(_, wish)] if wish.reason == "enough"));
}

#[test]
fn a_job_claimed_twice_is_refused_the_second_time() {
    let running = run([Event::Claim { now: NOW }]);
    assert!(matches!(step(&running, Event::Claim { now: NOW }), Err(Mismatch::State { .. })));
}
