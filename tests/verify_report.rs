//! The answer of `verify` in every voice, of three reports: proven on one card, failed by a flipped bit, unproven
//! without a driver. New texts: `INSTA_UPDATE=always cargo test --test verify_report`, then read them.

mod support;

use std::collections::BTreeSet;

use gpuseal::error::Exit;
use gpuseal::matrix::Matrix;
use gpuseal::report::Found;
use gpuseal::report::verify as voice;
use gpuseal::verify::{Check, Outcome, Verdict, Verification};
use serde_json::{Value, json};
use support::{folder, gpuseal, masked, root, run, write};

const CASES: [(&str, Exit); 3] =
    [("proven", Exit::Done), ("failed", Exit::No), ("unproven", Exit::CannotJudge)];

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(format!("tests/verify/{name}.json"))).expect("a report")
}

fn document(name: &str) -> Value {
    serde_json::from_str(&text(name)).expect("JSON")
}

fn verification(name: &str) -> Verification {
    voice::read(&text(name)).expect("a report")
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn every_voice_tells_the_same() {
    let matrix = Matrix::embedded();
    for (name, exit) in CASES {
        let it = verification(name);
        let findings = voice::findings(&it);
        let found = Found::new("verify", exit, Some(&matrix)).with("", None, &findings);
        for (kind, said) in [
            ("human", plain(&voice::human(&it, exit, &matrix))),
            ("json", voice::json(&it, &matrix)),
            ("markdown", voice::markdown(&it, &found)),
            ("github", found.github()),
            ("junit.xml", voice::junit(&it)),
            ("prom", voice::prometheus(&it, Some(1_790_000_000.0))),
            ("intoto", voice::attest(&it, &matrix).expect("it has a digest")),
        ] {
            let said = masked(&said, root()).replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
            insta::with_settings!({
                snapshot_path => root().join("tests/verify"), prepend_module_to_snapshot => false,
                omit_expression => true,
            }, {
                insta::assert_snapshot!(format!("{name}.{kind}"), said);
            });
        }
    }
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let matrix = Matrix::embedded();
    for (name, _) in CASES {
        let it = verification(name);
        let written = voice::json(&it, &matrix);
        assert_eq!(voice::read(&written).expect("a report"), it, "{name}");
        // What a later minor version adds is no obstacle; a word of it is not understood, and not trusted.
        let mut later: Value = serde_json::from_str(&written).expect("JSON");
        later["schema"]["version"] = json!("1.7");
        later["new"] = json!({ "field": 1 });
        later["subject"]["new"] = json!(2);
        later["layers"][0]["new"] = json!([3]);
        assert_eq!(voice::read(&later.to_string()).expect("a report"), it, "{name}");
        later["layers"][0]["code"] = json!("a-later-code");
        let read = voice::read(&later.to_string()).expect("a report");
        assert_eq!(read.layers[0].checks[0].code.word(), "unknown");
    }
}

#[test]
fn a_digest_that_ends_the_name_is_told_once() {
    let mut it = verification("proven");
    let digest = it.subject.image_digest.clone().expect("a digest");
    let times = |it: &Verification| {
        voice::human(it, Exit::Done, &Matrix::embedded()).matches(&digest).count()
    };
    assert_eq!(times(&it), 1);
    it.subject.image = Some(format!("ghcr.io/example/app@{digest}"));
    assert_eq!(times(&it), 1);
}

#[test]
fn what_is_no_report_is_refused() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut document = document("proven");
        change(&mut document);
        document.to_string()
    };
    let cut = text("proven")[..2000].to_owned();
    for (given, words) in [
        (String::new(), "not JSON"),
        (cut, "not JSON"),
        ("[".repeat(1 << 20), "not JSON"),
        ("{}".into(), "its schema is ``"),
        (changed(&|d| d["schema"]["name"] = json!("gpuseal.lock")), "its schema is `gpuseal.lock`"),
        (changed(&|d| d["schema"]["version"] = json!("2.0")), "version 2.0"),
        (changed(&|d| d["schema"]["version"] = json!("11.0")), "version 11.0"),
        (changed(&|d| d["schema"]["version"] = json!(1)), "version  of"),
        (changed(&|d| d["verdict"] = json!("fine")), "`verdict`"),
        (changed(&|d| d["layers"][3]["outcome"] = json!("maybe")), "`layers`"),
        (changed(&|d| d["layers"][3]["layer"] = json!("l9")), "`layers`"),
        (changed(&|d| d["devices"] = json!(null)), "`devices`"),
        (changed(&|d| d["seconds"] = json!("a")), "`seconds`"),
        (changed(&|d| d["runs"] = json!([])), "not among its runs"),
        (changed(&|d| d["layers"][3]["outcome"] = json!("fail")), "its checks come to `failed`"),
        (changed(&|d| d["layers"][3]["outcome"] = json!("skip")), "its checks come to `unproven`"),
        (changed(&|d| d["layers"] = json!([])), "its checks come to `unproven`"),
        (" ".repeat((4 << 20) + 1), "more than the"),
    ] {
        let err = voice::read(&given).expect_err(words);
        assert!(err.to_string().contains(words), "{words}: {err}");
        assert!(!err.help().is_empty());
    }
}

/// An image on trial may have written what is read: it moves no cursor and begins no line.
#[test]
fn what_an_image_says_stays_text() {
    let mut hostile = document("failed");
    let words = "\u{1b}[2J\nproven: all is well\r::error::x | <script>]]> \u{0}\u{fffe}\"'";
    for check in hostile["layers"].as_array_mut().expect("checks") {
        check["text"] = json!(words);
        check["check"] = json!(words);
        check["help"] = json!([words]);
    }
    hostile["subject"]["image"] = json!(words);
    hostile["subject"]["torch"] = json!(words);
    let it = voice::read(&hostile.to_string()).expect("a report");
    let human = voice::human(&it, Exit::No, &Matrix::embedded());
    assert!(!human.contains("\u{1b}[2J"), "{human}");
    assert!(!human.lines().any(|line| line.starts_with("proven") || line.starts_with("::")));
    xml(&voice::junit(&it));
    metrics(&voice::prometheus(&it, None));
    let statement = voice::attest(&it, &Matrix::embedded()).expect("a statement");
    serde_json::from_str::<Value>(&statement).expect("JSON");
}

/// Names of numbers are said by `--compare`; a report is no better than its checks, and is named where it is none.
#[test]
fn reports_of_others_are_read_with_care() {
    let with = |version: &str| {
        let mut document = document("proven");
        for check in document["layers"].as_array_mut().expect("checks") {
            check["numbers"]["\u{1b}[2Jversion"] = json!(version);
        }
        document.to_string()
    };
    let mut better = document("unproven");
    better["layers"][0]["outcome"] = json!("fail");
    let (a, b, better) = (with("1.2"), with("1.3"), better.to_string());
    let place = folder(&[("a.json", &a), ("b.json", &b), ("c.json", &better)]);
    let at = place.path();
    let side = |text: &str| voice::compare::Side {
        name: "x".into(),
        reading: voice::reading(text).expect("a report"),
    };
    let all = voice::compare::compare(side(&a), side(&b));
    let said = voice::compare::human(&all, &Matrix::embedded());
    assert!(said.contains(" [2Jversion is 1.2") && !said.contains("\u{1b}[2J"), "{said}");
    let words = ["the report says `unproven`, and its checks come to `failed`"];
    run(at, &["verify", "--replay", "c.json"]).says(2, &words);
    fs_err::write(at.join("bytes"), b"\xff\xfe").expect("a file");
    run(at, &["verify", "--replay", "bytes"]).says(2, &["bytes: ", "not JSON"]);
    // What an earlier report is about, it says itself.
    run(at, &["verify", "--replay", "a.json", "--attest", "s.json"]).says(0, &["proven"]);
    assert!(at.join("s.json").is_file());
    // Flags that would be passed over are refused.
    for (args, word) in [
        (&["--here", "--gpus", "all"][..], "--gpus"),
        (&["--here", "--", "--shm-size", "8g"], "ENGINE_ARGS"),
        (&["--static", "--layer", "kernel"], "--layer"),
        (&[], "--here"),
        (&[""], "IMAGE"),
    ] {
        run(at, &[&["verify"], args].concat()).says(2, &[word]);
    }
}

#[test]
fn an_unproven_zero_is_loud() {
    let it = verification("unproven");
    let matrix = Matrix::embedded();
    let words = "NOT PROVEN: --allow-unproven made this exit code 0";
    assert!(voice::human(&it, Exit::Done, &matrix).contains(words));
    assert!(!voice::human(&it, Exit::CannotJudge, &matrix).contains(words));
    let found = Found::new("verify", Exit::Done, None);
    assert!(voice::markdown(&it, &found).contains(words));
    // What was proven needs no word.
    assert!(!voice::human(&verification("proven"), Exit::Done, &matrix).contains("NOT PROVEN"));
}

#[test]
fn files_alone_are_no_gpu() {
    let mut it = verification("proven");
    it.subject.mode = gpuseal::verify::Mode::Static;
    it.layers.truncate(1);
    it.devices.clear();
    let human = plain(&voice::human(&it, Exit::Done, &Matrix::embedded()));
    assert!(human.starts_with(
        "proven: the files of torch 2.9.1+cu128 are what they should be; no GPU was asked\n"
    ));
    assert!(human.contains("no GPU was asked, so nothing is said about what it computes"));
}

/// Where torch itself was not asked, nobody is told that it computes.
#[test]
fn no_more_is_claimed_than_was_looked_at() {
    let mut it = verification("proven");
    it.layers.retain(|ran| ran.layer != gpuseal::verify::Layer::Torch);
    assert_eq!(
        voice::summary(&it),
        "what was asked for holds on NVIDIA H200 (device 0): files, L0 driver, L1 CUDA context, L2 own kernels, L3 cuBLAS, L4 cuDNN"
    );
    it.devices.push(it.devices[0].clone());
    it.devices[1].index = 1;
    assert!(voice::summary(&it).contains("on NVIDIA H200 (devices 0, 1): "));
}

/// An element of XML as far as it is used here: start and end tags, attributes, text.
#[derive(Debug)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    fn get(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(own, _)| own == name);
        found.map_or_else(|| panic!("{name} of {self:?}"), |(_, value)| value.as_str())
    }

    fn count(&self, name: &str) -> usize {
        usize::from(self.name == name) + self.children.iter().map(|c| c.count(name)).sum::<usize>()
    }
}

/// Reads a document strictly: every tag is closed, every attribute quoted, every reference known.
fn xml(text: &str) -> Element {
    let allowed = |c: char| {
        matches!(c, '\n' | '\t' | ' '..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
            || c > '\u{ffff}'
    };
    assert!(text.chars().all(allowed), "a character that XML does not know: {text:?}");
    let known = |text: &str| {
        for (at, _) in text.match_indices('&') {
            let name = text[at + 1..].split(';').next().expect("an end");
            assert!(
                ["amp", "lt", "gt", "quot", "#39", "#9", "#10", "#13"].contains(&name),
                "&{name}"
            );
        }
        assert!(!text.contains('<'), "{text}");
    };
    let mut rest =
        text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("a declaration");
    let new = |name: &str| Element {
        name: name.into(),
        attributes: Vec::new(),
        children: Vec::new(),
        text: String::new(),
    };
    let mut open = vec![new("")];
    while let Some((before, after)) = rest.split_once('<') {
        known(before);
        open.last_mut().expect("an element").text.push_str(before);
        // No `>` stands in a value.
        let (tag, after) = after.split_once('>').expect("an end of the tag");
        rest = after;
        let close = |open: &mut Vec<Element>| {
            let done = open.pop().expect("an element");
            open.last_mut().expect("the one around it").children.push(done);
        };
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.last().expect("an element").name, name);
            close(&mut open);
            continue;
        }
        let alone = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, mut given) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut element = new(name);
        while !given.is_empty() {
            let (name, value) = given.split_once("=\"").expect("a value");
            let (value, after) = value.split_once('"').expect("an end of the value");
            known(value);
            assert!(element.attributes.iter().all(|(own, _)| own != name.trim()), "{name} twice");
            element.attributes.push((name.trim().into(), value.into()));
            given = after;
        }
        open.push(element);
        if alone {
            close(&mut open);
        }
    }
    assert!(rest.trim().is_empty() && open.len() == 1, "{rest}");
    let [whole] = <[Element; 1]>::try_from(open.remove(0).children).expect("one element");
    whole
}

/// What Jenkins's XML Schema of JUnit allows: elements, their order, their attributes.
fn valid(element: &Element) {
    let (attributes, children): (&[&str], &[&str]) = match element.name.as_str() {
        "testsuites" => (&["name", "tests", "failures", "errors", "time"], &["testsuite"]),
        "testsuite" => (
            &["name", "tests", "failures", "errors", "skipped", "time"],
            &["properties", "testcase"],
        ),
        "properties" => (&[], &["property"]),
        "property" => (&["name", "value"], &[]),
        "testcase" => {
            (&["name", "classname", "time"], &["skipped", "failure", "error", "system-out"])
        }
        "skipped" => (&["message"], &[]),
        "failure" | "error" => (&["type", "message"], &[]),
        "system-out" => (&[], &[]),
        other => panic!("<{other}>"),
    };
    for (name, _) in &element.attributes {
        assert!(attributes.contains(&name.as_str()), "{name} of <{}>", element.name);
    }
    let order: Vec<_> = element
        .children
        .iter()
        .map(|child| children.iter().position(|name| *name == child.name).expect(&child.name))
        .collect();
    assert!(order.is_sorted(), "{element:?}");
    if matches!(element.name.as_str(), "testsuite" | "testsuites") {
        for (name, tag) in [("tests", "testcase"), ("failures", "failure"), ("errors", "error")] {
            assert_eq!(element.get(name), element.count(tag).to_string(), "{name}");
        }
        assert!(element.get("time").parse::<f64>().expect("seconds") >= 0.0);
    }
    if element.name == "testsuite" {
        assert_eq!(element.get("skipped"), element.count("skipped").to_string());
    }
    if element.name == "testcase" {
        assert!(!element.get("name").is_empty() && !element.get("classname").is_empty());
        assert!(element.children.iter().filter(|child| child.name != "system-out").count() < 2);
    }
    element.children.iter().for_each(valid);
}

#[test]
fn junit_tells_skips_failures_and_errors_apart() {
    for (name, _) in CASES {
        let it = verification(name);
        let whole = xml(&voice::junit(&it));
        valid(&whole);
        let count = |kind: &dyn Fn(&Check) -> bool| it.checks().filter(|(_, c)| kind(c)).count();
        assert_eq!(whole.count("testcase"), count(&|_| true));
        assert_eq!(whole.count("failure"), count(&|c| c.outcome == Outcome::Fail));
        assert_eq!(whole.count("error"), count(&|c| c.outcome >= Outcome::Hang));
        assert_eq!(whole.count("skipped"), count(&|c| c.outcome == Outcome::Skip));
        assert_eq!(whole.children.len(), it.layers.len());
    }
    assert_eq!(xml(&voice::junit(&verification("failed"))).count("error"), 1);
}

/// Reads metrics as a collector does; gives each series with its value.
fn metrics(text: &str) -> Vec<(String, f64)> {
    let name = |name: &str| {
        assert!(!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
    };
    let (mut series, mut told, mut current) = (Vec::new(), BTreeSet::new(), String::new());
    for line in text.strip_suffix('\n').expect("a last line end").split('\n') {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split_once(' ').expect("words").0.clone_into(&mut current);
            assert!(told.insert(current.clone()), "{current} twice");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind, format!("{current} gauge"));
            continue;
        }
        // `name{label="value",...} number`: quotes are escaped in a value.
        let (metric, value) = line.rsplit_once(' ').expect("a value");
        let (own, mut labels) = metric.split_once('{').unwrap_or((metric, "}"));
        assert_eq!(own, current, "{line}");
        name(own);
        while labels != "}" {
            let (label, rest) = labels.split_once("=\"").expect("a label");
            name(label);
            let mut end = 0;
            let bytes = rest.as_bytes();
            while bytes[end] != b'"' {
                if bytes[end] == b'\\' {
                    assert!(b"\\\"n".contains(&bytes[end + 1]), "{line}");
                    end += 1;
                }
                end += 1;
            }
            labels = rest[end + 1..].strip_prefix(',').unwrap_or(&rest[end + 1..]);
        }
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite(), "{line}");
        series.push((metric.to_owned(), value));
    }
    let names: BTreeSet<_> = series.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), series.len(), "a series stands twice:\n{text}");
    series
}

#[test]
fn metrics_are_what_a_collector_reads() {
    let of = |name: &str| metrics(&voice::prometheus(&verification(name), Some(1.0)));
    let has = |list: &[(String, f64)], series: &str, value: f64| {
        let found = list.iter().find(|(name, _)| name == series);
        assert_eq!(found.map(|(_, value)| *value), Some(value), "{series}: {list:?}");
    };
    let proven = of("proven");
    has(&proven, "gpuseal_verify_verdict{verdict=\"proven\"}", 1.0);
    has(&proven, "gpuseal_verify_verdict{verdict=\"failed\"}", 0.0);
    has(&proven, "gpuseal_verify_tflops{device=\"0\",dtype=\"bf16\",by=\"cublas\"}", 788.2);
    has(&proven, "gpuseal_verify_ratio{device=\"0\",dtype=\"bf16\",by=\"cublas\"}", 0.797);
    has(&proven, "gpuseal_verify_last_run_timestamp_seconds", 1.0);
    let exact = "gpuseal_verify_ok{layer=\"cublas\",device=\"0\",check=\"bf16.exact-integer\"}";
    has(&proven, exact, 1.0);
    has(&of("failed"), exact, 0.0);
    // torch's layer is one for all devices: its checks name them.
    let mut several = verification("proven");
    for (name, tflops) in [("d0.bf16.speed", 780.0), ("d1.bf16.speed", 779.0)] {
        several.layers[6].checks.push(Check::pass(name, "fast").number("tflops", tflops));
    }
    let list = metrics(&voice::prometheus(&several, None));
    has(&list, "gpuseal_verify_tflops{device=\"1\",dtype=\"bf16\",by=\"torch\"}", 779.0);
    let human = voice::human(&several, Exit::Done, &Matrix::embedded());
    assert!(human.contains("device 0 bf16 780 TFLOP/s, device 1 bf16 779 TFLOP/s"), "{human}");
    let unproven = of("unproven");
    has(&unproven, "gpuseal_verify_missing{layer=\"driver\",device=\"\",check=\"driver\"}", 1.0);
    // What nobody looked at is neither 0 nor 1.
    assert!(!unproven.iter().any(|(name, _)| name.contains("verify_ok{layer=\"cublas\"")));
    // Two checks of one name are one series: the worse one.
    let mut twice = verification("failed");
    let mut again = twice.layers[4].checks[1].clone();
    again.outcome = Outcome::Pass;
    twice.layers[4].checks.insert(0, again);
    has(&metrics(&voice::prometheus(&twice, None)), exact, 0.0);
}

#[test]
fn a_statement_names_what_it_is_about() {
    let matrix = Matrix::embedded();
    let of = |it: &Verification| -> Value {
        let text = voice::attest(it, &matrix).expect("a statement");
        serde_json::from_str(&text).expect("JSON")
    };
    let mut it = verification("failed");
    let statement = of(&it);
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://github.com/gpuseal/gpuseal/verify/v1");
    let digits = |digest: &Option<String>| digest.as_ref().expect("a digest")[7..].to_owned();
    let subject = json!([{
        "name": "ghcr.io/example/app:train", "digest": { "sha256": digits(&it.subject.image_digest) },
    }]);
    assert_eq!(statement["subject"], subject);
    assert_eq!(statement["predicate"]["verdict"], "failed");
    assert_eq!(statement["predicate"]["devices"][0]["uuid"], json!(it.devices[0].uuid));
    let checks = statement["predicate"]["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), it.checks().count());
    it.subject.image_digest = None;
    let digest = digits(&it.subject.lock_digest);
    let subject = json!([{ "name": "gpuseal.lock", "digest": { "sha256": digest } }]);
    assert_eq!(of(&it)["subject"], subject);
    it.subject.lock_digest = Some("sha256:short".into());
    assert!(voice::attest(&it, &matrix).is_none(), "what is no digest names nothing");
}

/// Every field that docs/attestation.md describes is there, and the other way round.
#[test]
fn the_predicate_is_documented() {
    let page = std::fs::read_to_string(root().join("docs/attestation.md")).expect("a page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: BTreeSet<String> = rows.map(str::to_owned).collect();
    let statement = voice::attest(&verification("proven"), &Matrix::embedded()).expect("one");
    let statement: Value = serde_json::from_str(&statement).expect("JSON");
    let mut fields = BTreeSet::new();
    for (name, value) in statement["predicate"].as_object().expect("an object") {
        let inner = value.as_object().or_else(|| value.get(0).and_then(Value::as_object));
        match inner {
            Some(inner) => {
                let list = if value.is_array() { "[]" } else { "" };
                fields.extend(inner.keys().map(|key| format!("{name}{list}.{key}")));
            }
            None => drop(fields.insert(name.clone())),
        }
    }
    assert_eq!(told, fields);
}

#[test]
fn the_last_words_are_short() {
    let mut it = verification("failed");
    let line: Value = serde_json::from_str(&voice::summed_up(&it)).expect("JSON");
    assert_eq!((&line["verdict"], &line["code"]), (&json!("failed"), &json!("wrong-result")));
    assert_eq!(line["failures"], 2);
    for ran in &mut it.layers {
        for check in &mut ran.checks {
            check.outcome = Outcome::Crash;
            check.text = "\u{1}\"ä".repeat(1000);
        }
    }
    it.subject.driver = Some("x".repeat(10_000));
    let line = voice::summed_up(&it);
    assert!(line.len() <= 4096 && !line.contains('\n'), "{}", line.len());
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert!(line["failures"].as_u64() > Some(15), "all are counted: {line}");
}

/// Compares the proven report with a changed one.
fn compared(change: impl Fn(&mut Value)) -> (i32, String, Value) {
    let mut other = document("proven");
    change(&mut other);
    let place = folder(&[("a.json", &text("proven")), ("b.json", &other.to_string())]);
    let args = ["verify", "--compare", "a.json", "b.json"];
    let human = run(place.path(), &args);
    let json = run(place.path(), &[&args[..], &["--format", "json"]].concat());
    assert_eq!(human.code, json.code);
    let document: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(document["schema"]["name"], "gpuseal.verify-compare", "{}", json.all());
    let result = if human.code == 0 { "same" } else { "different" };
    assert_eq!(document["result"], result);
    (human.code, human.all(), document)
}

/// A check of a report in JSON.
fn of<'d>(document: &'d mut Value, layer: &str, name: &str) -> &'d mut Value {
    let mut checks = document["layers"].as_array_mut().expect("checks").iter_mut();
    checks.find(|c| c["layer"] == layer && c["check"] == name).expect(name)
}

/// What is changed, and then the exit, the code, its severity and words of the comparison.
type Case<'c> = (&'c dyn Fn(&mut Value), i32, &'c str, &'c str, &'c [&'c str]);

#[test]
fn two_reports_are_compared() {
    let (code, said, document) = compared(|_| ());
    assert_eq!((code, document["findings"].as_array().map(Vec::len)), (0, Some(0)), "{said}");
    assert!(
        said.starts_with(
            "same: a.json and b.json agree; 20 checks, 5 digests of results and 4 speeds "
        ),
        "{said}"
    );
    let cases: &[Case<'_>] = &[
        (
            &|d| {
                of(d, "cublas", "bf16.exact-integer")["numbers"]["sha256_1024x1024x1024"] =
                    json!("other");
            },
            1,
            "wrong-result",
            "error",
            &["L3 cuBLAS, NVIDIA H200 (device 0) of a.json", "of b.json", "different results"],
        ),
        (
            &|d| of(d, "torch", "bf16.exact-integer")["numbers"]["sha256"] = json!("other"),
            1,
            "wrong-result",
            "error",
            &["L5 torch of a.json and L5 torch of b.json"],
        ),
        // Whole numbers have one right answer, whatever computes them.
        (
            &|d| {
                d["devices"][0]["name"] = json!("NVIDIA L4");
                of(d, "kernel", "ptx.fp32.exact-integer")["numbers"]["sha256_1024x1024x1024"] =
                    json!("other");
            },
            1,
            "wrong-result",
            "error",
            &["L2 own kernels, NVIDIA L4 (device 0) of b.json"],
        ),
        (
            &|d| of(d, "cublas", "bf16.bound")["numbers"]["sha256_1024x1024x1024"] = json!("other"),
            1,
            "wrong-result",
            "error",
            &["have other bits, on the same model", "another algorithm"],
        ),
        (
            &|d| {
                d["devices"][0]["name"] = json!("NVIDIA L4");
                of(d, "cublas", "bf16.bound")["numbers"]["sha256_1024x1024x1024"] = json!("other");
            },
            0,
            "unknown",
            "note",
            &["as they may be with another GPU model"],
        ),
        (
            &|d| {
                of(d, "cublas", "bf16.bound")["numbers"]["sha256_1024x1024x1024"] = json!("other");
                of(d, "cublas", "library")["numbers"]["cublas"] = json!("12.9.1");
            },
            1,
            "lock-drift",
            "error",
            &["cublas is 12.8.4 in a.json, and 12.9.1 in b.json", "another version of a library"],
        ),
        (
            &|d| {
                d["seed"] = json!(2);
                of(d, "cublas", "bf16.exact-integer")["numbers"]["sha256_1024x1024x1024"] =
                    json!("other");
            },
            0,
            "unknown",
            "unknown",
            &["are not compared", "--seed"],
        ),
        (
            &|d| {
                d["tool"]["version"] = json!("9.0.0");
                of(d, "cublas", "bf16.bound")["numbers"]["sha256_1024x1024x1024"] = json!("other");
            },
            0,
            "unknown",
            "unknown",
            &["are not compared"],
        ),
        (
            &|d| of(d, "cublas", "bf16.speed")["numbers"]["tflops"] = json!(720.0),
            0,
            "slow",
            "warning",
            &["b.json is 9 % slower", "788 TFLOP/s", "720 TFLOP/s"],
        ),
        (
            &|d| of(d, "cublas", "bf16.speed")["numbers"]["tflops"] = json!(1000.0),
            1,
            "slow",
            "error",
            &["a.json is 21 % slower"],
        ),
        (
            &|d| d["subject"]["image_digest"] = json!(format!("sha256:{}", "0".repeat(64))),
            1,
            "lock-drift",
            "error",
            &["the image's digest is sha256:", "in b.json"],
        ),
        (
            &|d| d["subject"]["lock_digest"] = json!(null),
            0,
            "unknown",
            "unknown",
            &["b.json tells none"],
        ),
        (
            &|d| d["subject"]["torch"] = json!("2.9.0+cu128"),
            1,
            "lock-drift",
            "error",
            &["torch is"],
        ),
        (
            &|d| d["subject"]["driver"] = json!("570.86.15"),
            0,
            "unknown",
            "warning",
            &["the driver is 580.95.05 in a.json, and 570.86.15 in b.json"],
        ),
        (
            &|d| {
                d["verdict"] = json!("failed");
                let check = of(d, "cudnn", "fp16.convolution");
                check["outcome"] = json!("crash");
                check["code"] = json!("driver-state");
                check["text"] = json!("the process died");
            },
            1,
            "driver-state",
            "error",
            &["a.json says `proven`, b.json says `failed`", "`pass` in a.json, `crash` in b.json"],
        ),
    ];
    for (change, code, word, severity, words) in cases {
        let (ended, said, document) = compared(change);
        assert_eq!(ended, *code, "{words:?}: {said}");
        for word in *words {
            assert!(said.contains(word), "`{word}` is missing: {said}");
        }
        let mut findings = document["findings"].as_array().expect("findings").iter();
        let found = findings.any(|f| f["code"] == *word && f["severity"] == *severity);
        assert!(found, "{word} {severity}: {document}");
    }
    // 5 % is what two sound cards differ by.
    let (code, said, document) = compared(|d| {
        of(d, "cublas", "bf16.speed")["numbers"]["tflops"] = json!(760.0);
    });
    assert_eq!((code, document["findings"].as_array().map(Vec::len)), (0, Some(0)), "{said}");
}

#[test]
fn what_cannot_be_compared_is_named() {
    let proven = text("proven");
    let place = folder(&[("a.json", &proven), ("b.json", "{}"), ("cut.json", &proven[..900])]);
    let at = place.path();
    let compare = |b: &str| run(at, &["verify", "--compare", "a.json", b]);
    compare("b.json").says(2, &["b.json: ", "its schema is ``", "--report json=FILE"]);
    compare("cut.json").says(2, &["cut.json: ", "not JSON"]);
    compare("none.json").says(2, &["none.json"]);
    run(at, &["verify", "--compare", "a.json", "a.json", "--junit", "x"]).says(2, &["--junit"]);
    let sarif = run(at, &["verify", "--compare", "a.json", "a.json", "--format", "sarif"]);
    sarif.says(0, &["\"version\": \"2.1.0\""]);
    let page = run(at, &["verify", "--compare", "a.json", "a.json", "--format", "markdown"]);
    page.says(0, &["gpuseal verify: same"]);
}

/// Files beside the answer are looked at before anything runs, and no file of others is lost.
#[test]
fn files_beside_the_answer() {
    let place = folder(&[("notes.txt", "mine"), ("file", "x"), ("in/x", "")]);
    let at = place.path();
    let here =
        |args: &[&str]| run(at, &[&["verify", "--here", "--layer", "kernel"], args].concat());
    for (args, words) in [
        (&["--junit", "notes.txt"][..], &["notes.txt", "did not write"][..]),
        (&["--prometheus", "file/x"], &["file/x", "cannot be written"]),
        (&["--junit", "in"], &["`in`", "cannot be written"]),
        (&["--junit", "x", "--prometheus", "./x"], &["same file", "--junit"]),
        (&["--junit", "r", "--report", "json=r"], &["same file", "--report"]),
        (
            &["--attest", "a.json"],
            &["nothing to name", "gpuseal.lock", "gpuseal lock", "--project"],
        ),
    ] {
        here(args).says(2, words);
    }
    assert_eq!(std::fs::read_to_string(at.join("notes.txt")).expect("a file"), "mine");
    assert!(!at.join("x").exists() && !at.join("a.json").exists());

    write(
        at,
        "gpuseal.yaml",
        "torch: \"2.8.0\"\npython: \"3.12\"\ntargets:\n  t:\n    gpus: [h100]\n    driver: \"580\"\n",
    );
    run(at, &["lock", "--offline"]).says(0, &[]);
    // What came of it is written whatever it is, and written again over itself.
    for _ in 0..2 {
        let args = ["--junit", "out/j.xml", "--prometheus", "out/m.prom", "--attest", "out/a.json"];
        let ran = here(&[&args[..], &["--report", "json=out/r.json", "--target", "t"]].concat());
        assert!([0, 1, 3].contains(&ran.code), "{}", ran.all());
        let text = |name: &str| std::fs::read_to_string(at.join("out").join(name)).expect(name);
        let it = voice::read(&text("r.json")).expect("a report");
        assert_eq!(it.verdict == Verdict::Proven, ran.code == 0);
        valid(&xml(&text("j.xml")));
        let verdict = format!("gpuseal_verify_verdict{{verdict=\"{}\"}}", it.verdict.word());
        assert!(metrics(&text("m.prom")).contains(&(verdict, 1.0)));
        let statement: Value = serde_json::from_str(&text("a.json")).expect("JSON");
        assert_eq!(statement["predicate"]["verdict"], it.verdict.word());
        assert_eq!(statement["predicate"]["lock"]["target"], "t");
    }
    if cfg!(unix) {
        let mut command = gpuseal(at);
        command.args(["verify", "--here", "--layer", "kernel", "--target", "t"]);
        command.args(["--junit", "/dev/stdout"]);
        let ran = support::finish(&mut command);
        assert!(ran.stdout.contains("<testsuites"), "{}", ran.all());
    }
}
