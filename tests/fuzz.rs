//! Every reader of a project's files, of an index and of a wheel against texts that nobody wrote: small real ones, changed at
//! random in ways that know the format. Nothing may panic, take long, or be refused without its line.
//!
//! `GPUSEAL_FUZZ_SECONDS` is the time for all readers together, `GPUSEAL_FUZZ_SEED` another begin. What
//! fails is left in the folder that the message names; a crash that ends the process leaves it too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use gpuseal::diagnose;
use gpuseal::domain::{Platform, PythonVersion};
use gpuseal::index::archive::{self, Sparse, Step};
use gpuseal::index::wheel::{Machine, WheelName};
use gpuseal::index::{metadata, page};
use gpuseal::matrix::Matrix;
use gpuseal::requirements::project::{Setting, folder};
use gpuseal::requirements::{self, Error};

/// Time for all readers together, unless the environment says otherwise.
const SECONDS: u64 = 3;
/// Longest text that is made.
const MAX_BYTES: usize = 256 * 1024;

/// A kind of file: its name, words that mean something in it, and what stands beside it.
struct Kind {
    name: &'static str,
    words: &'static [&'static str],
    beside: &'static [(&'static str, &'static str)],
}

/// Words that mean something nearly everywhere.
const WORDS: &[&str] = &[
    "torch==2.6.0+cu124",
    "==18446744073709551615.*",
    ">=18446744073709551615!1",
    "===1",
    "~=2",
    "1!2.0rc18446744073709551615.post1.dev1",
    "99999999999999999999999999",
    "-1",
    " ; extra == 'a' and extra != 'b'",
    "python_version in '3.9 3.10'",
    "sys_platform == 'linux' or ",
    "https://u:p@x.example/whl/cu128",
    "${TOKEN}",
    "{{ x }}",
    "../",
    "/etc/hostname",
    "\u{feff}",
    "\u{202e}",
    "\u{0}",
    "\u{85}",
    "\u{2028}",
    "\u{1f980}e\u{301}",
    "\r",
    "\t",
    "\u{b}",
    "\u{1b}[31m",
    "\\",
    "\\\n",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "#",
    ";",
    ",",
    ".",
    "=",
    ":",
    "*",
    "true",
    "null",
];

const TOML: &[&str] = &[
    "[[",
    "]]",
    "[tool.uv]",
    "a.b.c = 1",
    " = { ",
    " = [",
    "0x",
    "1979-05-27T07:32:00Z",
    "inf",
    "\\u00e9",
    "[package]",
    "markers = \"",
    "{ index = \"c\" }",
    "{ include-group = \"lint\" }",
    "\"app[all]\"",
    "version = \"^0.0\"",
    "members = [\"**\"]",
];
const YAML: &[&str] = &[
    "&a ",
    "*a",
    "!!binary ",
    "- ",
    ": ",
    "? ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "<<: *a",
    "%YAML 1.2\n",
    "dependencies:\n",
    "=2.1=*cuda*",
    "[version='>=2']",
];
const PIP: &[&str] =
    &["-r base.txt\n", "-c ", "-e .\n", "--index-url ", "--hash=", "-i", "# ", " @ ", "[a,b]"];
const PYTHON: &[&str] = &[
    "setup(",
    "install_requires=",
    "+= ",
    ".append(",
    "**",
    "for x in ",
    "def f():\n  ",
    "if x:\n",
    "lambda: ",
    "f'",
    "global a\n",
    "\\N{DASH}",
    "extras[\"all\"]",
];
const DOCKER: &[&str] = &[
    "FROM ",
    " AS a\n",
    "ARG X=",
    "${X:-",
    "${X:+",
    "RUN ",
    "RUN <<EOF\n",
    "&& pip install ",
    "# escape=`\n",
    "ENV A=",
    "--mount=",
    "COPY --from=",
    "SHELL [",
    "ONBUILD ",
];
const WHEEL: &[&str] = &[
    "-",
    ".",
    "cp312",
    "abi3",
    "any",
    ".whl",
    "manylinux_2_28_x86_64",
    "+cu126",
    "1!",
    "_",
    "255",
];
const HTML: &[&str] = &[
    "<a href=\"",
    "<A HREF=",
    "\">",
    "<!--",
    "-->",
    "<base href='",
    "<meta name=\"pypi:repository-version\" content=\"",
    "&#x2f;",
    "&amp;",
    "%2f",
    "#sha256=",
    "..",
    "data-yanked",
    "data-requires-python='",
    "</a>",
];
const JSON: &[&str] = &[
    "{\"files\":[",
    "\"url\":",
    "\"hashes\":{}",
    "\"yanked\":true",
    "\"core-metadata\":{\"sha256\":\"",
    "\"size\":1e99",
    "\\ud800",
    "\\u002f",
    "[[[[[[[[",
    "null",
];
const METADATA: &[&str] = &[
    "Requires-Dist: ",
    "Name: a\n",
    "Version: ",
    "Requires-Python: ",
    "Provides-Extra: ",
    "; extra == ",
    " @ https://x.example/",
    "\n ",
    "\r\n",
    " (>=1)",
    "[a]",
];
const ARCHIVE: &[&str] = &[
    "PK\u{5}\u{6}",
    "PK\u{6}\u{6}",
    "PK\u{6}\u{7}",
    "PK\u{1}\u{2}",
    "PK\u{3}\u{4}",
    "\u{0}\u{0}\u{0}\u{0}",
    "a-1.dist-info/METADATA",
    "torch/version.py",
    "sm_90 ",
];
const LOG: &[&str] = &[
    "no kernel image is available for execution on the device",
    "torch==2.1.0+cu118\n",
    "NVIDIA GeForce RTX 5090",
    "CUDA Version: 13.0",
    "CUDA UMD Version: 13.3",
    "Driver Version: 580.65.06",
    "PyTorch version: 2.8.0+cpu\n",
    "CUDA_VISIBLE_DEVICES=",
    "sm_120 sm_90a compute_75",
    "Xid (PCI:0000:01:00): 79",
    "[rank0]: ",
    "app-1  | ",
    "#12 3.4 ",
    "\u{1b}[31m",
    "\u{1b}]0;",
    ">>> torch.__version__\n'2.6.0+cpu'\n",
    "(from versions: none)",
    "| 0  NVIDIA L4  Off |",
    "MIG 1g.10gb Device 0:",
    "\u{ff}\u{fe}",
];
const PROJECT: (&str, &str) = (
    "pyproject.toml",
    "[project]\nname = \"app\"\nversion = \"1\"\ndependencies = [\"torch==2.6.0\"]\n",
);
const BASE: (&str, &str) = ("base.txt", "torchvision>=0.20\n-c base.txt.in\n");
const INNER: (&str, &str) = ("base.txt.in", "numpy<3\n");

fn kinds() -> Vec<Kind> {
    let kind = |name, words, beside| Kind { name, words, beside };
    vec![
        kind("requirements.txt", PIP, &[BASE, INNER, PROJECT]),
        kind("pyproject.toml", TOML, &[BASE, INNER]),
        kind("setup.cfg", PIP, &[BASE, INNER]),
        kind("setup.py", PYTHON, &[]),
        kind("Pipfile", TOML, &[PROJECT]),
        kind("environment.yml", YAML, &[BASE, INNER, PROJECT]),
        kind("pixi.toml", TOML, &[PROJECT]),
        kind("uv.lock", TOML, &[PROJECT]),
        kind("poetry.lock", TOML, &[PROJECT]),
        kind("pylock.toml", TOML, &[PROJECT]),
        kind("cog.yaml", YAML, &[BASE, INNER]),
        kind("Dockerfile", DOCKER, &[BASE, INNER, ("requirements.txt", "torch\n")]),
        kind("uv.toml", TOML, &[PROJECT]),
        kind(".python-version", &["3.12", "cpython-", "pypy", "\n"], &[PROJECT]),
        kind("gpuseal.yaml", YAML, &[]),
        kind("wheel-name", WHEEL, &[]),
        kind("page-html", HTML, &[]),
        kind("page-json", JSON, &[]),
        kind("metadata", METADATA, &[]),
        kind("archive", ARCHIVE, &[]),
        kind("log", LOG, &[]),
    ]
}

/// Numbers that look random and are the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("a length");
        usize::try_from((self.next() >> 16) % end).expect("below a length")
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// A stretch of a text.
    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let (a, b) = (self.below(len + 1), self.below(len + 1));
        a.min(b)..a.max(b)
    }
}

/// A line with its end, somewhere in a text.
fn line(text: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let at = random.below(text.len());
    let begin = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let end = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |n| at + n + 1);
    begin..end
}

/// Changes a text in one way.
fn change(text: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str], random: &mut Random) {
    let at = random.below(text.len() + 1);
    match random.below(13) {
        0 => {
            if let Some(byte) = text.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => text.insert(at, u8::try_from(random.below(256)).expect("a byte")),
        2 | 3 => {
            let word = random.of(words);
            text.splice(at..at, word.bytes());
        }
        4 => {
            let word = random.of(WORDS);
            text.splice(at..at, word.bytes());
        }
        5 => {
            let range = random.range(text.len());
            let word = random.of(WORDS);
            // Short stretches, mostly: a word for a word.
            let end = range.end.min(range.start + 1 + random.below(20));
            text.splice(range.start..end, word.bytes());
        }
        6 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            text.truncate(at);
            text.extend_from_slice(&other[from..]);
        }
        7 => {
            let line = line(text, random);
            let copy = text[line.clone()].repeat(1 + random.below(4));
            text.splice(line.start..line.start, copy);
        }
        8 => {
            let line = line(text, random);
            text.drain(line);
        }
        9 => {
            let from = line(text, random);
            let taken: Vec<u8> = text.drain(from).collect();
            let to = line(text, random).start;
            text.splice(to..to, taken);
        }
        10 => text.truncate(at),
        11 => {
            let other = &corpus[random.below(corpus.len())];
            let line = line(other, random);
            text.splice(at..at, other[line].iter().copied());
        }
        _ => {
            let range = random.range(text.len());
            let end = range.end.min(range.start + 1 + random.below(40));
            let part = text[range.start..end].to_vec();
            let times = 1 << random.below(14);
            let times = times.min(MAX_BYTES / part.len().max(1));
            text.splice(at..at, part.repeat(times));
        }
    }
    text.truncate(MAX_BYTES);
}

/// The matrix, read once.
fn matrix() -> &'static Matrix {
    static MATRIX: LazyLock<Matrix> = LazyLock::new(Matrix::embedded);
    &MATRIX
}

/// What a log comes to points into the log, and is short.
fn read_log(text: &[u8]) -> Result<(), String> {
    let diagnosis = diagnose::read(text, matrix()).map_err(|err| err.to_string())?;
    for found in &diagnosis.matches {
        if found.line == 0 || found.line > diagnosis.lines {
            return Err(format!("line {} of {}", found.line, diagnosis.lines));
        }
        if found.text.len() + found.cause.len() > 4096 || found.fix.is_empty() {
            return Err(format!("{found:?}"));
        }
    }
    if diagnosis.matches.iter().filter(|found| found.is_root()).count() > 1 {
        return Err("two roots".into());
    }
    Ok(())
}

/// Reads what an index or a wheel says. `None`: it is a file of a project.
fn read_index(name: &str, text: &[u8]) -> Option<Result<(), String>> {
    let said = |err: &dyn std::fmt::Display, help: &str| {
        let len = err.to_string().len();
        if len == 0 || len > 4096 || help.is_empty() { Err(format!("{len} bytes")) } else { Ok(()) }
    };
    let url = "https://index.test/simple/x/".parse().expect("an address");
    Some(match name {
        "wheel-name" => {
            for line in String::from_utf8_lossy(text).lines() {
                let Ok(wheel) = line.parse::<WheelName>() else { continue };
                for platform in Platform::ALL {
                    let python = PythonVersion::new(12);
                    let machine = Machine { platform: *platform, python, glibc: None };
                    let _ = (wheel.rank(&machine), wheel.glibc(&machine));
                }
                if wheel.file() != line || line.contains(['/', '\\', ' ', '$', '"', '\'']) {
                    return Some(Err(format!("`{line}` was taken")));
                }
            }
            Ok(())
        }
        "page-html" | "page-json" => {
            let kind = match name {
                "page-html" => "text/html",
                _ => "application/vnd.pypi.simple.v1+json",
            };
            match page::read(text, Some(kind), &url) {
                Err(err) => said(&err, &err.help()),
                Ok(page) => page.files.iter().try_for_each(|file| {
                    let ends = file.url.fragment().is_none() && file.url.username().is_empty();
                    if ends && gpuseal::index::is_plain_name(&file.name) {
                        Ok(())
                    } else {
                        Err(format!("{file:?}"))
                    }
                }),
            }
        }
        "metadata" => match metadata::read(text) {
            Err(err) => said(&err, &err.help()),
            Ok(read) => {
                let on = Setting::new(Platform::LinuxAmd64, PythonVersion::new(12));
                for requirement in &read.requires {
                    let _ = (requirement.holds(&on, &[]), requirement.holds(&on, &read.extras));
                    let _ = requirement.versions.contains(&read.version);
                }
                Ok(())
            }
        },
        "archive" => {
            let wheel: WheelName = "a-1-py3-none-any.whl".parse().expect("a wheel");
            let asked = through(text, |view| archive::metadata(view, &wheel))
                .and_then(|()| through(text, archive::torch_build))
                .and_then(|()| through(text, archive::contents));
            let list = archive::arch_list(std::io::Cursor::new(text));
            asked.and_then(|()| list.map_or_else(|err| said(&err, &err.help()), |_| Ok(())))
        }
        "log" => read_log(text),
        _ => return None,
    })
}

/// Fetches what is asked for until there is an answer.
fn through<T>(
    whole: &[u8],
    ask: impl Fn(&Sparse) -> Result<Step<T>, archive::ArchiveError>,
) -> Result<(), String> {
    let mut view = Sparse::new(whole.len() as u64);
    for _ in 0..6 {
        match ask(&view) {
            Ok(Step::Done(_)) => return Ok(()),
            Err(err) if err.to_string().len() < 4096 && !err.help().is_empty() => return Ok(()),
            Err(err) => return Err(err.to_string()),
            Ok(Step::Need(range)) => {
                let at = usize::try_from(range.start).expect("an offset");
                let Some(bytes) = whole.get(at..usize::try_from(range.end).expect("an offset"))
                else {
                    return Err(format!("{range:?} of {}", whole.len()));
                };
                view.insert(range.start, bytes);
            }
        }
    }
    Err("it asks for more and more".into())
}

/// Reads a folder as the program does, and asks everything of it that the program asks.
fn read(place: &Path, kind: &Kind) -> Result<(), String> {
    let text = fs_err::read(place.join(kind.name)).map_err(|err| err.to_string())?;
    if let Some(said) = read_index(kind.name, &text) {
        return said;
    }
    let read = if kind.name == "gpuseal.yaml" {
        requirements::read(&place.join(kind.name)).map(|_| None)
    } else {
        folder(place).map(Some)
    };
    let project = match read {
        Ok(None) => return Ok(()),
        Ok(Some(project)) => project,
        Err(err) => {
            let message = err.to_string();
            if message.is_empty() || message.len() > 4096 {
                return Err(format!("refused in {} bytes", message.len()));
            }
            return match err {
                // Of the configuration some things are said as a whole: it is empty, it names nothing.
                Error::Bad(bad) if bad.place.is_none() && kind.name != "gpuseal.yaml" => {
                    Err(format!("no line: {message}"))
                }
                Error::Bad(_) => Ok(()),
                other => Err(format!("no file: {other}")),
            };
        }
    };
    let last = text.len() + 2;
    for demand in &project.demands {
        let here = demand.place.file == kind.name;
        if demand.place.line == 0 || here && demand.place.line > last {
            return Err(format!("line {} of `{}`", demand.place.line, demand.given));
        }
    }
    for finding in project.judged() {
        if finding.message.len() > 4096 {
            return Err(format!("a finding of {} bytes", finding.message.len()));
        }
    }
    let setting = Setting::new(Platform::LinuxAmd64, PythonVersion::new(12));
    for answer in project.answers().unwrap_or_default() {
        let _ = project.asked(&answer);
        let _ = project.builds(Some(&answer));
        let wish = project.wish(&answer, &setting);
        let _ = wish.versions("torch");
    }
    Ok(())
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number of seconds"))
}

/// Ends the process when one text takes so long that nobody would wait.
fn watch(kind: &'static str, left: PathBuf) -> Arc<AtomicU64> {
    let runs = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&runs);
    std::thread::spawn(move || {
        let mut before = 0;
        // It lives as long as the test does, and then notices that nobody counts any more.
        while Arc::strong_count(&seen) > 1 {
            for _ in 0..200 {
                std::thread::sleep(Duration::from_millis(100));
                if Arc::strong_count(&seen) == 1 {
                    return;
                }
            }
            let now = seen.load(Ordering::Relaxed);
            if now == before {
                use std::io::Write as _;
                let left = left.display();
                let _ = writeln!(std::io::stderr(), "{kind}: no end after 20 s, see {left}");
                std::process::abort();
            }
            before = now;
        }
    });
    runs
}

fn fuzz(name: &'static str) {
    let kinds = kinds();
    let kind = kinds.iter().find(|kind| kind.name == name).expect("a kind of file");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name);
    let mut paths: Vec<_> = fs_err::read_dir(root)
        .expect("a folder of texts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> =
        paths.iter().map(|path| fs_err::read(path).expect("a text")).collect();
    assert!(corpus.len() >= 3, "{name}: {} texts", corpus.len());

    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(name);
    let _ = fs_err::remove_dir_all(&place);
    fs_err::create_dir_all(&place).expect("a folder");
    for (beside, text) in kind.beside {
        fs_err::write(place.join(beside), text).expect("a file");
    }
    let share = number("GPUSEAL_FUZZ_SECONDS", SECONDS) * 1000 / kinds.len() as u64;
    let end = Instant::now() + Duration::from_millis(share);
    let slow = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    let seed = number("GPUSEAL_FUZZ_SEED", 1);
    let runs = watch(name, place.clone());
    let mut round = 0;
    while round < corpus.len() as u64 || Instant::now() < end {
        let mut random = Random((seed << 32 | round) * 2 + 1);
        // The texts themselves come first.
        let own = usize::try_from(round).ok().and_then(|round| corpus.get(round));
        let text = own.cloned().unwrap_or_else(|| {
            let mut text = corpus[random.below(corpus.len())].clone();
            for _ in 0..=random.below(6) {
                if text.is_empty() {
                    text.extend_from_slice(&corpus[0]);
                }
                change(&mut text, &corpus, kind.words, &mut random);
            }
            text
        });
        fs_err::write(place.join(name), &text).expect("a file");
        let start = Instant::now();
        let said = catch_unwind(AssertUnwindSafe(|| read(&place, kind)))
            .unwrap_or_else(|_| Err("a panic".into()));
        let took = start.elapsed();
        runs.fetch_add(1, Ordering::Relaxed);
        let why = match said {
            Err(why) => why,
            Ok(()) if took > slow => format!("{took:?}"),
            Ok(()) => {
                round += 1;
                continue;
            }
        };
        panic!("{name}, text {round} of seed {seed}: {why}; it is left in {}", place.display());
    }
    // With `--nocapture` this is seen.
    #[allow(clippy::print_stdout, reason = "how much a run was worth")]
    {
        println!("{name}: {round} texts");
    }
}

macro_rules! readers {
    ($($test:ident = $name:literal;)+) => {
        $(
            #[test]
            fn $test() {
                fuzz($name);
            }
        )+

        #[test]
        fn every_kind_has_its_test() {
            let names: Vec<_> = kinds().iter().map(|kind| kind.name).collect();
            assert_eq!(names, [$($name),+]);
        }
    };
}

readers! {
    requirements_txt = "requirements.txt";
    pyproject_toml = "pyproject.toml";
    setup_cfg = "setup.cfg";
    setup_py = "setup.py";
    pipfile = "Pipfile";
    environment_yml = "environment.yml";
    pixi_toml = "pixi.toml";
    uv_lock = "uv.lock";
    poetry_lock = "poetry.lock";
    pylock_toml = "pylock.toml";
    cog_yaml = "cog.yaml";
    dockerfile = "Dockerfile";
    uv_toml = "uv.toml";
    python_version = ".python-version";
    gpuseal_yaml = "gpuseal.yaml";
    wheel_name = "wheel-name";
    page_html = "page-html";
    page_json = "page-json";
    metadata_file = "metadata";
    archive_members = "archive";
    log_text = "log";
}
