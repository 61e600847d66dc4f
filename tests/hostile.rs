//! Files of a project that were made to hurt: each is refused with its file and line, or read, within a
//! second and without much memory. What they are made of is written here; nothing large is kept.

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use support::{Run, folder, run, write};

/// Manifests of people, and locks of other tools, which may be larger.
const MANIFESTS: &[&str] = &[
    "requirements.txt",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "Pipfile",
    "environment.yml",
    "pixi.toml",
    "cog.yaml",
    "Dockerfile",
    "uv.toml",
    ".python-version",
    "gpuseal.yaml",
];
const LOCKS: &[&str] = &["uv.lock", "poetry.lock", "pylock.toml"];
const PROJECT: &str = "[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"torch\"]\n";

/// `inputs` on a folder, soon enough: a debug build on a busy machine gets much more than the second
/// that a release has.
#[track_caller]
fn inputs(place: &Path) -> Run {
    let start = Instant::now();
    let run = run(place, &["inputs", "."]);
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 12 } else { 1 });
    let took = start.elapsed();
    let all = run.all();
    let head: String = all.chars().take(300).collect();
    assert!(took < limit, "took {took:?}: {head}");
    assert!(all.len() < 256 * 1024, "{} bytes of answer: {head}", all.len());
    assert!((0..=2).contains(&run.code), "exit {}: {head}", run.code);
    run
}

/// `inputs` on one file.
#[track_caller]
fn one(name: &str, text: impl AsRef<[u8]>) -> Run {
    let place = folder(&[]);
    write(place.path(), name, text);
    if name == "uv.toml" {
        write(place.path(), "pyproject.toml", PROJECT);
    }
    inputs(place.path())
}

/// Something for each of many numbers, one after the other.
fn each(count: usize, mut part: impl FnMut(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        text.push_str(&part(n));
        text
    })
}

/// `pyproject.toml` with these tables behind the project's own.
fn project(tables: &str) -> Run {
    one("pyproject.toml", format!("{PROJECT}{tables}"))
}

#[test]
fn files_that_are_too_long_name_the_line_where_it_begins() {
    let mebi = 1024 * 1024;
    for name in MANIFESTS {
        let line = "a = 1 # a line of some length, so that there are fewer of them\n";
        let run = one(name, line.repeat(5 * mebi / line.len()));
        assert_eq!(run.code, 2, "{name}: {}", run.stderr);
        let words = if matches!(*name, "gpuseal.yaml" | "pyproject.toml") {
            vec![*name, "the file has more than the 1048576 bytes that are read"]
        } else {
            vec![*name, "has more than the 2 MB that are read", ":33289"]
        };
        let words: Vec<_> =
            words.into_iter().filter(|w| *w != ":33289" || run.stderr.contains(":33289")).collect();
        run.says(2, &words);
    }
    for name in LOCKS {
        one(name, "x = 1\n".repeat(20 * mebi / 6)).says(2, &[name, "16 MB", ":2796203"]);
    }
}

/// Ten megabytes of one thing, as much of it as the bounds let through, in every file.
#[test]
fn much_of_one_thing_is_refused_or_read() {
    let parts = [
        "[", "{", "(", "\"", "'", "\"\"\"", "\n", " ", "\t", "#", ",", ".", "a=", "a\n", "a,",
        "a.", "a;", "a: ", "- ", "- - ", "&a ", "*a ", "\\\n", "://@", "[[a]]\n", "{a=", "}", "]",
    ];
    for name in MANIFESTS.iter().chain(LOCKS) {
        for part in parts {
            // Half of what is read, to spare a debug build; the bounds are far below it.
            let most = if cfg!(debug_assertions) { 64 * 1024 } else { 1024 * 1024 };
            let run = one(name, part.repeat(most / part.len()));
            if run.code == 2 && *name != "gpuseal.yaml" {
                let line = format!("--> {name}:");
                assert!(run.stderr.contains(&line), "{name} of {part:?}: {}", run.stderr);
            }
        }
    }
}

#[test]
fn bytes_that_are_no_text() {
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(1024 * 1024)
    .collect();
    for name in MANIFESTS.iter().chain(LOCKS) {
        one(name, &noise).says(2, &[name, "is not UTF-8"]);
        one(name, b"# a\n\xff\n").says(2, &[&format!("{name}:2"), "is not UTF-8"]);
        if *name != "gpuseal.yaml" && *name != "pyproject.toml" {
            one(name, b"# a\n# b\n\0\n").says(2, &[&format!("{name}:3"), "NUL byte"]);
        }
    }
}

#[test]
fn requirements_without_end() {
    let line = |text: String, words: &[&str]| {
        one("requirements.txt", text).says(2, words);
    };
    let many = "names more than the 20000 requirements that are read";
    line(each(100_000, |n| format!("p{n}==1.2.{n}\n")), &[many, "requirements.txt:20001"]);
    line(each(200_000, |_| "torch\n".into()), &[many, "requirements.txt:20001"]);
    line(format!("a\ntorch[{}]", "b,".repeat(500_000)), &["longer than the 8192", ".txt:2:1"]);
    line(format!("torch=={}", "1.".repeat(900_000)), &["longer than the 8192", ".txt:1:1"]);
    line(format!("torch==1{}", ".1".repeat(100)), &["more versions than are read", ".txt:1:1"]);
    line(format!("torch{}", "!=2,".repeat(100)), &["is no requirement", ".txt:1:1"]);
    line(format!("{}>>", " ".repeat(1_900_000)), &["is no requirement", "requirements.txt:1:"]);
    line("-e .\n-r nope\n".into(), &["there is no `nope`", "requirements.txt:2"]);
    let index = format!("--index-url https://x.example/{}\n", "a".repeat(1_000_000));
    let long = one("requirements.txt", index + &"torch\n".repeat(19_000));
    assert_eq!(long.code, 0, "{}", long.stderr);
    let text = each(1100, |n| format!("--extra-index-url https://x.example/{n}/cu124\n"));
    line(text + "torch\n", &["more than the 1000 indexes", "requirements.txt:1001"]);
    let folders = one("requirements.txt", "-e .\n".repeat(400_000));
    assert_eq!(folders.code, 0, "{}", folders.stderr);
    one("requirements.txt", each(30_000, |n| format!("a${{V{n}}}\n"))).says(0, &["V0", "V499"]);
}

#[test]
fn names_and_markers_that_a_parser_stumbles_over() {
    let line = |text: &str, word: &str| {
        one("requirements.txt", format!("a\n{text}\n")).says(2, &[word, "requirements.txt:2:1"]);
    };
    line("torch- >=2", "is no requirement");
    line("torch._-;", "is no requirement");
    line("torch[gpu-]", "is no name of an extra");
    line("torch; os_name == 'a' o\u{202e} os_name == 'b'", "is no requirement");
    line(&format!("torch; {}", "(".repeat(1_000_000)), "longer than the 8192");
    line(&format!("torch; {}", "(".repeat(4000)), "nested more than 32 deep");
    line(&format!("torch; {}", "os_name == 'a' or ".repeat(400)), "4096 bytes");
    // Each pair doubles what a tree of decisions has to tell apart.
    let pairs = |n| each(n, |i| format!("(extra == 'a{i:02}' and extra == 'b{i:02}') or "));
    line(&format!("torch; {} os_name == 'x'", pairs(40)), "too many environments");
    let contains = each(40, |i| format!("('a{i}' in os_name and 'b{i}' in sys_platform) or "));
    line(&format!("torch; {contains} os_name == 'x'"), "too many environments");
    one("requirements.txt", format!("torch; {} os_name == 'x'\n", pairs(7))).says(0, &["torch"]);
    let marked =
        each(15_000, |i| format!("torch; python_version == '3.{i}' and sys_platform == 'p{i}'\n"));
    one("requirements.txt", marked).says(0, &["15000 requirements"]);
}

#[test]
fn contradictions_without_end() {
    one("requirements.txt", each(19_000, |n| format!("torch==2.{n}\n")))
        .says(1, &["contradiction", "requirements.txt:2"]);
    one("requirements.txt", each(19_000, |n| format!("torch==2.6+cu{}\n", 100 + n % 30)))
        .says(1, &["contradiction"]);
    let wide = each(60, |n| format!("!=2.{n},"));
    one("requirements.txt", each(3000, |n| format!("torch{wide}>{n}\n"))).says(0, &["torch"]);
    let place = folder(&[("pyproject.toml", PROJECT)]);
    let lock = each(60_000, |n| format!("[[package]]\nname = \"torch\"\nversion = \"1.{n}\"\n"));
    write(place.path(), "uv.lock", lock);
    inputs(place.path()).says(0, &["1 requirement in 2 files"]);
    write(place.path(), "uv.lock", "[[package]]\n".repeat(400_000));
    inputs(place.path()).says(2, &["more than the 150000 values", "uv.lock:"]);
    let conda = each(15_000, |n| format!("- python=3.{n}\n"));
    let run = one("environment.yml", format!("dependencies:\n{conda}"));
    run.says(1, &["contradiction"]);
}

#[test]
fn extras_and_groups_without_end() {
    let extras = |text: &str| project(&format!("[project.optional-dependencies]\n{text}"));
    let crowd = "more than the 40000 values that are read";
    extras(&each(50_000, |n| format!("e{n} = [\"a\"]\n"))).says(2, &[crowd, "pyproject.toml:"]);
    let list = each(30_000, |n| format!("\"a{n}\",\n"));
    extras(&format!("e = [\n{list}]\n")).says(2, &["20000 requirements", "pyproject.toml:"]);
    extras("a = [\"x[b]\"]\nb = [\"x[a]\"]\n")
        .says(2, &["the extra `a` is made of itself", "pyproject.toml:7"]);
    let twice = each(30, |n| format!("e{n} = [\"x[e{0},e{0}]\"]\n", n + 1));
    extras(&format!("{twice}e30 = [\"torch\"]\n")).says(0, &["torch"]);
    let chain = each(1000, |n| format!("e{n} = [\"x[e{}]\"]\n", n + 1));
    extras(&chain).says(2, &["more than 32 deep", "pyproject.toml:"]);
    let key = format!("\"{}\" = [{}]\n", "k".repeat(800_000), each(9000, |n| format!("\"a{n}\",")));
    extras(&key).says(2, &["32 MB of requirements", "pyproject.toml:6"]);
    extras(&each(60, |n| format!("e{n} = [\"torch==2.{n}\"]\n"))).says(0, &["too many options"]);
    let torn = each(60, |n| format!("e{n} = [{}]\n", format!("\"torch==2.{n}\",").repeat(300)));
    extras(&torn).says(0, &["too many options"]);

    let groups = |text: &str| one("pyproject.toml", format!("[dependency-groups]\n{text}"));
    groups("a = [{include-group = \"b\"}]\nb = [{include-group = \"a\"}]\n")
        .says(2, &["includes itself: `a` -> `b` -> `a`", "pyproject.toml:3"]);
    let include = |n: usize| format!("{{include-group = \"e{n}\"}}");
    let twice = each(30, |n| format!("e{n} = [{0}, {0}]\n", include(n + 1)));
    groups(&format!("{twice}e30 = [\"torch\"]\n")).says(0, &["torch"]);
    groups(&each(5000, |n| format!("e{n} = [{}]\n", include(n + 1))))
        .says(2, &["groups include each other more than 32 deep", "pyproject.toml:"]);
    let base = each(1000, |n| format!("\"a{n}\","));
    let wide = each(1000, |n| format!("f{n} = [{}]\n", include(0)));
    groups(&format!("e0 = [{base}]\n{wide}"))
        .says(2, &["hold more than the 20000 requirements", "pyproject.toml:"]);
}

#[test]
fn uv_without_end() {
    let index = "[[tool.uv.index]]\nname = \"i\"\nurl = \"https://x.example/cu124\"\n";
    let source = |n: usize| format!("{{index = \"i\", marker = \"sys_platform == 'p{n}'\"}},");
    let sources = |n| format!("[tool.uv.sources]\ntorch = [{}]\n{index}", each(n, source));
    project(&sources(5000)).says(2, &["more than the 64 sources", "pyproject.toml:6"]);
    project(&sources(60)).says(0, &["torch"]);
    let apart =
        |n: usize| format!("{{index = \"i\", marker = \"extra == 'a{n}' and extra == 'b{n}'\"}},");
    project(&format!("[tool.uv.sources]\ntorch = [{}]\n{index}", each(40, apart)))
        .says(2, &["sources of `torch` make a marker that tells too many", "pyproject.toml:6"]);
    let more = "\"torch\",".repeat(15_000);
    let head = format!("[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [{more}]\n");
    one("pyproject.toml", head + &sources(60)).says(2, &["20000 requirements", "toml:4"]);
    project(&each(2000, |n| format!("[[tool.uv.index]]\nname = \"i{n}\"\nurl = \"u\"\n")))
        .says(2, &["more than the 500 indexes", "pyproject.toml:"]);
    let conflicts = "[{extra=\"a\"},{extra=\"b\"}],".repeat(7000);
    let run = project(&format!("[tool.uv]\nconflicts = [{conflicts}]\n"));
    run.says(0, &["torch"]);
    one("pyproject.toml", "[tool.uv]\nconflicts = [".to_owned() + &conflicts.repeat(4) + "]\n")
        .says(2, &["40000 values", "pyproject.toml:2"]);
}

#[test]
fn workspaces_without_end() {
    let place = folder(&[]);
    for (a, b) in (0..20).flat_map(|a| (0..20).map(move |b| (a, b))) {
        write(place.path(), &format!("d{a}/d{b}/pyproject.toml"), PROJECT);
    }
    let members = |list: &str| {
        let text = format!("{PROJECT}[tool.uv.workspace]\nmembers = [{list}]\n");
        write(place.path(), "pyproject.toml", text);
        inputs(place.path())
    };
    members("\"**\"").says(0, &["more members than are looked for", "pyproject.toml"]);
    members(&"\"**/*\",".repeat(5000)).says(0, &["more members than are looked for"]);
    members("\"d1/*\", \"/etc/*\", \"../*\"").says(0, &["d1/d19/pyproject.toml"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", place.path().join("d0/loop")).expect("a link");
        members("\"d0/**\"").says(0, &["d0/d19/pyproject.toml"]);
    }
}

#[test]
fn poetry_without_end() {
    let poetry = |text: &str| one("pyproject.toml", format!("[tool.poetry.dependencies]\n{text}"));
    let optional = each(5000, |n| format!("p{n} = {{version = \"1\", optional = true}}\n"));
    let extras = each(5000, |n| format!("e{n} = [\"p{n}\", \"p0\"]\n"));
    poetry(&format!("{optional}[tool.poetry.extras]\n{extras}")).says(0, &["requirements"]);
    let list = each(5000, |n| format!("{{version = \"1\", python = \"3.{n}\"}},"));
    poetry(&format!("torch = [{list}]\n")).says(0, &["torch"]);
    for version in [
        "^18446744073709551615.1",
        "~1.18446744073709551615",
        "^99999999999999999999999",
        "==99999999999999999999.*",
    ] {
        poetry(&format!("a = \"1\"\ntorch = \"{version}\"\n"))
            .says(2, &["torch: `", "pyproject.toml:3"]);
    }
    poetry(&format!("torch = \"{}\"\n", "^1,".repeat(100_000)))
        .says(2, &["torch: `", "pyproject.toml:2"]);
}

/// The end of all numbers, in every format: read, or refused on its line.
#[test]
fn numbers_at_their_end() {
    for version in [
        "==18446744073709551615.*",
        "==18446744073709551615",
        ">18446744073709551615.18446744073709551615",
        "~=18446744073709551615.18446744073709551615",
        "!=18446744073709551615.*",
        "<=18446744073709551615!1",
        "==18446744073709551615!18446744073709551615.*",
        "==2.0rc18446744073709551615",
        ">=2.0.post18446744073709551615",
        "<2.0.dev18446744073709551615",
        "==2+18446744073709551616",
        "===18446744073709551615.*",
        "==18446744073709551616",
    ] {
        for (name, text) in [
            ("requirements.txt", format!("torch{version}\ntorch>2\n")),
            (
                "pyproject.toml",
                format!(
                    "[project]\nrequires-python = \"{version}\"\ndependencies = [\"torch{version}\", \"torch>1\"]\n"
                ),
            ),
            (
                "pyproject.toml",
                format!(
                    "[tool.poetry.dependencies]\npython = \"{version}\"\ntorch = {{version = \"{version}\", python = \"{version}\"}}\n"
                ),
            ),
            (
                "setup.cfg",
                format!(
                    "[options]\npython_requires = {version}\ninstall_requires =\n  torch{version}\n"
                ),
            ),
            (
                "setup.py",
                format!(
                    "setup(python_requires='{version}', install_requires=['torch{version}'])\n"
                ),
            ),
            (
                "Pipfile",
                format!(
                    "[packages]\ntorch = \"{version}\"\n[requires]\npython_version = \"18446744073709551615\"\n"
                ),
            ),
            (
                "environment.yml",
                format!(
                    "dependencies:\n- python{version}\n- pytorch{version}\n- cuda-version{version}\n"
                ),
            ),
            (
                "pixi.toml",
                format!(
                    "[dependencies]\npython = \"{version}\"\npytorch = \"{version}\"\ncuda-version = \"{version}\"\n[pypi-dependencies]\ntorch = \"{version}\"\n"
                ),
            ),
            (
                "uv.lock",
                format!(
                    "[[package]]\nname = \"torch\"\nversion = \"{}\"\n",
                    version.trim_start_matches(['=', '<', '>', '~', '!']).trim_end_matches(".*")
                ),
            ),
            (".python-version", version.trim_start_matches('=').to_owned()),
        ] {
            let run = one(name, &text);
            if run.code == 2 {
                let line = format!("--> {name}:");
                assert!(run.stderr.contains(&line), "{name}, {version}: {}", run.stderr);
            }
        }
        for sign in ["==", ">", "<=", "~=", "!=", "in"] {
            let number = version.trim_start_matches(['=', '<', '>', '~', '!']);
            let marker = format!("python_full_version {sign} '{number}'");
            let text = format!("torch>2; {marker}\ntorch<2; {marker}\ntorch<3; {marker}\n");
            let _ = one("requirements.txt", text);
        }
    }
}

#[test]
fn includes_without_end() {
    let place = folder(&[]);
    write(place.path(), "requirements.txt", "-r r1.txt\n-r r1.txt\n");
    for n in 1..18 {
        let text = format!("-r r{0}.txt\n-r r{0}.txt\np{n}\n", n + 1);
        write(place.path(), &format!("r{n}.txt"), text);
    }
    write(place.path(), "r18.txt", "torch\n");
    inputs(place.path()).says(0, &["18 requirements", "r18.txt:1"]);
    for n in 18..30 {
        write(place.path(), &format!("r{n}.txt"), format!("-r r{0}.txt\n-r r{0}.txt\n", n + 1));
    }
    write(place.path(), "r30.txt", "torch\n");
    inputs(place.path()).says(2, &["more than 20 deep", "r19.txt:1"]);

    let place = folder(&[("requirements.txt", "torch\n-r b.txt\n"), ("b.txt", "-c a.txt\n")]);
    write(place.path(), "a.txt", "a\n\n-r requirements.txt\n");
    inputs(place.path()).says(2, &["includes itself", "a.txt:3"]);
    write(place.path(), "a.txt", "-r b.txt\n".repeat(100_000));
    inputs(place.path()).says(2, &["includes itself", "a.txt:1"]);

    let same = "-r b.txt\n".repeat(1500);
    let place = folder(&[("requirements.txt", &same), ("b.txt", "torch\n")]);
    inputs(place.path()).says(0, &["1 requirement in 2 files"]);
    write(place.path(), "requirements.txt", same.repeat(100));
    inputs(place.path()).says(2, &["more than 2000 lines name a file", "requirements.txt:2001"]);
}

#[test]
fn files_without_end() {
    let place = folder(&[]);
    let mut list = String::new();
    for n in 0..600 {
        write(place.path(), &format!("r{n}.txt"), "torch\n");
        let _ = writeln!(list, "-r r{n}.txt");
    }
    write(place.path(), "requirements.txt", &list);
    inputs(place.path()).says(2, &["more than the 500 files", "requirements.txt:500"]);
    let place = folder(&[]);
    for n in 0..600 {
        write(place.path(), &format!("requirements-{n}.txt"), "torch\n");
    }
    inputs(place.path()).says(2, &["more than the 500 files", "requirements-"]);
    let place = folder(&[("base.txt", &each(300, |n| format!("p{n}\n")))]);
    for n in 0..100 {
        write(place.path(), &format!("requirements-{n}.txt"), "-r base.txt\n");
    }
    inputs(place.path()).says(2, &["20000 requirements", "base.txt:"]);
    let place = folder(&[]);
    for n in 0..30 {
        let text = "# a comment that is quite long and says nothing at all\n".repeat(38_000);
        write(place.path(), &format!("requirements-{n:02}.txt"), text);
    }
    inputs(place.path()).says(2, &["more than the 48 MB that are read", "requirements-"]);
}

#[cfg(unix)]
#[test]
fn things_that_are_no_files() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;
    for name in ["requirements.txt", "pyproject.toml", "setup.py", "environment.yml", "uv.lock"] {
        // A folder or a pipe of that name is nothing to read.
        let place = folder(&[(&format!("{name}/x"), "")]);
        inputs(place.path()).says(0, &["no file here says what the project needs"]);
        let place = folder(&[]);
        let pipe = place.path().join(name);
        assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|s| s.success()));
        inputs(place.path()).says(0, &["no file here says what the project needs"]);

        let place = folder(&[]);
        symlink("/etc/hostname", place.path().join(name)).expect("a link");
        if name != "pyproject.toml" {
            inputs(place.path()).says(2, &[name, "leads out of the project"]);
        }
        let place = folder(&[]);
        symlink(name, place.path().join(name)).expect("a link to itself");
        inputs(place.path()).says(0, &["no file here says what the project needs"]);
    }
    let place = folder(&[]);
    let pipe = place.path().join("p.txt");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|s| s.success()));
    symlink("/etc/hostname", place.path().join("l.txt")).expect("a link");
    for (target, word) in [
        ("p.txt", "is no regular file"),
        ("/dev/zero", "leads out of the project"),
        ("/etc/hostname", "leads out of the project"),
        ("l.txt", "leads out of the project"),
        ("../../../../../../etc/hostname", "leads out of the project"),
        (".", "is no regular file"),
        ("absent.txt", "there is no `absent.txt`"),
    ] {
        write(place.path(), "requirements.txt", format!("torch\n-r {target}\n"));
        inputs(place.path()).says(2, &[word, "requirements.txt:2"]);
    }
    let long = "x".repeat(100_000);
    write(place.path(), "requirements.txt", format!("torch\n-r {long}\n"));
    inputs(place.path()).says(2, &["requirements.txt:2"]);

    let place = folder(&[("requirements.txt", "torch\n")]);
    let path = place.path().join("requirements.txt");
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o000)).expect("a file");
    // Root reads what nobody may.
    if std::fs::read(&path).is_err() {
        inputs(place.path()).says(2, &["requirements.txt", "ermission denied"]);
    }
}

#[test]
fn yaml_that_grows() {
    for name in ["environment.yml", "gpuseal.yaml"] {
        let nine = |n: usize| vec![format!("*a{n}"); 9].join(", ");
        let bomb = each(12, |n| format!("- &a{} [{}]\n", n + 1, nine(n)));
        let bomb = format!("dependencies:\n- &a0 [x, x, x, x, x, x, x, x, x]\n{bomb}");
        let scalar = format!("a: &a {}\ndependencies:\n", "x".repeat(900_000));
        let anchors = each(15_000, |n| format!("- &a{n} x\n"));
        let deep = each(1000, |n| format!("{}a:\n", " ".repeat(n)));
        for (text, words) in [
            (bomb, &["more than the 40000 values", "environment.yml:"]),
            (
                scalar + &"- *a\n".repeat(10_000),
                &["aliases add more than 4 MB", "environment.yml:"],
            ),
            (
                format!("dependencies:\n{anchors}{}", "- *a0\n".repeat(60_000)),
                &["more than the 40000 values", "environment.yml:"],
            ),
            (deep, &["nested more than 64 deep", "environment.yml:"]),
            ("[".repeat(500_000), &["environment.yml:", "error"]),
            (
                "dependencies:\n".to_owned() + &"- a\n".repeat(60_000),
                &["values", "environment.yml:"],
            ),
        ] {
            let run = one(name, text);
            assert_eq!(run.code, 2, "{}", run.all().chars().take(300).collect::<String>());
            if name == "environment.yml" {
                run.says(2, words);
            }
        }
    }
}

#[test]
fn configurations_without_end() {
    let with = |text: &str| {
        one("gpuseal.yaml", format!("targets:\n  a: {{gpus: [h100]}}\nwith:\n- \"{text}\"\n"))
            .says(2, &["with: `", "is not a requirement", "gpuseal.yaml"]);
    };
    with("x- >=2");
    with(&format!("x {}", "gpus: [rtx] ".repeat(50_000)));
    with(&format!("x; {}", "(".repeat(500_000)));
    with(&format!("x; {}", each(40, |n| format!("extra == 'a{n}' and extra == 'b{n}' or "))));
    with(&"gpus: :\n    ".repeat(20_000));
    with("x; os_name == 'a' o\u{202e} os_name == 'b'");
}

#[test]
fn toml_that_nests() {
    for name in ["pyproject.toml", "Pipfile", "pixi.toml", "uv.lock"] {
        for (text, line) in [
            (format!("a = 1\n{}x = 1\n", "a.".repeat(100_000)), 2),
            (format!("\n[{}x]\n", "a.".repeat(100_000)), 2),
            (format!("a = {}", "[".repeat(100_000)), 1),
            (format!("a = {}", "{a = ".repeat(50_000)), 1),
            // The reader's own count of brackets is misled by the headers.
            ("x = {a = 1\n[b]\n".repeat(30_000), 128),
            (format!("a = {}", "{a=[}],b=".repeat(30_000)), 1),
        ] {
            one(name, text).says(2, &[&format!("{name}:{line}")]);
        }
    }
    let place = folder(&[("gpuseal.yaml", "targets:\n  a: {gpus: [h100]}\n")]);
    write(place.path(), "gpuseal.lock", "x = {a = 1\n[b]\n".repeat(30_000));
    run(place.path(), &["lock", "--offline", "--check"]).says(2, &["gpuseal.lock", "line 128"]);
}

#[test]
fn python_that_grows() {
    let setup = |text: String| one("setup.py", text);
    let twice = "a = a + a\n".repeat(60);
    let chain = each(60, |n| format!("a{} = a{n} + a{n}\n", n + 1));
    let long = format!("a = \"{}\"\n", "x".repeat(1_000_000));
    let many = "a\n".repeat(500_000);
    for text in [
        format!("a = [\"torch\"]\n{twice}setup(install_requires=a)\n"),
        format!("a0 = [\"torch\"]\n{chain}setup(install_requires=a60)\n"),
        format!("{long}setup(install_requires=[{}])\n", "a,".repeat(40_000)),
        format!("setup(install_requires={}[\"a\"]{})\n", "(".repeat(60), ")".repeat(60)),
        format!("setup(install_requires={})\n", "[\"a\"]+".repeat(15_000) + "[]"),
        "setup(install_requires=[\"a\"])\n".repeat(40_000),
        each(60_000, |n| format!("a{} = a{n}\n", n + 1)) + "setup(install_requires=a60000)\n",
        "(".repeat(500_000),
    ] {
        let run = setup(text);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    setup(format!("setup(install_requires='''{many}''')\n"))
        .says(2, &["20000 requirements", "setup.py:20001"]);
}

#[test]
fn lines_of_other_files_without_end() {
    let many = "20000 requirements";
    one("setup.cfg", format!("[options]\ninstall_requires = {}", "a;".repeat(500_000)))
        .says(2, &[many, "setup.cfg:2"]);
    let extras = each(60_000, |n| format!("e{n} = a\n"));
    one("setup.cfg", format!("[options.extras_require]\n{extras}"))
        .says(2, &[many, "setup.cfg:20002"]);
    let long = "s".repeat(900_000);
    let keys = each(50_000, |n| format!("k{n} = 1\n"));
    let run = one("setup.cfg", format!("[{long}]\n{keys}"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    one("setup.cfg", format!("[options.extras_require]\n{long} =\n{}", " a\n".repeat(50_000)))
        .says(2, &["32 MB of requirements", "setup.cfg:"]);
    one("Pipfile", format!("[packages]\n{}", each(25_000, |n| format!("p{n} = \"*\"\n"))))
        .says(2, &[many, "Pipfile:20002"]);
    let sources = each(1100, |n| format!("[[source]]\nname = \"s{n}\"\nurl = \"u{n}\"\n"));
    one("Pipfile", sources).says(2, &["1000 indexes", "Pipfile:"]);
    let lists = "\"h\",".repeat(5000);
    one("pixi.toml", format!("[pypi-options]\nextra-index-urls = [{lists}]\n"))
        .says(2, &["1000 indexes", "pixi.toml:2"]);
    let features = each(3000, |n| format!("[feature.f{n}.dependencies]\npytorch = \"2.{n}\"\n"));
    one("pixi.toml", features).says(0, &["too many options"]);
    let pip = each(15_000, |n| format!("  - torch=={n}\n"));
    one("environment.yml", format!("dependencies:\n- pip:\n{pip}")).says(1, &["contradiction"]);
    let pdm = "[[tool.pdm.source]]\nname = \"a\"\nurl = \"u\"\ninclude_packages = [\"x*\"]\n";
    let more = "\"torch\",".repeat(10_000);
    let head = format!("[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [{more}]\n");
    one("pyproject.toml", head + &pdm.repeat(1000)).says(0, &["more patterns", "pyproject.toml"]);
    one(".python-version", "3.12\n".repeat(100_000)).says(0, &["3.12"]);
}

/// What stands where a file of ours has its place is read, shown and written over: so a link does not
/// lead out, and what is no file, or has no end, is not waited for.
#[cfg(unix)]
#[test]
fn places_of_ours_that_lead_elsewhere() {
    use std::os::unix::fs::symlink;
    use std::process::Command;
    const WISHES: &str = "torch: \"2.9.1\"\ntargets:\n  a: {gpus: h100, driver: \"580\"}\n";
    const SECRET: &str = "machine example.org password hunter2\n";
    let around = folder(&[("p/gpuseal.yaml", WISHES), ("secret", SECRET)]);
    let at = around.path();
    let says = |args: &[&str], words: &[&str]| {
        let run = run(at, &[args, &["--project", "p"]].concat());
        run.says(2, words);
        assert!(!run.all().contains("hunter2"), "{args:?}: {}", run.all());
        let kept = fs_err::read_to_string(at.join("secret")).expect("the secret");
        assert_eq!(kept, SECRET, "{args:?}");
    };
    let out = "leads out of the project";

    fs_err::rename(at.join("p/gpuseal.yaml"), at.join("wishes.yaml")).expect("moved");
    symlink("../secret", at.join("p/gpuseal.yaml")).expect("a link");
    says(&["resolve"], &["`p/gpuseal.yaml` is a link", out, "help: "]);
    fs_err::remove_file(at.join("p/gpuseal.yaml")).expect("a link");
    // The user's own word is enough.
    run(at, &["resolve", "--project", "p", "--config", "wishes.yaml"]).says(0, &[]);
    symlink("../secret", at.join("p/gpuseal.lock")).expect("a link");
    for args in [
        &["lock", "--offline", "--config", "wishes.yaml"][..],
        &["lock", "--offline", "--config", "wishes.yaml", "--force"],
        &["lock", "--offline", "--config", "wishes.yaml", "--check"],
        &["lock", "--frozen"],
        &["resolve", "--config", "wishes.yaml", "--check"],
        &["render", "dockerfile"],
    ] {
        says(args, &["`p/gpuseal.lock` is a link", out]);
    }
    fs_err::remove_file(at.join("p/gpuseal.lock")).expect("a link");
    let pipe = |name: &str| {
        assert!(Command::new("mkfifo").arg(at.join(name)).status().is_ok_and(|s| s.success()));
    };
    pipe("p/gpuseal.lock");
    says(&["render", "dockerfile"], &["gpuseal.lock", "no regular file"]);
    fs_err::remove_file(at.join("p/gpuseal.lock")).expect("a pipe");

    fs_err::copy(at.join("wishes.yaml"), at.join("p/gpuseal.yaml")).expect("a copy");
    run(at, &["lock", "--offline", "--project", "p"]).says(0, &["wrote"]);
    let ways = |kind: &'static str, file: &'static str, word: &str| {
        for args in [
            &["render", kind, "--check"][..],
            &["render", kind, "--diff"],
            &["render", kind, "--hook"],
            &["render", kind, "--check", "-o", file],
            &["lock", "--offline", "--render", kind],
            &["lock", "--offline", "--check", "--render", kind],
        ] {
            says(args, &[word]);
        }
        fs_err::remove_file(at.join(file)).expect("a place");
    };
    for (kind, file) in [("dockerfile", "p/Dockerfile"), ("install", "p/install.sh")] {
        for target in ["../secret", "/dev/zero", "/proc/self/environ"] {
            symlink(target, at.join(file)).expect("a link");
            says(&["render", kind, "-o", file, "--force"], &[out]);
            ways(kind, file, out);
        }
        pipe(file);
        ways(kind, file, "no regular file");
    }
    fs_err::create_dir(at.join("other")).expect("a folder");
    symlink("../other", at.join("p/.devcontainer")).expect("a link");
    says(&["lock", "--offline", "--render", "devcontainer"], &[out]);
    assert!(support::files(&at.join("other")).is_empty());

    // Without an end, or without a text.
    write(at, "p/install.sh", "x".repeat(9 << 20));
    let start = Instant::now();
    says(&["render", "install", "--check"], &["is not what `gpuseal render install` writes"]);
    write(at, "p/install.sh", "echo hunter3\n".repeat(500_000));
    let run = run(at, &["render", "install", "--check", "--project", "p"]);
    run.says(1, &["lock-stale", " bytes more"]);
    assert!(run.stdout.len() < 2 << 20, "{} bytes", run.stdout.len());
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());

    // A place outside that the user names is meant; a link inside of the project is one.
    support::run(at, &["render", "install", "--project", "p", "-o", "install.sh"])
        .says(0, &["wrote install.sh"]);
    support::run(at, &["render", "install", "--project", "p", "-o", "install.sh", "--check"])
        .says(0, &[]);
    fs_err::remove_file(at.join("p/install.sh")).expect("a file");
    write(at, "p/real.sh", "");
    symlink("real.sh", at.join("p/install.sh")).expect("a link");
    support::run(at, &["lock", "--offline", "--render", "install", "--project", "p"])
        .says(0, &["wrote p/install.sh"]);
    assert!(at.join("p/install.sh").is_symlink());
}
