//! Debian packages: which are missing, and installing them as root, through sudo, or by telling the person how.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::place::{Place, program};
use crate::step;

/// Makes sure that these packages are installed.
///
/// # Errors
///
/// Without root and without a sudo that asks nothing, the message holds the exact command to run.
pub(crate) fn install(place: &Place, why: &str, packages: &[&str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let Some(root) = Root::find() else {
        bail!(
            "{list} must be installed ({why}), and that needs root. Run this, then the same command again:\n\n    \
             sudo apt-get update && sudo apt-get install -y --no-install-recommends {list}\n"
        );
    };
    if !has_lists() {
        step::run(
            place,
            "apt-get update",
            "no package lists on this machine",
            &mut root.apt_get(place, &["update"]),
        )?;
    }
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(&missing);
    let first = step::run(place, &format!("install {list}"), why, &mut root.apt_get(place, &arguments));
    if first.is_err() {
        // Lists that are too old name package versions the mirror no longer has.
        step::run(
            place,
            "apt-get update",
            "the package lists may be old",
            &mut root.apt_get(place, &["update"]),
        )?;
        step::run(place, &format!("install {list}"), "once more", &mut root.apt_get(place, &arguments))?;
    }
    Ok(())
}

/// Which of these packages are not installed. On a machine without dpkg nothing is known, and nothing is missing.
fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    if program("dpkg-query").is_none() {
        step::say(&format!(
            "- not a Debian machine; please see to it that these are there: {}",
            packages.join(", ")
        ));
        return Ok(Vec::new());
    }
    // Ends with status 1 if one of the packages was never heard of; what it prints is complete all the same.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${binary:Package} ${db:Status-Status}\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let installed = |package: &str| {
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .any(|(name, status)| name.split(':').next() == Some(package) && status == "installed")
    };
    Ok(packages.iter().copied().filter(|package| !installed(package)).collect())
}

fn has_lists() -> bool {
    fs::read_dir("/var/lib/apt/lists").is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|e| e.file_name().to_string_lossy().contains("_Packages")))
    })
}

/// How this person becomes root without being asked.
enum Root {
    Already,
    Sudo,
}

impl Root {
    fn find() -> Option<Self> {
        let quiet = |command: &mut Command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
        };
        let id = Command::new("id").arg("-u").output().ok()?;
        if id.stdout.trim_ascii() == b"0" {
            return Some(Self::Already);
        }
        quiet(Command::new("sudo").args(["-n", "true"])).then_some(Self::Sudo)
    }

    fn apt_get(&self, place: &Place, arguments: &[&str]) -> Command {
        let mut command = match self {
            Self::Already => place.command("env"),
            Self::Sudo => {
                let mut command = place.command("sudo");
                command.args(["-n", "env"]);
                command
            }
        };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments);
        command
    }
}
