#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

/// A machine made of files; `ask` knows no program unless told.
struct Machine {
    folder: tempfile::TempDir,
    env: BTreeMap<String, String>,
    family: Family,
}

impl Machine {
    fn new(files: &[(&str, &str)], env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir_all(folder.path().join("repo/project")).unwrap();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { folder, env, family: Family::Unix }
    }

    fn path(&self, name: &str) -> String {
        self.root().join(name).to_str().unwrap().to_owned()
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    fn var(mut self, name: &str, file: &str) -> Self {
        let path = self.path(file);
        self.env.insert(name.into(), path);
        self
    }

    fn asked(
        &self,
        ask: &dyn Fn(&str, &[&str]) -> Option<String>,
    ) -> Result<PypiAddress, SettingsError> {
        let root = self.root();
        pypi(&Look {
            env: self.env.clone(),
            home: Some(root.join("home")),
            project: root.join("repo/project"),
            fence: root.join("repo"),
            root,
            family: self.family,
            ask,
        })
    }

    fn found(&self) -> Result<PypiAddress, SettingsError> {
        self.asked(&|_, _| None)
    }

    #[track_caller]
    fn says(&self, url: &str, origin: &str) -> PypiAddress {
        let found = self.found().unwrap();
        assert_eq!(found.url.as_str(), url);
        // The test's own folder is not what matters.
        let shown = found.origin.replace(&format!("{}/", self.root().display()), "/");
        assert_eq!(shown, origin);
        found
    }

    #[track_caller]
    fn fails(&self, words: &[&str]) {
        let err = self.found().unwrap_err();
        for word in words {
            assert!(err.to_string().contains(word), "{err} lacks {word}");
        }
        assert!(err.help().is_some());
    }
}

const PIP: &str = "[global]\nindex-url = https://global.test/simple\n";

#[test]
fn variables_come_first_and_uvs_before_pips() {
    let all = [
        ("UV_DEFAULT_INDEX", "https://a.test/simple"),
        ("UV_INDEX_URL", "https://b.test/simple/"),
        ("PIP_INDEX_URL", "https://c.test/simple"),
    ];
    let files = [
        ("repo/project/uv.toml", "index-url = \"https://d.test/simple\"\n"),
        ("etc/pip.conf", PIP),
    ];
    for (skip, url, origin) in [
        (0, "https://a.test/simple/", "UV_DEFAULT_INDEX"),
        (1, "https://b.test/simple/", "UV_INDEX_URL"),
        (2, "https://c.test/simple/", "PIP_INDEX_URL"),
        (3, "https://d.test/simple/", "uv.toml:1, index-url"),
    ] {
        Machine::new(&files, &all[skip..]).says(url, origin);
    }
    // Empty ones are none, as for both programs.
    Machine::new(&files[1..], &[("UV_DEFAULT_INDEX", " "), ("PIP_INDEX_URL", "")])
        .says("https://global.test/simple/", "/etc/pip.conf, [global] index-url");
    Machine::new(
        &[],
        &[
            ("UV_DEFAULT_INDEX", "corp-1=https://a.test/simple?"),
            ("UV_INDEX_CORP_1_USERNAME", "me"),
        ],
    )
    .fails(&["UV_DEFAULT_INDEX", "no `?`"]);
    let named = Machine::new(
        &[],
        &[
            ("UV_DEFAULT_INDEX", "corp-1=https://a.test/simple"),
            ("UV_INDEX_CORP_1_USERNAME", "me"),
            ("UV_INDEX_CORP_1_PASSWORD", "pass word"),
        ],
    );
    named.says("https://me:pass%20word@a.test/simple/", "UV_DEFAULT_INDEX");
}

#[test]
fn uvs_files_count_from_the_project_outwards() {
    let index = |host: &str| {
        format!("[[index]]\nname = \"x\"\nurl = \"https://{host}.test/simple\"\ndefault = true\n")
    };
    let table = "[tool.uv]\nindex-url = \"https://old.test/simple\"\n[[tool.uv.index]]\nurl = \"https://project.test/simple\"\ndefault = true\n";
    let user = index("user");
    let system = index("system");
    let files = [
        ("repo/project/pyproject.toml", table),
        ("home/.config/uv/uv.toml", user.as_str()),
        ("etc/uv/uv.toml", system.as_str()),
    ];
    Machine::new(&files, &[])
        .says("https://project.test/simple/", "pyproject.toml:3, [tool.uv] index");
    Machine::new(&files[1..], &[])
        .says("https://user.test/simple/", "~/.config/uv/uv.toml:1, index");
    Machine::new(&files[2..], &[]).says("https://system.test/simple/", "/etc/uv/uv.toml:1, index");
    // uv.toml stands before pyproject.toml, and one without uv's table is passed by.
    let plain = [
        ("repo/project/pyproject.toml", "[project]\nname = \"x\"\n"),
        ("repo/uv.toml", user.as_str()),
    ];
    Machine::new(&plain, &[]).says("https://user.test/simple/", "/repo/uv.toml:1, index");
    // Nothing above the fence is the project's.
    assert_eq!(
        Machine::new(&[("uv.toml", user.as_str())], &[]).found().unwrap_err(),
        SettingsError::Nowhere
    );
    // One file by name, or none at all.
    let machine = Machine::new(&files, &[]).var("UV_CONFIG_FILE", "etc/uv/uv.toml");
    machine.says("https://system.test/simple/", "/etc/uv/uv.toml:1, index");
    Machine::new(&files, &[])
        .var("UV_CONFIG_FILE", "absent.toml")
        .fails(&["absent.toml", "not there"]);
    assert_eq!(
        Machine::new(&files, &[("UV_NO_CONFIG", "1")]).found().unwrap_err(),
        SettingsError::Nowhere
    );
    let pip = "[pip]\nindex-url = \"https://pip.test/simple\"\n";
    Machine::new(&[("etc/xdg/uv/uv.toml", pip), files[2]], &[])
        .says("https://pip.test/simple/", "/etc/xdg/uv/uv.toml:2, index-url");
}

#[test]
fn pips_files_count_as_pip_counts_them() {
    let conf = |section: &str, host: &str| {
        format!("[{section}]\nindex-url = https://{host}.test/simple\n")
    };
    let [xdg, global, legacy, user, site, named] =
        ["xdg", "etc", "legacy", "user", "site", "named"].map(|host| conf("global", host));
    let files = [
        ("etc/xdg/pip/pip.conf", xdg.as_str()),
        ("etc/pip.conf", global.as_str()),
        ("home/.pip/pip.conf", legacy.as_str()),
        ("home/.config/pip/pip.conf", user.as_str()),
        ("venv/pip.conf", site.as_str()),
        ("named.conf", named.as_str()),
    ];
    let machine = |count: usize| Machine::new(&files[..count], &[]).var("VIRTUAL_ENV", "venv");
    let key = |file: &str| format!("{file}, [global] index-url");
    machine(1).says("https://xdg.test/simple/", &key("/etc/xdg/pip/pip.conf"));
    machine(2).says("https://etc.test/simple/", &key("/etc/pip.conf"));
    machine(3).says("https://legacy.test/simple/", &key("~/.pip/pip.conf"));
    machine(4).says("https://user.test/simple/", &key("~/.config/pip/pip.conf"));
    machine(5).says("https://site.test/simple/", &key("/venv/pip.conf"));
    machine(6)
        .var("PIP_CONFIG_FILE", "named.conf")
        .says("https://named.test/simple/", &key("/named.conf"));
    // A file named by hand takes the place of the user's, if it is there.
    Machine::new(&[("home/.pip/pip.conf", &legacy), ("named.conf", "")], &[])
        .var("PIP_CONFIG_FILE", "named.conf")
        .fails(&["nothing says"]);
    Machine::new(&[("home/.pip/pip.conf", &legacy)], &[])
        .var("PIP_CONFIG_FILE", "absent.conf")
        .says("https://legacy.test/simple/", &key("~/.pip/pip.conf"));
    let mut none = machine(5);
    none.env.insert("PIP_CONFIG_FILE".into(), "/dev/null".into());
    none.fails(&["nothing says"]);
    // [install] of a weaker file stands before [global] of a stronger one.
    let install = conf("install", "install");
    Machine::new(&[("etc/pip.conf", &install), ("home/.pip/pip.conf", &legacy)], &[])
        .says("https://install.test/simple/", "/etc/pip.conf, [install] index-url");
}

#[test]
fn other_systems_have_other_folders() {
    let mut mac = Machine::new(&[("home/Library/Application Support/pip/pip.conf", PIP)], &[]);
    mac.family = Family::Macos;
    let mine = "~/Library/Application Support/pip/pip.conf, [global] index-url";
    mac.says("https://global.test/simple/", mine);
    let mut mac = Machine::new(&[("home/.config/pip/pip.conf", PIP)], &[]);
    mac.family = Family::Macos;
    mac.says("https://global.test/simple/", "~/.config/pip/pip.conf, [global] index-url");
    let mut windows = Machine::new(&[("roaming/pip/pip.ini", PIP)], &[]).var("APPDATA", "roaming");
    windows.family = Family::Windows;
    windows.says("https://global.test/simple/", "/roaming/pip/pip.ini, [global] index-url");
}

#[test]
fn the_programs_tell_their_default() {
    let machine = Machine::new(&[], &[]);
    let here = "https://index.test/simple";
    let pip = machine.asked(&|program, args| {
        (program == "python3" && args.contains(&"-c")).then(|| format!("{here}\n"))
    });
    let pip = pip.unwrap();
    assert_eq!(pip.url.as_str(), "https://index.test/simple/");
    assert_eq!(pip.origin, "the default of pip, asked through python3");
    // A pip whose inside is another, in the second Python.
    let help = machine.asked(&|program, args| {
        (program == "python" && args.contains(&"--help"))
            .then(|| format!("-i, --index-url <url> Base URL (default {here}). This"))
    });
    assert_eq!(help.unwrap().origin, "the default of pip, asked through python");
    let uv = machine.asked(&|program, _| {
        (program == "uv").then(|| format!("--default-index <I> The index (by default: <{here}>)"))
    });
    assert_eq!(uv.unwrap().origin, "the default of uv");
    // Words that are no address are no answer.
    let odd = machine.asked(&|_, _| Some("Traceback: file:///etc/passwd\n".into()));
    assert_eq!(odd.unwrap_err(), SettingsError::Nowhere);
    machine.fails(&["nothing says where PyPI is"]);
}

#[test]
fn settings_may_forbid_every_index() {
    let files = [("home/.pip/pip.conf", "[install]\nno-index = on\n"), ("etc/pip.conf", PIP)];
    Machine::new(&files, &[]).fails(&["~/.pip/pip.conf, [install] no-index", "forbids"]);
    Machine::new(&files, &[("PIP_INDEX_URL", "https://a.test")]).fails(&["no-index"]);
    Machine::new(&files, &[("PIP_NO_INDEX", "0")])
        .says("https://global.test/simple/", "/etc/pip.conf, [global] index-url");
    Machine::new(&[], &[("PIP_NO_INDEX", "yes")]).fails(&["PIP_NO_INDEX forbids"]);
    Machine::new(&[], &[("UV_NO_INDEX", "1"), ("UV_DEFAULT_INDEX", "https://a.test")])
        .fails(&["UV_NO_INDEX"]);
    Machine::new(&[("repo/project/uv.toml", "no-index = true\n")], &[])
        .fails(&["uv.toml:1, no-index"]);
}

#[test]
fn further_indexes_are_noted_and_never_used() {
    let env = [
        ("PIP_INDEX_URL", "https://a.test/simple"),
        ("PIP_EXTRA_INDEX_URL", "https://me:secret@b.test/simple https://c.test/?token=secret"),
        ("PIP_FIND_LINKS", "/opt/wheels"),
        ("UV_INDEX", "https://d.test"),
    ];
    let found = Machine::new(&[], &env).found().unwrap();
    assert_eq!(found.url.as_str(), "https://a.test/simple/");
    let notes = found.notes.join("\n");
    for word in [
        "PIP_EXTRA_INDEX_URL is not used (https://***@b.test/simple, https://c.test/?***)",
        "PIP_FIND_LINKS is not used (/opt/wheels)",
        "UV_INDEX is not used (https://d.test)",
    ] {
        assert!(notes.contains(word), "{notes} lacks {word}");
    }
    assert!(!notes.contains("secret"));
    let table = "[[index]]\nurl = \"https://extra.test\"\n[[index]]\nname = \"cu\"\nurl = \"https://cu.test\"\nexplicit = true\n";
    let found = Machine::new(&[("repo/project/uv.toml", table), ("etc/pip.conf", PIP)], &[]);
    let notes = found.found().unwrap().notes;
    assert_eq!(
        notes,
        ["uv.toml:1, index is not used (https://extra.test): a package comes from one index"]
    );
    let plain = Machine::new(&[], &[("PIP_INDEX_URL", "http://me:secret@a.test/simple")]).found();
    let notes = plain.unwrap().notes;
    assert!(notes[0].contains("plain http") && !notes[0].contains("secret"), "{notes:?}");
    let near = Machine::new(&[], &[("PIP_INDEX_URL", "http://127.0.0.1:8080/simple")]).found();
    assert!(near.unwrap().notes.is_empty());
}

#[test]
fn what_is_no_address_is_refused_without_its_secret() {
    for (given, word) in [
        ("ftp://me:secret@a.test", "neither http nor https"),
        ("file:///opt/index", "neither"),
        ("/opt/index", "cannot be read"),
        ("me:secret@a.test/simple", "neither"),
        ("https://me:secret@a.test/x y", "more than one word"),
        ("https://a.test/\nhttps://b.test", "more than one word"),
        ("https://me:secret@a.test/#x", "no `#`"),
        ("https://a.test/?token=secret", "no `?`"),
        ("https://", "cannot be read"),
        ("https://me:80/secret@a.test?x", "no `?`"),
        ("https://me:secret?secret@a.test", "cannot be read"),
    ] {
        let err = Machine::new(&[], &[("PIP_INDEX_URL", given)]).found().unwrap_err();
        let text = err.to_string();
        assert!(text.contains(word) && text.contains("PIP_INDEX_URL"), "{given}: {text}");
        assert!(!text.contains("secret") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let long = "#".repeat(3 << 20);
    Machine::new(&[("etc/pip.conf", &long)], &[]).fails(&["/etc/pip.conf", "2097152 bytes"]);
    Machine::new(&[("etc/pip.conf", "[global]\nx\n")], &[]).fails(&["/etc/pip.conf`, line 2"]);
    Machine::new(&[("repo/project/uv.toml", "a = [\n")], &[]).fails(&["`uv.toml`, line"]);
    let deep = format!("x = {}", "[".repeat(100_000));
    Machine::new(&[("repo/project/uv.toml", &deep)], &[]).fails(&["`uv.toml`, line 1", "deep"]);
    let machine = Machine::new(&[], &[]);
    std::fs::create_dir_all(machine.root().join("etc/pip.conf")).unwrap();
    machine.fails(&["no regular file"]);
    let machine = Machine::new(&[], &[]);
    std::fs::create_dir_all(machine.root().join("etc")).unwrap();
    std::fs::write(machine.root().join("etc/pip.conf"), b"[global]\n\xff\n").unwrap();
    machine.fails(&["not UTF-8"]);
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_project_is_not_followed() {
    let machine = Machine::new(&[("elsewhere.toml", "index-url = \"https://a.test\"\n")], &[]);
    let link = machine.root().join("repo/project/uv.toml");
    std::os::unix::fs::symlink(machine.root().join("elsewhere.toml"), link).unwrap();
    machine.fails(&["`uv.toml`", "leads out of the project"]);
}

/// Whatever stands in the files, it is an answer or an error.
#[test]
fn any_text_is_an_answer_or_an_error() {
    use proptest::prelude::*;
    proptest!(ProptestConfig::with_cases(64), |(text in "(\\PC|\n|\\[global\\]\n|index-url|=|:| ){0,80}")| {
        for file in ["etc/pip.conf", "repo/project/uv.toml", "repo/pyproject.toml"] {
            let _ = Machine::new(&[(file, text.as_str())], &[]).found();
        }
        let _ = Machine::new(&[], &[("UV_DEFAULT_INDEX", text.as_str())]).found();
    });
}

/// The real thing: whatever this machine says, it is an address or an error that helps.
#[test]
fn this_machine_can_be_asked() {
    match pypi(&Look::here(Path::new("."))) {
        Ok(found) => assert!(found.url.path().ends_with('/') && !found.origin.is_empty()),
        Err(err) => assert!(err.help().is_some()),
    }
}
