//! Ten megabytes (a debug build: two) of whatever an index or a wheel may send: each is refused or read within a second and
//! without much memory. What they are made of is written here; nothing large is kept.

use std::time::{Duration, Instant};

use gpuseal::index::archive::{self, Sparse, Step};
use gpuseal::index::{metadata, page};

const SIZE: usize = if cfg!(debug_assertions) { 2 } else { 10 } * 1024 * 1024;

/// Soon enough: a debug build on a busy machine gets much more than the second that a release has.
#[track_caller]
fn soon<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = run();
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 12 } else { 1 });
    let took = start.elapsed();
    assert!(took < limit, "{what} took {took:?}");
    answer
}

fn filled(begin: &str, part: &str, end: &str) -> Vec<u8> {
    let times = (SIZE - begin.len() - end.len()) / part.len();
    format!("{begin}{}{end}", part.repeat(times)).into_bytes()
}

#[test]
fn pages_without_end() {
    let url = "https://index.test/simple/x/".parse().expect("an address");
    let long = format!("<a href='{}.whl'>", "a".repeat(100_000));
    let attributes = format!("<a {}href=x.whl>", "b='c' ".repeat(1000));
    for part in [
        "<a>",
        "<",
        "<a ",
        "<a href=",
        "<a href='",
        "<a href=x.whl>",
        "<a href='%",
        "<!--",
        "<!-- -->",
        "<base href='a/b/'>",
        "<meta name='pypi:project-status-reason' content='a'>",
        "<a href='&#x41;&amp;&lt;&&&&&&.whl'>",
        "<a href=../../../../x.whl>",
        "<a b=c d=e f=g h='",
        "\u{feff}\u{0}",
        &long,
        &attributes,
    ] {
        let body = filled("", part, "");
        let read =
            soon(part.get(..20).unwrap_or(part), || page::read(&body, Some("text/html"), &url));
        assert!(read.map_or(true, |page| page.files.len() <= 200_000), "{part}");
    }
    let file = r#"{"filename":"x.whl","url":"x.whl","hashes":{"sha256":"a"},"yanked":"b"}"#;
    for (begin, part, end) in [
        ("", "[", ""),
        (r#"{"files":"#, "[", ""),
        (r#"{"files":["#, "{},", "{}]}"),
        (r#"{"files":["#, r#"{"filename":"","url":""},"#, r#"{"filename":"","url":""}]}"#),
        (r#"{"files":["#, &format!("{file},"), &format!("{file}]}}")),
        (r#"{"files":[{"filename":""#, "a", r#"","url":"x"}]}"#),
        (r#"{"files":[{"filename":"x","url":""#, "../", r#"x"}]}"#),
        (r#"{"files":[{"filename":"x","url":"x","hashes":{"#, r#""a":"b","#, r#""c":"d"}}]}"#),
        (r#"{"files":[],"x":["#, r#"{"a":[1,2.0,null]},"#, "0]}"),
        (r#"{"files":[],"#, r#""a":{},"#, r#""b":0}"#),
        (r#"{"files":[{"size":"#, "9", "}]}"),
    ] {
        let body = filled(begin, part, end);
        let kind = Some("application/vnd.pypi.simple.v1+json");
        let read = soon(begin, || page::read(&body, kind, &url));
        assert!(read.map_or(true, |page| page.files.len() <= 200_000), "{begin}{part}");
    }
}

#[test]
fn metadata_without_end() {
    let deep = format!("Requires-Dist: a; {}os_name == 'a'{}\n", "(".repeat(49), ")".repeat(49));
    let apart = format!(
        "Requires-Dist: a; {}\n",
        (0..80)
            .map(|n| format!("(extra=='a{n}' and extra=='b{n}')"))
            .collect::<Vec<_>>()
            .join(" or ")
    );
    for part in [
        "a",
        "\n",
        "a\n",
        " \n",
        "a: b\n",
        "Requires-Dist: a\n",
        "Requires-Dist: a>=1,",
        "Requires-Dist: a[",
        "Provides-Extra: a\n",
        "Name: a\n",
        "Version: 1\n b\n",
        "Requires-Python: >=3.8,\n ",
        "\u{e9}: \u{e9}\n",
        &deep,
        &apart,
    ] {
        let text = filled("Name: a\nVersion: 1\n", part, "");
        let read = soon(part.get(..20).unwrap_or(part), || metadata::read(&text));
        assert!(read.map_or(true, |read| read.requires.len() <= 10_000), "{part}");
    }
}

/// A zip file that is a directory alone.
fn directory(header: &[u8], size: usize) -> Vec<u8> {
    let times = size / header.len();
    let mut whole = header.repeat(times);
    let size = u32::try_from(whole.len()).expect("a size");
    let times = u16::try_from(times).unwrap_or(u16::MAX);
    whole.extend(b"PK\x05\x06\0\0\0\0");
    whole.extend([times.to_le_bytes(), times.to_le_bytes()].concat());
    whole.extend([size.to_le_bytes(), 0_u32.to_le_bytes()].concat());
    whole.extend([0, 0]);
    whole
}

#[test]
fn archives_without_end() {
    let mut plain = [0; 47];
    plain[..4].copy_from_slice(b"PK\x01\x02");
    plain[28] = 1;
    plain[46] = b'a';
    let mut extras = [0; 46 + 4000].to_vec();
    extras[..4].copy_from_slice(b"PK\x01\x02");
    extras[30..32].copy_from_slice(&4000_u16.to_le_bytes());
    for whole in [
        vec![0; SIZE],
        b"PK\x05\x06".repeat(SIZE / 4),
        b"PK\x01\x02".repeat(SIZE / 4),
        directory(&plain, 47 * 65_000),
        directory(&plain, SIZE),
        directory(&extras, SIZE),
    ] {
        let mut view = Sparse::new(whole.len() as u64);
        for _ in 0..6 {
            match soon("an archive", || archive::contents(&view)) {
                Ok(Step::Need(range)) => {
                    let at = usize::try_from(range.start).expect("an offset");
                    let end = usize::try_from(range.end).expect("an offset");
                    view.insert(range.start, &whole[at..end]);
                }
                Ok(Step::Done(read)) => panic!("{read:?} of nothing"),
                Err(err) => {
                    assert!(err.to_string().len() < 1000);
                    break;
                }
            }
        }
        let listed = soon("a library", || archive::arch_list(std::io::Cursor::new(&whole)));
        assert!(listed.is_err());
    }
}
