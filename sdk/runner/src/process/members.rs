//! The processes below one process, as `/proc` shows them.
//!
//! One read of `/proc/<pid>/stat` per process of the machine gives parent, group, state, CPU time and memory together.
//! A library that wraps this reads several files of every process and keeps a table of all of them; here a look costs
//! about 10 microseconds per process and nothing between looks.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Instant;

use nix::unistd::{Pid, SysconfVar, sysconf};

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub pid: Pid,
    /// Its parent.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// `R`, `S`, `Z`, … as in `ps`.
    pub state: char,
    /// What it is called, at most 15 bytes.
    pub name: String,
    /// When it started, in ticks since the machine did: with the id it names a process for good.
    started_ticks: u64,
    /// Ticks of CPU used by it and by the children it has waited for.
    cpu_ticks: u64,
    memory_pages: u64,
}

/// What the members of a tree use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Since the last look; 100 is one core.
    pub cpu_percent: f64,
    /// Resident memory of all members; pages that several share count in each.
    pub memory_bytes: u64,
}

impl Member {
    /// Whether it has ended and only waits to be reaped.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Processes that were there before and are nobody's business.
#[derive(Debug, Default)]
pub(super) struct Bystanders(HashSet<(Pid, u64)>);

impl Bystanders {
    /// Those below this process now.
    pub(super) fn now() -> Self {
        let below = below(Pid::this(), &Self::default());
        Self(below.into_iter().map(|member| (member.pid, member.started_ticks)).collect())
    }
}

/// Finds all processes below `root`, which is not among them; bystanders and what is below them are left out.
pub(super) fn below(root: Pid, bystanders: &Bystanders) -> Vec<Member> {
    let mut children: HashMap<Pid, Vec<Member>> = HashMap::new();
    let involved = |member: &Member| !bystanders.0.contains(&(member.pid, member.started_ticks));
    for member in read_all().filter(involved) {
        children.entry(member.parent).or_default().push(member);
    }
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for member in children.remove(&parent).unwrap_or_default() {
            parents.push(member.pid);
            found.push(member);
        }
    }
    found
}

fn read_all() -> impl Iterator<Item = Member> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    folders.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        // A process that ended since the listing has no file any more.
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        parse(Pid::from_raw(pid), &String::from_utf8_lossy(&stat))
    })
}

/// Reads `pid (name) state ppid pgrp …`; the name may hold blanks and brackets, so its end is the last bracket.
fn parse(pid: Pid, stat: &str) -> Option<Member> {
    let (start, rest) = stat.rsplit_once(") ")?;
    let name = start.split_once('(')?.1.to_string();
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc(5) counts from 1 with the pid; `state`, field 3, is the first here.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    let id = |at: usize| Some(Pid::from_raw(field(at)?.parse().ok()?));
    Some(Member {
        pid,
        parent: id(4)?,
        group: id(5)?,
        state: field(3)?.chars().next()?,
        name,
        started_ticks: number(22)?,
        cpu_ticks: number(14)? + number(15)? + number(16)? + number(17)?,
        memory_pages: number(24)?,
    })
}

/// Turns looks at a tree into its use of the machine.
#[derive(Debug)]
pub struct Meter {
    ticks_per_sec: f64,
    page_bytes: u64,
    last: Option<(Instant, Look)>,
}

/// What one look knows of each member.
type Look = HashMap<Pid, Ticks>;

#[derive(Debug, Clone, Copy)]
struct Ticks {
    parent: Pid,
    cpu: u64,
}

impl Default for Meter {
    fn default() -> Self {
        let read =
            |name, otherwise| sysconf(name).ok().flatten().map_or(otherwise, |value| value.max(1) as u64);
        Self {
            ticks_per_sec: read(SysconfVar::CLK_TCK, 100) as f64,
            page_bytes: read(SysconfVar::PAGE_SIZE, 4096),
            last: None,
        }
    }
}

impl Meter {
    /// Takes a look; the first one has no CPU use to tell.
    pub fn look(&mut self, members: &[Member]) -> Usage {
        let now = Instant::now();
        let ticks = |member: &Member| (member.pid, Ticks { parent: member.parent, cpu: member.cpu_ticks });
        let look: Look = members.iter().map(ticks).collect();
        let cpu_percent = self.last.as_ref().map_or(0.0, |(before, last)| {
            let seconds = (now - *before).as_secs_f64().max(1e-3);
            100.0 * used(&look, last) as f64 / self.ticks_per_sec / seconds
        });
        self.last = Some((now, look));
        let pages: u64 = members.iter().map(|member| member.memory_pages).sum();
        Usage { cpu_percent, memory_bytes: pages * self.page_bytes }
    }
}

/// Ticks used between two looks.
///
/// A member that ended in between left all its ticks to the parent that waited for it, where what was known of it at the
/// last look must not count again.
fn used(now: &Look, last: &Look) -> u64 {
    let known = |pid: &Pid| last.get(pid).map_or(0, |ticks| ticks.cpu);
    let grown: u64 = now.iter().map(|(pid, ticks)| ticks.cpu.saturating_sub(known(pid))).sum();
    let ended = last.iter().filter(|(pid, ticks)| !now.contains_key(pid) && now.contains_key(&ticks.parent));
    grown.saturating_sub(ended.map(|(_, ticks)| ticks.cpu).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let rest = "S 7 8 9 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 99 1000 55 18446744073709551615";
        let member = parse(Pid::from_raw(5), &format!("5 (a) R (b c)) {rest}")).unwrap();
        assert_eq!((member.name.as_str(), member.state), ("a) R (b c)", 'S'));
        assert_eq!((member.parent, member.group), (Pid::from_raw(7), Pid::from_raw(8)));
        assert_eq!((member.cpu_ticks, member.memory_pages), (100, 55));
        assert_eq!(parse(Pid::from_raw(5), "5 (cut"), None);
        assert_eq!(parse(Pid::from_raw(5), "5 (cut) S 1"), None);
    }

    #[test]
    fn a_child_that_ends_is_counted_once() {
        let look = |members: &[(i32, i32, u64)]| -> Look {
            let ticks = |(pid, parent, cpu): &(i32, i32, u64)| {
                (Pid::from_raw(*pid), Ticks { parent: Pid::from_raw(*parent), cpu: *cpu })
            };
            members.iter().map(ticks).collect()
        };
        let last = look(&[(1, 0, 100), (2, 1, 50)]);
        // Process 2 used 20 more ticks before it ended, process 1 used 10: it grew by 80, of which 50 were known.
        assert_eq!(used(&look(&[(1, 0, 180)]), &last), 30);
        // Its parent is gone too: nobody inherited its ticks.
        assert_eq!(used(&look(&[(3, 0, 7)]), &last), 7);
        assert_eq!(used(&look(&[]), &last), 0);
    }

    #[test]
    fn this_process_is_below_its_parent() {
        let none = Bystanders::default();
        let found = below(Pid::parent(), &none);
        assert!(found.iter().any(|member| member.pid == Pid::this()));
        assert!(!below(Pid::this(), &none).iter().any(|member| member.pid == Pid::this()));
    }
}
