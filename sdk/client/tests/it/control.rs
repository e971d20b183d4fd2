//! A runner is heard, obeyed and forgotten.

use std::time::{Duration, Instant};

use neptune_client::{Access, Control, ControlEvent, ControlSettings, Notices};
use neptune_wire::control::{Abort, Holding, Phase, StopMode};
use neptune_wire::job::{Exit, ExitKind};
use neptune_wire::problem::Code;
use neptune_wire::{AttemptNumber, JobUid, Micros};

use super::peer::Peer;
use super::support::{LONG, wait_until};

const JOB: JobUid = JobUid::from_bytes([1; 16]);

fn holding(phase: Phase) -> Holding {
    let exit =
        Exit { how: ExitKind::Code { code: 0 }, ended_micros: Micros(1), aborted: false, reason: None };
    Holding {
        job: JOB,
        attempt: AttemptNumber(1),
        phase,
        since_micros: Micros(1),
        pid: Some(7),
        exit: (phase == Phase::Ended).then_some(exit),
    }
}

fn abort(mode: StopMode) -> Abort {
    Abort { job: JOB, attempt: AttemptNumber(1), mode, grace_millis: 10, reason: "because".into() }
}

fn open(peer: &Peer) -> (Control, tokio::sync::mpsc::Receiver<ControlEvent>) {
    let access = Access { url: peer.url(), token: Some("secret".into()) };
    let settings =
        ControlSettings { access, job: JOB.into(), attempt: AttemptNumber(1), notices: Notices::silent() };
    Control::open(settings, holding(Phase::Preparing))
}

#[test]
fn beats_carry_what_is_held() {
    let peer = Peer::start();
    let (control, _events) = open(&peer);
    wait_until("it beats by itself", || peer.state().beats.len() >= 3);
    control.update(holding(Phase::Running));
    wait_until("the change is said", || {
        peer.state().beats.last().is_some_and(|beat| beat.holding[0].phase == Phase::Running)
    });
    let state = peer.state();
    let seqs: Vec<_> = state.beats.iter().map(|beat| beat.seq).collect();
    assert!(seqs.is_sorted_by(|a, b| a + 1 == *b), "{seqs:?}");
    assert!(state.beats.is_sorted_by_key(|beat| beat.uptime_micros));
}

#[test]
fn a_stop_is_told_once_and_a_kill_after_it() {
    let peer = Peer::start();
    let (_control, mut events) = open(&peer);
    peer.set(|faults| faults.stop = Some(Abort { attempt: AttemptNumber(2), ..abort(StopMode::Graceful) }));
    wait_until("it beats", || peer.state().beats.len() >= 3);
    assert!(events.try_recv().is_err(), "the stop of another attempt");
    peer.set(|faults| faults.stop = Some(abort(StopMode::Graceful)));
    assert_eq!(events.blocking_recv(), Some(ControlEvent::Stop(abort(StopMode::Graceful))));
    let heard = peer.state().beats.len();
    wait_until("it was said again", || peer.state().beats.len() >= heard + 3);
    assert!(events.try_recv().is_err());
    peer.set(|faults| faults.stop = Some(abort(StopMode::Kill)));
    assert_eq!(events.blocking_recv(), Some(ControlEvent::Stop(abort(StopMode::Kill))));
}

#[test]
fn an_end_is_repeated_until_it_is_forgotten() {
    let mut peer = Peer::start();
    let (control, mut events) = open(&peer);
    wait_until("it beats", || !peer.state().beats.is_empty());
    peer.kill();
    control.update(holding(Phase::Ended));
    peer.restart();
    wait_until("the end is said again and again", || {
        peer.state().beats.iter().filter(|beat| beat.holding[0].exit.is_some()).count() >= 3
    });
    assert!(!control.wait_forgotten(Duration::from_millis(50)));
    peer.state().forget = true;
    assert!(control.wait_forgotten(LONG));
    assert_eq!(events.blocking_recv(), Some(ControlEvent::Forget));
    assert_eq!(events.blocking_recv(), None);
}

#[test]
fn a_superseded_runner_hears_it_and_is_let_go() {
    let peer = Peer::start();
    peer.set(|faults| faults.control_problem = Some(Code::Superseded));
    let (control, mut events) = open(&peer);
    assert!(
        matches!(events.blocking_recv(), Some(ControlEvent::Superseded(problem)) if problem.code == Code::Superseded)
    );
    let begun = Instant::now();
    assert!(!control.wait_forgotten(LONG));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn without_a_server_nothing_is_waited_for() {
    let peer = Peer::absent();
    let begun = Instant::now();
    let (control, mut events) = open(&peer);
    control.update(holding(Phase::Running));
    assert!(!control.wait_forgotten(Duration::from_millis(100)));
    drop(control);
    assert_eq!(events.blocking_recv(), None, "the background thread has ended");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
