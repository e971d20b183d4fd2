//! `cargo xtask python`: the environment `.venv` in the clone, with the module `deepsense.neptune` and our programs.
//!
//! ```text
//! python3 -m venv -> maturin (by xtask/python/build.txt) -> wheel of sdk/python -> pip install; programs copied
//! ```
//!
//! Each step is skipped while what it read is the same; `.venv/.stamps/` remembers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::native::PROGRAMS;
use crate::place::Place;
use crate::stamp::Fingerprint;
use crate::step;

/// The oldest Python that the locked packages of building and testing run on; the module itself runs on older ones.
const MINIMUM: &str = "3.11";

/// Makes the environment if there is none that works.
pub(crate) fn environment(place: &Place) -> Result<()> {
    let python = place.venv_program("python");
    let works = |code: &str| step::read(place.command(&python).args(["-c", code])).is_ok();
    if !works("import pip") {
        let check = "import sys; sys.exit(sys.version_info < tuple(map(int, sys.argv[1].split('.'))))";
        if step::read(place.command("python3").args(["-c", check, MINIMUM])).is_err() {
            bail!("python3 must be there, version {MINIMUM} or newer");
        }
        let mut venv = place.command("python3");
        venv.args(["-m", "venv", "--clear"]).arg(place.venv());
        step::run(
            place,
            "make .venv",
            "Python packages and our programs go there, not into the system",
            &mut venv,
        )?;
    }
    let stamps = stamps(place);
    fs::create_dir_all(&stamps).with_context(|| format!("{}", stamps.display()))
}

/// Installs the packages of a lock file, each checked against its hash.
pub(crate) fn install(place: &Place, lock: &str, why: &str) -> Result<()> {
    let path = place.root.join(lock);
    let stamp = stamps(place).join(lock.replace('/', "-"));
    let (same, text) = Fingerprint::default().path(&path)?.compare(&stamp);
    if same {
        return Ok(());
    }
    let mut pip = pip_install(place);
    pip.args(["--require-hashes", "--requirement"]).arg(&path);
    step::run(place, &format!("pip install -r {lock}"), why, &mut pip)?;
    fs::write(&stamp, text).with_context(|| format!("{}", stamp.display()))
}

/// Builds the module's wheel and installs it.
pub(crate) fn module(place: &Place) -> Result<()> {
    install(place, "xtask/python/build.txt", "maturin packs Rust as a Python wheel")?;
    let stamp = stamps(place).join("module");
    let mut fingerprint = Fingerprint::default().text(&step::read(place.command("rustc").arg("--version"))?);
    for input in ["sdk/wire", "sdk/client", "sdk/runner", "sdk/python", "Cargo.lock", "Cargo.toml"] {
        fingerprint = fingerprint.path(&place.root.join(input))?;
    }
    let (same, text) = fingerprint.compare(&stamp);
    if same {
        return Ok(());
    }

    let wheels = place.target.join("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels).with_context(|| format!("{}", wheels.display()))?;
    }
    let mut maturin = place.command(place.venv_program("maturin"));
    maturin.args(["build", "--release", "--locked", "--manifest-path", "sdk/python/Cargo.toml"]);
    maturin.arg("--interpreter").arg(place.venv_program("python")).arg("--out").arg(&wheels);
    maturin.env("CARGO_TARGET_DIR", &place.target);
    step::run(place, "build the Python module", "maturin, a wheel of sdk/python", &mut maturin)?;

    let mut pip = pip_install(place);
    pip.args(["--no-deps", "--force-reinstall"]).arg(only_file(&wheels)?);
    step::run(place, "install the Python module", "into .venv", &mut pip)?;
    fs::write(&stamp, text).with_context(|| format!("{}", stamp.display()))
}

/// Puts our programs beside Python, as copies: a build in the same target folder must not change what runs.
pub(crate) fn programs(place: &Place) -> Result<()> {
    for name in PROGRAMS {
        let built = place.built(name);
        let placed = place.venv_program(name);
        let stamp = stamps(place).join(name);
        let about = fs::metadata(&built).with_context(|| format!("{}", built.display()))?;
        let version = format!("{} {} {:?}", built.display(), about.len(), about.modified()?);
        let (same, text) = Fingerprint::default().text(&version).compare(&stamp);
        if same && placed.exists() {
            continue;
        }
        let fresh = placed.with_extension("new");
        fs::copy(&built, &fresh).with_context(|| format!("{}", fresh.display()))?;
        fs::rename(&fresh, &placed).with_context(|| format!("{}", placed.display()))?;
        fs::write(&stamp, text).with_context(|| format!("{}", stamp.display()))?;
    }
    Ok(())
}

fn pip_install(place: &Place) -> std::process::Command {
    let mut pip = place.command(place.venv_program("python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"]);
    pip
}

fn stamps(place: &Place) -> PathBuf {
    place.venv().join(".stamps")
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    match files.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{} should hold one wheel, it holds {}", folder.display(), files.len()),
    }
}
