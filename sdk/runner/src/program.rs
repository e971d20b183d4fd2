//! Which program a job is: its main file, what runs it, the whole command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Run when nothing else is said.
pub const DEFAULT_MAIN: &str = "main.py";
/// Overrides the Python that runs `.py` files.
pub const PYTHON: &str = "NEPTUNE_PYTHON";

/// What runs a main file of each ending, with the arguments before the file; everything else must be executable.
const INTERPRETERS: [(&str, &str, &[&str]); 4] =
    [("r", "Rscript", &[]), ("jar", "java", &["-jar"]), ("jl", "julia", &[]), ("sh", "bash", &[])];

/// Lines appear while they are printed, in an encoding that every channel holds; a file's name that is no UTF-8 is printed
/// as the bytes it is, as without us. What the user has set stays.
const OF_PYTHON: [(&str, &str); 2] =
    [("PYTHONUNBUFFERED", "1"), ("PYTHONIOENCODING", "utf-8:surrogateescape")];

/// A program that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The main file as it was named, relative to the job's folder where it lies in it.
    pub main: PathBuf,
    /// The interpreter and its arguments; empty when the main file runs by itself.
    pub interpreter: Vec<OsString>,
    /// The program's own arguments.
    pub arguments: Vec<String>,
}

/// Why there is no program to run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// No such file.
    #[error("main file: {} does not exist{hint}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What would be right.
        hint: String,
    },
    /// It is there, and no file.
    #[error("main file: {} is a folder; name the program in it to run", path.display())]
    Folder {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The interpreter is not installed.
    #[error("main file: {} needs {interpreter}, which is not in PATH{remedy}", path.display())]
    NoInterpreter {
        /// The main file.
        path: PathBuf,
        /// What is missing.
        interpreter: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Neither a known ending nor executable.
    #[error("main file: {} is no Python, R, Julia, Java or shell program and not executable; try `chmod +x {}`", .0.display(), .0.display())]
    NotExecutable(PathBuf),
    /// A notebook.
    #[error("main file: {} is a notebook; export it as a script (`jupyter nbconvert --to script`), or log from it directly", .0.display())]
    Notebook(PathBuf),
}

/// Where things are looked for; values, so that tests need no environment of their own.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The job's folder.
    pub folder: PathBuf,
    /// `PATH`
    pub search_path: OsString,
    /// [`PYTHON`]
    pub python: Option<OsString>,
    /// `VIRTUAL_ENV`
    pub virtual_env: Option<PathBuf>,
    /// The folder of this program's own file: installed into a Python environment, it runs that Python.
    pub own_folder: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process, for a job in `folder`.
    pub fn of_process(folder: &Path) -> Self {
        let text = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let own = std::env::current_exe().ok();
        Self {
            folder: folder.into(),
            search_path: text("PATH").unwrap_or_default(),
            python: text(PYTHON),
            virtual_env: text("VIRTUAL_ENV").map(Into::into),
            own_folder: own.and_then(|own| own.parent().map(Into::into)),
        }
    }

    fn find_in_path(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.search_path)
            .map(|folder| folder.join(name))
            .find(|path| is_executable(path))
    }

    /// The Python of this job: `NEPTUNE_PYTHON`, the active environment, the one `neptune` is installed in, `python3`,
    /// `python`.
    pub fn find_python(&self) -> Option<OsString> {
        if let Some(python) = &self.python {
            return Some(python.clone());
        }
        let in_environment = |root: &Path| Some(root.join("bin/python")).filter(|path| is_executable(path));
        let active = self.virtual_env.as_deref().and_then(in_environment);
        let own = || {
            let root = self.own_folder.as_deref()?.parent()?;
            root.join("pyvenv.cfg").is_file().then(|| in_environment(root)).flatten()
        };
        active
            .or_else(own)
            .or_else(|| self.find_in_path("python3"))
            .or_else(|| self.find_in_path("python"))
            .map(Into::into)
    }
}

impl Program {
    /// Finds the program `main` (by default [`DEFAULT_MAIN`], or `main.R` where only that is there).
    ///
    /// # Errors
    ///
    /// [`ProgramError`]; the text says what would be right.
    pub fn find(
        main: Option<&Path>,
        arguments: Vec<String>,
        surroundings: &Surroundings,
    ) -> Result<Program, ProgramError> {
        let folder = &surroundings.folder;
        let r_only = || !folder.join(DEFAULT_MAIN).exists() && folder.join("main.R").is_file();
        let main = match main {
            Some(main) => main.to_path_buf(),
            None if r_only() => "main.R".into(),
            None => DEFAULT_MAIN.into(),
        };
        let path = folder.join(&main);
        if path.is_dir() {
            return Err(ProgramError::Folder { path });
        }
        if !path.is_file() {
            let hint = hint_for_missing(folder, &main);
            return Err(ProgramError::Missing { path, hint });
        }
        // Absolute paths into the folder are shortened, so that the copy of a job finds its own main file.
        let main = path.strip_prefix(folder).map(Path::to_path_buf).unwrap_or(main);
        let main: PathBuf = main.components().filter(|part| *part != std::path::Component::CurDir).collect();
        let interpreter = find_interpreter(&path, surroundings)?;
        Ok(Program { main, interpreter, arguments })
    }

    /// The whole command line, program first, for people and for running it again.
    pub fn command_line(&self) -> Vec<String> {
        let interpreter = self.interpreter.iter().map(|part| part.to_string_lossy().into_owned());
        let main = self.main_argument().to_string_lossy().into_owned();
        interpreter.chain([main]).chain(self.arguments.iter().cloned()).collect()
    }

    /// Prepares to start it in `folder`: the job's own or its copy.
    pub fn command(&self, folder: &Path) -> Command {
        let main = self.main_argument();
        let mut command = match self.interpreter.split_first() {
            Some((interpreter, before)) => {
                let mut command = Command::new(interpreter);
                command.args(before).arg(main);
                command
            }
            None => Command::new(folder.join(&self.main)),
        };
        command.args(&self.arguments).current_dir(folder);
        for (name, value) in OF_PYTHON.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
            command.env(name, value);
        }
        command
    }

    /// The main file as an argument; `./` keeps a name like `-c.py` from being read as a flag.
    fn main_argument(&self) -> PathBuf {
        let looks_like_flag = self.main.to_string_lossy().starts_with('-');
        if looks_like_flag { Path::new(".").join(&self.main) } else { self.main.clone() }
    }
}

fn find_interpreter(path: &Path, surroundings: &Surroundings) -> Result<Vec<OsString>, ProgramError> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let missing = |interpreter: &str, remedy| ProgramError::NoInterpreter {
        path: path.into(),
        interpreter: interpreter.into(),
        remedy,
    };
    if ending == "py" {
        let python = surroundings.find_python();
        let remedy = "; install Python, activate an environment, or set NEPTUNE_PYTHON";
        return Ok(vec![python.ok_or_else(|| missing("python3", remedy))?]);
    }
    if ending == "ipynb" {
        return Err(ProgramError::Notebook(path.into()));
    }
    if let Some((_, interpreter, before)) = INTERPRETERS.iter().find(|(known, _, _)| *known == ending) {
        let found = surroundings.find_in_path(interpreter).ok_or_else(|| missing(interpreter, ""))?;
        return Ok(std::iter::once(found.into()).chain(before.iter().map(OsString::from)).collect());
    }
    if is_executable(path) { Ok(Vec::new()) } else { Err(ProgramError::NotExecutable(path.into())) }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn hint_for_missing(folder: &Path, main: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let mut programs: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| name.ends_with(".py")).collect();
    programs.sort_unstable();
    let wanted = main.to_string_lossy();
    match crate::nearest::nearest(&wanted, programs.iter().copied()) {
        Some(near) => format!("; did you mean {near:?}?"),
        None if programs.len() == 1 => format!("; there is {:?}", programs[0]),
        None => "; name the program to run, as `neptune run train.py`".into(),
    }
}

/// Facts about where a job starts: interpreter, operating system, git commit. What cannot be found is left out.
pub fn read_facts(program: &Program, folder: &Path) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.insert(key.to_string(), value);
        }
    };
    add("neptune", Some(env!("CARGO_PKG_VERSION").into()));
    add("folder", Some(folder.display().to_string()));
    add("cpus", std::thread::available_parallelism().ok().map(|count| count.to_string()));
    if let Ok(system) = nix::sys::utsname::uname() {
        let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        add(
            "os",
            Some(format!("{} {} {}", text(system.sysname()), text(system.release()), text(system.machine()))),
        );
    }
    if let Some(interpreter) = program.interpreter.first() {
        add("interpreter", Some(interpreter.to_string_lossy().into_owned()));
        if program.main.extension().is_some_and(|ending| ending == "py") {
            add(
                "python",
                output(Command::new(interpreter).arg("--version")).map(|text| text.replace("Python ", "")),
            );
        }
    }
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(folder).args(arguments));
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        add("git_commit", Some(commit));
        add("git_branch", git(&["symbolic-ref", "--short", "-q", "HEAD"]));
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]).unwrap_or_default();
        add("git_clean", Some(changed.is_empty().to_string()));
    }
    facts
}

/// The machine's name, for people.
pub fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use expect_test::{Expect, expect};

    use super::*;

    fn folder(files: &[(&str, u32)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, mode) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        folder
    }

    fn surroundings(folder: &tempfile::TempDir) -> Surroundings {
        let folder = folder.path().to_path_buf();
        Surroundings { search_path: folder.join("bin").into(), folder, ..Surroundings::default() }
    }

    fn check(files: &[(&str, u32)], main: Option<&str>, expect: Expect) {
        let folder = folder(files);
        let found = Program::find(main.map(Path::new), vec!["a".into()], &surroundings(&folder));
        let shown = match found {
            Ok(program) => format!("{:?}", program.command_line()),
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&shown.replace(&folder.path().display().to_string(), "/job"));
    }

    #[test]
    fn the_ending_says_what_runs_it() {
        let tools =
            [("bin/python3", 0o755), ("bin/Rscript", 0o755), ("bin/java", 0o755), ("bin/bash", 0o755)];
        let with = |main: &'static str, mode| [&tools[..], &[(main, mode)]].concat();
        check(&with("main.py", 0o644), None, expect![[r#"["/job/bin/python3", "main.py", "a"]"#]]);
        check(&with("main.R", 0o644), None, expect![[r#"["/job/bin/Rscript", "main.R", "a"]"#]]);
        check(&with("x.jar", 0o644), Some("x.jar"), expect![[r#"["/job/bin/java", "-jar", "x.jar", "a"]"#]]);
        check(&with("go.sh", 0o644), Some("./go.sh"), expect![[r#"["/job/bin/bash", "go.sh", "a"]"#]]);
        check(&with("program", 0o755), Some("program"), expect![[r#"["program", "a"]"#]]);
        check(&with("-c.py", 0o644), Some("-c.py"), expect![[r#"["/job/bin/python3", "./-c.py", "a"]"#]]);
    }

    #[test]
    fn what_cannot_run_says_why() {
        check(
            &[("train.py", 0o644)],
            None,
            expect![[r#"main file: /job/main.py does not exist; did you mean "train.py"?"#]],
        );
        check(
            &[("train.py", 0o644), ("test.py", 0o644)],
            Some("trian.py"),
            expect![[r#"main file: /job/trian.py does not exist; did you mean "train.py"?"#]],
        );
        check(
            &[("a.py", 0o644), ("b.py", 0o644)],
            Some("deep/dir/x.py"),
            expect![
                "main file: /job/deep/dir/x.py does not exist; name the program to run, as `neptune run train.py`"
            ],
        );
        check(
            &[("main.py", 0o644)],
            None,
            expect![
                "main file: /job/main.py needs python3, which is not in PATH; install Python, activate an environment, or set NEPTUNE_PYTHON"
            ],
        );
        check(
            &[("main.R", 0o644)],
            Some("main.R"),
            expect!["main file: /job/main.R needs Rscript, which is not in PATH"],
        );
        check(
            &[("data.csv", 0o644)],
            Some("data.csv"),
            expect![
                "main file: /job/data.csv is no Python, R, Julia, Java or shell program and not executable; try `chmod +x /job/data.csv`"
            ],
        );
        check(
            &[("n.ipynb", 0o644)],
            Some("n.ipynb"),
            expect![
                "main file: /job/n.ipynb is a notebook; export it as a script (`jupyter nbconvert --to script`), or log from it directly"
            ],
        );
        check(
            &[("lib/x", 0o644)],
            Some("lib"),
            expect!["main file: /job/lib is a folder; name the program in it to run"],
        );
    }

    #[test]
    fn python_is_looked_for_where_a_user_expects_it() {
        let files = [
            ("bin/python", 0o755),
            ("bin/python3", 0o755),
            ("venv/bin/python", 0o755),
            ("venv/pyvenv.cfg", 0o644),
            ("own/bin/python", 0o755),
            ("own/pyvenv.cfg", 0o644),
        ];
        let folder = folder(&files);
        let root = folder.path();
        let mut around = surroundings(&folder);
        let found = |around: &Surroundings| PathBuf::from(around.find_python().unwrap());
        assert_eq!(found(&around), root.join("bin/python3"));
        around.own_folder = Some(root.join("bin"));
        assert_eq!(found(&around), root.join("bin/python3"), "a bin folder alone is no environment");
        around.own_folder = Some(root.join("own/bin"));
        assert_eq!(found(&around), root.join("own/bin/python"));
        around.virtual_env = Some(root.join("venv"));
        assert_eq!(found(&around), root.join("venv/bin/python"));
        around.python = Some("pypy".into());
        assert_eq!(found(&around), PathBuf::from("pypy"));
    }

    #[test]
    fn absolute_paths_into_the_folder_are_relative_in_the_copy() {
        let folder = folder(&[("main.py", 0o644), ("bin/python3", 0o755)]);
        let main = folder.path().join("main.py");
        let program = Program::find(Some(&main), vec![], &surroundings(&folder)).unwrap();
        assert_eq!(program.main, Path::new("main.py"));
    }

    #[test]
    fn facts_are_there_with_and_without_git() {
        let folder = folder(&[("main.py", 0o644)]);
        let around = Surroundings::of_process(folder.path());
        let program = Program::find(None, vec![], &around).unwrap();
        let facts = read_facts(&program, folder.path());
        assert!(facts["python"].starts_with('3'), "{facts:?}");
        assert!(facts["os"].starts_with("Linux"), "{facts:?}");
        assert!(!facts.contains_key("git_commit"), "{facts:?}");
    }
}
