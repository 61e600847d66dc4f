#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use super::uv;
use super::*;
use crate::lock::{Lockfile, Origin, sample};

/// The sample as if every index had been asked.
fn filled() -> Lockfile {
    let mut lock = sample::lock();
    for target in &mut lock.targets {
        for package in &mut target.packages {
            if package.version.is_none() {
                package.version = Some("5.1".parse().unwrap());
            }
            let folder = match package.index {
                Index::Pypi => "https://files.example.org/packages".to_owned(),
                Index::Pytorch(variant) => format!("https://download.pytorch.org/whl/{variant}"),
            };
            let version = version(package).unwrap();
            let end = if package.source_build { ".tar.gz" } else { "-py3-none-any.whl" };
            let name = format!("{}-{version}{end}", package.name.as_str().replace('-', "_"));
            package.file = Some(LockedFile {
                url: format!("{folder}/{}", name.replace('+', "%2B")).parse().unwrap(),
                name: name.parse().unwrap(),
                size: 1000,
                sha256: format!("sha256:{}", "5".repeat(64)).parse().unwrap(),
                origin: Origin::Index,
                contents: None,
            });
        }
    }
    // It can be written and read.
    Lockfile::parse(&lock.to_toml(), "filled").unwrap()
}

fn of(kind: Kind, target: &str) -> String {
    let lock = filled();
    let text = export(kind, &lock, lock.target(target).unwrap()).unwrap();
    assert!(text.starts_with("# Written by gpuseal from gpuseal.lock") && text.ends_with('\n'));
    assert!(text.contains(lock.digest().as_str()));
    assert!(text.lines().all(|line| line.trim_end() == line));
    text
}

#[test]
fn every_file_is_named_with_its_digest() {
    let hash = format!("--hash=sha256:{}", "5".repeat(64));
    let text = of(Kind::Requirements, "fleet");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            format!(
                "nvidia-cudnn-cu12 @ https://download.pytorch.org/whl/cu126/nvidia_cudnn_cu12-9.10.2.21-py3-none-any.whl {hash}"
            ),
            format!(
                "torch @ https://download.pytorch.org/whl/cu126/torch-2.14.1%2Bcu126-py3-none-any.whl {hash}"
            ),
            format!(
                "torchvision @ https://download.pytorch.org/whl/cu126/torchvision-0.29.1%2Bcu126-py3-none-any.whl {hash}"
            ),
            format!(
                "vllm @ https://files.example.org/packages/vllm-0.25.0-py3-none-any.whl {hash}"
            ),
        ]
    );
    // What is compiled is named by version, and an index line only where a mirror stands for PyPI.
    assert!(of(Kind::Requirements, "compiled").contains(&format!("\nflash-attn==2.8.3 {hash}\n")));
    let mut lock = filled();
    lock.mirrors
        .insert("pypi".parse().unwrap(), "https://mirror.example.org/simple".parse().unwrap());
    let text = export(Kind::Requirements, &lock, lock.target("compiled").unwrap()).unwrap();
    assert!(text.contains("\n--index-url https://mirror.example.org/simple\nflash-attn=="));
    let text = export(Kind::Requirements, &lock, lock.target("fleet").unwrap()).unwrap();
    assert!(!text.contains("index-url"));
}

#[test]
fn versions_alone_need_no_index() {
    let lock = sample::lock();
    let text = export(Kind::Constraints, &lock, lock.target("train").unwrap()).unwrap();
    assert!(text.ends_with(
        "cuda-toolkit==13.2.1\ntorch==2.14.1\ntorchvision==0.29.1\ntransformers>=5,<6\n"
    ));
    assert!(of(Kind::Constraints, "fleet").contains("\ntorch==2.14.1+cu126\n"));
}

#[test]
fn a_file_that_nobody_looked_up_is_named() {
    let lock = sample::lock();
    for kind in [Kind::Requirements, Kind::Pylock] {
        let error = export(kind, &lock, lock.target("arm").unwrap()).unwrap_err();
        assert!(error.to_string().contains("`torch` of target `arm`"), "{error}");
        assert!(error.help().unwrap().contains("gpuseal lock"));
    }
}

#[test]
fn pylock_is_pep_751() {
    let text = of(Kind::Pylock, "fleet");
    let lock: toml::Table = text.parse().unwrap();
    assert_eq!(lock["lock-version"].as_str(), Some("1.0"));
    assert_eq!(lock["requires-python"].as_str(), Some("==3.11.*"));
    assert_eq!(
        lock["environments"][0].as_str(),
        Some(
            "sys_platform == 'linux' and platform_machine == 'x86_64' and python_version == '3.11'"
        )
    );
    assert_eq!(lock["tool"]["gpuseal"]["target"].as_str(), Some("fleet"));
    let torch = &lock["packages"][1];
    assert_eq!(torch["version"].as_str(), Some("2.14.1+cu126"));
    assert_eq!(torch["index"].as_str(), Some("https://download.pytorch.org/whl/cu126"));
    let wheel = &torch["wheels"][0];
    assert_eq!(wheel["size"].as_integer(), Some(1000));
    assert_eq!(wheel["hashes"]["sha256"].as_str(), Some("5".repeat(64).as_str()));
    assert_eq!(wheel["name"].as_str(), Some("torch-2.14.1+cu126-py3-none-any.whl"));
    // PyPI's address is a setting of the installer.
    assert!(lock["packages"][3].get("index").is_none());
    let lock: toml::Table = of(Kind::Pylock, "compiled").parse().unwrap();
    assert!(
        lock["packages"][0].get("sdist").is_some() && lock["packages"][0].get("wheels").is_none()
    );
    assert_eq!(
        Kind::Pylock.file_name("fleet", &crate::render::Options::default()),
        "pylock.fleet.toml"
    );
}

fn targets<'l>(lock: &'l Lockfile, names: &[&str]) -> Vec<&'l Target> {
    names.iter().map(|name| lock.target(name).unwrap()).collect()
}

fn edit(text: &str, names: &[&str], force: bool) -> Result<String, Error> {
    let lock = sample::lock();
    let new = uv::edit(text, &lock, &targets(&lock, names), force)?;
    // Twice is once.
    assert_eq!(uv::edit(&new, &lock, &targets(&lock, names), false).unwrap(), new);
    new.parse::<toml::Table>().unwrap();
    Ok(new)
}

#[test]
fn the_fragment_names_an_index_for_every_page() {
    let lock = sample::lock();
    let text = uv::fragment(&lock, &targets(&lock, &["train", "fleet", "arm"])).unwrap();
    assert!(text.starts_with("# Written by gpuseal from gpuseal.lock"));
    let table: toml::Table = text.parse().unwrap();
    let uv = &table["tool"]["uv"];
    assert_eq!(uv["index"].as_array().unwrap().len(), 2);
    assert_eq!(uv["index"][0]["name"].as_str(), Some("gpuseal-cu126"));
    assert_eq!(uv["index"][0]["url"].as_str(), Some("https://download.pytorch.org/whl/cu126"));
    assert_eq!(uv["index"][0]["explicit"].as_bool(), Some(true));
    let names: Vec<_> = uv["sources"].as_table().unwrap().keys().collect();
    assert_eq!(names, ["nvidia-cudnn-cu12", "torch", "torchvision"]);
    let constraints = uv["constraint-dependencies"].as_array().unwrap();
    assert_eq!(constraints.len(), 4);
    assert_eq!(
        constraints[2].as_str(),
        Some("torch==2.14.1+cu130 ; sys_platform == 'linux' and platform_machine == 'aarch64'")
    );
    // train takes torch from PyPI, on the same machines with another Python.
    let torch = uv["sources"]["torch"].as_array().unwrap();
    assert_eq!(
        torch[0]["marker"].as_str(),
        Some(
            "sys_platform == 'linux' and platform_machine == 'x86_64' and python_version == '3.11'"
        )
    );
    assert_eq!(
        torch[1]["marker"].as_str(),
        Some("sys_platform == 'linux' and platform_machine == 'aarch64'")
    );
    assert_eq!(uv["required-environments"].as_array().unwrap().len(), 2);
    // A mirror stands in the place of the page.
    let mut lock = sample::lock();
    lock.mirrors
        .insert("pytorch".parse().unwrap(), "https://mirror.example.org/whl".parse().unwrap());
    let text = uv::fragment(&lock, &targets(&lock, &["arm"])).unwrap();
    assert!(text.contains("url = \"https://mirror.example.org/whl/cu130\""));
    assert!(!text.contains("pytorch.org") && !text.contains("required-environments"));
    // From PyPI alone there is nothing to say.
    let text = uv::fragment(&lock, &targets(&lock, &["train"])).unwrap();
    assert!(text.contains("nothing to point elsewhere") && !text.contains('['));
}

#[test]
fn two_builds_for_the_same_machines_are_refused() {
    let text = sample::text().replace("python = \"3.11\"", "python = \"3.12\"");
    let lock = Lockfile::parse(&text, "lock").unwrap();
    let error = uv::fragment(&lock, &targets(&lock, &["train", "fleet"])).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("2.14.1 from pypi for target train")
            && words.contains("2.14.1+cu126 from pytorch-cu126 for target fleet"),
        "{words}"
    );
    assert!(error.help().unwrap().contains("--target"));
    assert!(uv::fragment(&lock, &targets(&lock, &["fleet"])).is_ok());
}

const PROJECT: &str = "# mine\n[project]\nname = \"x\" # a name\ndependencies = [\"torch\"]\n\n[tool.uv]\ndev-dependencies = []\n\n[tool.ruff]\nline-length = 100 # wide\n";

#[test]
fn a_pyproject_keeps_what_it_says() {
    let new = edit(PROJECT, &["arm"], false).unwrap();
    for line in PROJECT.lines() {
        assert!(new.contains(line), "{new} lacks {line}");
    }
    assert!(
        new.contains("[tool.uv.sources]\ntorch = { index = \"gpuseal-cu130\", marker = "),
        "{new}"
    );
    assert!(new.contains("[[tool.uv.index]]\nname = \"gpuseal-cu130\"\nurl = \"https://download.pytorch.org/whl/cu130\"\nexplicit = true\n"), "{new}");
    // What is ours goes when the lock takes another build, and nothing else does.
    let with =
        format!("{new}\n[[tool.uv.index]]\nname = \"mine\"\nurl = \"https://a.test\" # kept\n");
    let other = edit(&with, &["fleet"], false).unwrap();
    assert!(
        !other.contains("cu130") && other.contains("cu126") && other.contains("# kept"),
        "{other}"
    );
    let none = edit(&with, &["train"], false).unwrap();
    assert!(!none.contains("gpuseal-") && none.contains("# kept"), "{none}");
    assert!(!none.contains("constraint-dependencies"), "{none}");
    // A constraint by hand stays beside ours.
    let by_hand = PROJECT
        .replace("[tool.uv]", "[tool.uv]\nconstraint-dependencies = [\"torch<3\", # mine\n]");
    let new = edit(&by_hand, &["arm"], false).unwrap();
    assert!(new.contains("\"torch<3\", # mine\n    \"torch==2.14.1+cu130 ; "), "{new}");
    let none = edit(&new, &["train"], false).unwrap();
    assert!(none.contains("\"torch<3\", # mine\n]") && !none.contains("cu130"), "{none}");
    let other = edit(&new, &["fleet"], false).unwrap();
    assert!(
        other.contains("\"torch<3\", # mine\n    \"nvidia-cudnn-cu12==9.10.2.21 ; "),
        "{other}"
    );
    // From nothing, and where the tables are written in other ways.
    assert_eq!(edit("", &["train"], false).unwrap(), "");
    edit("", &["fleet", "arm"], false).unwrap();
    for text in [
        "tool.uv.index = [{ name = \"mine\", url = \"https://a.test\" }]\n",
        "[tool.uv]\nsources = { numpy = { index = \"mine\" } }\nindex = [{ name = \"mine\", url = \"https://a.test\" }]\n",
        "[tool]\nuv = { required-environments = [\"sys_platform == \\\"linux\\\" and platform_machine == \\\"x86_64\\\"\"] }\n",
    ] {
        let new = edit(text, &["fleet", "arm"], false).unwrap();
        assert!(new.contains("gpuseal-cu126") && new.contains("gpuseal-cu130"), "{new}");
        let table: toml::Table = new.parse().unwrap();
        assert_eq!(table["tool"]["uv"]["required-environments"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_source_by_hand_is_not_replaced_unasked() {
    let index = "[[tool.uv.index]]\nname = \"mine\"\nurl = \"URL\"\nexplicit = true\n";
    let by_hand = format!("[tool.uv.sources]\nTorch = {{ index = \"mine\" }} # why\n\n{index}");
    let other = by_hand.replace("URL", "https://download.pytorch.org/whl/cu124");
    let error = edit(&other, &["arm"], false).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("index = \"mine\"") && words.contains("gpuseal-cu130"), "{words}");
    assert!(error.help().unwrap().contains("--force"));
    let forced = edit(&other, &["arm"], true).unwrap();
    assert!(
        forced.contains("Torch = { index = \"gpuseal-cu130\"") && forced.contains("cu124"),
        "{forced}"
    );
    // The same place under another name is left as it is, and needs no index of ours; uv is still held
    // to the version, by a constraint that is known when it is written again.
    let same = by_hand.replace("URL", "https://download.pytorch.org/whl/cu130/");
    let mine = same.clone() + "\n[tool.uv]\nconstraint-dependencies = [\"torch<3\"] # mine\n";
    let new = edit(&mine, &["arm"], false).unwrap();
    let held =
        "\"torch==2.14.1+cu130 ; (sys_platform == 'linux' and platform_machine == 'aarch64')\"";
    assert_eq!(new.matches("==2.14.1+cu130").count(), 1, "{new}");
    assert!(new.contains(held) && new.contains("Torch = { index = \"mine\" } # why"), "{new}");
    assert!(!new.contains("gpuseal-") && new.contains("\"torch<3\""), "{new}");
    let older = new.replace("==2.14.1+cu130", "==2.13.0+cu130");
    assert_eq!(edit(&older, &["arm"], false).unwrap(), new);
    // What the lock no longer takes from there is no longer held, and what is ours again is so in full.
    let none = edit(&new, &["train"], false).unwrap();
    assert!(none.contains("\"torch<3\"") && !none.contains("cu130 ;"), "{none}");
    let own = edit(&new.replace("Torch = { index = \"mine\" }", ""), &["arm"], false).unwrap();
    assert!(own.contains("gpuseal-cu130") && own.contains(&held.replace(['(', ')'], "")), "{own}");
    assert_eq!(own.matches("==2.14.1+cu130").count(), 1, "{own}");
    let git = "[tool.uv.sources]\ntorch = { git = \"https://a.test/torch\" }\n";
    assert!(matches!(edit(git, &["arm"], false), Err(Error::OtherSource { .. })));
}

#[test]
fn what_cannot_be_edited_is_named() {
    for (text, word) in [
        ("[tool\n", "line 1"),
        ("tool = 1\n", "`tool` is no table"),
        ("[tool]\nuv = []\n", "`uv` is no table"),
        ("[tool.uv]\nsources = 1\n", "`sources` is no table"),
        ("[tool.uv]\nindex = 1\n", "`tool.uv.index` is no list"),
        ("[tool.uv]\nrequired-environments = 1\n", "is no list"),
        ("[tool.uv]\nconstraint-dependencies = 1\n", "is no list"),
    ] {
        let error = edit(text, &["fleet", "arm"], false).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(error.to_string().starts_with("pyproject.toml: ") && error.help().is_some());
    }
}

/// Every text of a lock with every hostile end: what the lock admits leaves each export whole.
#[test]
fn hostile_texts_reach_no_export() {
    let names = ["train", "fleet", "arm", "compiled", "desk"];
    let text = filled().to_toml();
    let old: Vec<usize> = names
        .iter()
        .flat_map(|name| [Kind::Requirements, Kind::Constraints].map(|kind| of(kind, name)))
        .map(|text| text.lines().count())
        .collect();
    let mut admitted = 0;
    for (at, line) in text.lines().enumerate() {
        let Some((key, value)) = line.split_once(" = \"") else { continue };
        for hostile in
            ["\nRUN id", "\" \"", " --extra-index-url https://a.test", " ; x", "#x", "'", "]"]
        {
            let value = toml::Value::String(format!("{}{hostile}", value.trim_end_matches('"')));
            let changed: Vec<_> = text
                .lines()
                .enumerate()
                .map(|(n, l)| if n == at { format!("{key} = {value}") } else { l.to_owned() })
                .collect();
            let Ok(lock) = Lockfile::parse(&changed.join("\n"), "hostile") else { continue };
            admitted += 1;
            let mut counts = Vec::new();
            for target in &lock.targets {
                for kind in [Kind::Requirements, Kind::Constraints] {
                    let text = export(kind, &lock, target).unwrap();
                    assert!(!text.contains(hostile), "{key}: {hostile:?}");
                    counts.push(text.lines().count());
                }
                let pylock = export(Kind::Pylock, &lock, target).unwrap();
                pylock.parse::<toml::Table>().unwrap();
                let fragment = uv::fragment(&lock, &[target]).unwrap();
                fragment.parse::<toml::Table>().unwrap();
            }
            assert_eq!(counts, old, "{key}: {hostile:?}");
        }
    }
    // Lines of the requirements hold some of these signs.
    assert!(admitted > 0);
}
