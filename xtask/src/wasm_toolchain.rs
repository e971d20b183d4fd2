//! The compiler that makes WebAssembly: rustup's target first, else Debian's `rustc-web` with its standard library
//! built from source.
//!
//! `rustup target add wasm32-unknown-unknown` is what most machines do. Where toolchain downloads are blocked, Debian's
//! own packages ([`DEBIAN_PACKAGES`]) bring a compiler and the source of the standard library, and `-Z build-std`
//! compiles it once per target folder (about a minute). `NEPTUNE_WASM_TOOLCHAIN` set to `rustup` or `debian` forces one.
//!
//! Two compilers sharing a target folder would rebuild each other's work, so each has its own.
//! Does not know: what is compiled, and how packages are installed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// The only WebAssembly target we compile for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's compiler, its cargo, and the source of its standard library.
pub(crate) const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// Debian's linker for WebAssembly, for machines without the `rust-lld` that rustup installs.
pub(crate) const DEBIAN_LINKER_PACKAGE: &str = "lld-22";

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-22";

/// Which of the two compilers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The active Rust compiler, with the target's standard library installed.
    Rustup,
    /// Debian's `rustc-web`, standard library from source.
    Debian,
}

impl Kind {
    /// Reads the kind that `NEPTUNE_WASM_TOOLCHAIN` forces, if any.
    ///
    /// # Errors
    ///
    /// If it is set to something else than `rustup` or `debian`.
    pub(crate) fn forced() -> Result<Option<Self>> {
        match env::var("NEPTUNE_WASM_TOOLCHAIN").as_deref() {
            Err(_) | Ok("") => Ok(None),
            Ok("rustup") => Ok(Some(Self::Rustup)),
            Ok("debian") => Ok(Some(Self::Debian)),
            Ok(other) => bail!("NEPTUNE_WASM_TOOLCHAIN is \"{other}\"; it can be \"rustup\" or \"debian\""),
        }
    }
}

/// A compiler for [`TARGET`] that is installed.
#[derive(Debug, Clone)]
pub(crate) struct WasmToolchain {
    kind: Kind,
    linker: Option<PathBuf>,
}

impl WasmToolchain {
    /// Finds this kind of compiler on the machine.
    pub(crate) fn find(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Rustup => {
                let folder =
                    answer(Command::new(rustc()).args(["--print", "target-libdir", "--target", TARGET]))?;
                let library = std::fs::read_dir(folder)
                    .ok()?
                    .flatten()
                    .any(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("libstd-")));
                library.then_some(Self { kind, linker: None })
            }
            Kind::Debian => {
                let installed =
                    [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_SOURCE].iter().all(|path| Path::new(path).exists());
                installed.then(|| Some(Self { kind, linker: Some(linker()?) })).flatten()
            }
        }
    }

    /// A short name for people.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Rustup => "rustup's target",
            Kind::Debian => "Debian's rustc-web, standard library from source",
        }
    }

    /// This compiler's own folder below cargo's target folder.
    pub(crate) fn target_dir(&self, target: &Path) -> PathBuf {
        target.join(match self.kind {
            Kind::Rustup => "wasm",
            Kind::Debian => "wasm-debian",
        })
    }

    /// Turns `command` into a call of this compiler's cargo: verb, target, compiler; the caller adds packages.
    ///
    /// `command` makes a command for a program with the environment the caller wants for its children.
    pub(crate) fn cargo(&self, verb: &str, target: &Path, command: impl Fn(&Path) -> Command) -> Command {
        match self.kind {
            Kind::Rustup => {
                let mut cargo = command(&env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from));
                cargo.args([verb, "--target", TARGET]).env("CARGO_TARGET_DIR", self.target_dir(target));
                cargo
            }
            Kind::Debian => {
                let mut cargo = command(Path::new(DEBIAN_CARGO));
                // Debian's programs come first, for what cargo starts by name; rustup's hints must not reach them.
                let path = env::var_os("PATH").unwrap_or_default();
                let folders = std::iter::once(PathBuf::from("/usr/bin")).chain(env::split_paths(&path));
                if let Ok(joined) = env::join_paths(folders) {
                    cargo.env("PATH", joined);
                }
                for name in ["RUSTUP_TOOLCHAIN", "CARGO", "CARGO_HOME_BIN", "LD_LIBRARY_PATH"] {
                    cargo.env_remove(name);
                }
                cargo
                    .args([verb, "-Z", "build-std=std,panic_abort", "--target", TARGET])
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("CARGO_TARGET_DIR", self.target_dir(target));
                if let Some(linker) = &self.linker {
                    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                }
                cargo
            }
        }
    }

    /// Whether this compiler's cargo has clippy.
    pub(crate) fn has_clippy(&self) -> bool {
        match self.kind {
            Kind::Rustup => true,
            Kind::Debian => Path::new("/usr/bin/cargo-clippy").exists(),
        }
    }
}

/// The linker for Debian's compiler: rustup's `rust-lld`, which is as new as the compiler, or Debian's own.
fn linker() -> Option<PathBuf> {
    let host = answer(Command::new(rustc()).args(["--print", "host-tuple"]))?;
    let sysroot = answer(Command::new(rustc()).args(["--print", "sysroot"]))?;
    let bundled = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    [bundled, PathBuf::from(DEBIAN_LINKER)].into_iter().find(|path| path.is_file())
}

fn rustc() -> std::ffi::OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// What a quick command prints, if it succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
