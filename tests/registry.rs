//! Digests of images: over a registry that misbehaves on purpose, and over a real one.
//!
//! The second kind is ignored here, and run by `.ci/registry`, which starts the registries.

mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gpuseal::domain::{Platform, Sha256};
use gpuseal::net::registry::{
    Credentials, Found, Limits, Options, Registries, RegistryError, Wanted, Watcher,
};

use support::shelf::{Shelf, Wheel};
use support::web;
use support::{finish, folder, gpuseal};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What the scripted registry sends back.
#[derive(Clone)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Content-Length, where it is not the body's.
    claims: Option<u64>,
    /// Sends the body for ever.
    endless: bool,
    /// Sends nothing, and keeps the connection.
    silent: bool,
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            claims: None,
            endless: false,
            silent: false,
        }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn fault(status: u16, code: &str) -> Self {
        Self::new(status, format!(r#"{{"errors":[{{"code":"{code}","message":"said {code}"}}]}}"#))
    }
}

/// A question: its path with the query, and its headers in lower case.
struct Asked {
    path: String,
    headers: BTreeMap<String, String>,
}

/// A server on a loopback port that a closure answers for. It ends with the test's process.
struct Web {
    host: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { host, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> Reply, log: &Mutex<Vec<String>>) {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines();
    let path = lines.next().and_then(|l| l.split(' ').nth(1)).unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    log.lock().expect("no panic").push(path.clone());
    let reply = answer(&Asked { path, headers });
    if reply.silent {
        std::thread::sleep(Duration::from_secs(20));
        return;
    }
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    if !reply.endless {
        let length = reply.claims.unwrap_or(reply.body.len() as u64);
        head.extend(["Content-Length: ", &length.to_string(), "\r\n"]);
    }
    head.push_str("\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&reply.body);
    while reply.endless && stream.write_all(&[b'x'; 4096]).is_ok() {}
}

/// A manifest of one image, its configuration, and an index with it for some platforms.
struct Image {
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    fn new(os: &str, architecture: &str) -> Self {
        let config = format!(r#"{{"os":"{os}","architecture":"{architecture}","rootfs":{{}}}}"#)
            .into_bytes();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"digest":"{}","size":{}}},"layers":[{{"size":28}},{{"size":14}}]}}"#,
            Sha256::of(&config),
            config.len()
        )
        .into_bytes();
        Self { config, manifest }
    }

    fn digest(&self) -> Sha256 {
        Sha256::of(&self.manifest)
    }

    fn entry(&self, platform: &str) -> String {
        let (os, rest) = platform.split_once('/').expect("a platform");
        let (architecture, variant) = rest.split_once('/').unwrap_or((rest, ""));
        format!(
            r#"{{"mediaType":"{IMAGE}","digest":"{}","size":{},"platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}}}"#,
            self.digest(),
            self.manifest.len()
        )
    }
}

fn index(entries: &[String]) -> Vec<u8> {
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, entries.join(","))
        .into_bytes()
}

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        read: Duration::from_secs(2),
        whole: Duration::from_secs(8),
        tags: Duration::from_secs(2),
        helper: Duration::from_secs(2),
        retries: 2,
        pause: Duration::from_millis(5),
        longest_pause: Duration::from_secs(2),
    }
}

fn ask(options: Options, image: &Wanted) -> Result<Found, RegistryError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let registries = Registries::new(options)?;
    runtime.block_on(registries.digest(image))
}

fn python(tag: &str) -> Wanted {
    Wanted::parse("python", tag, Platform::LinuxAmd64).expect("a name")
}

/// Asks a mirror of the hub.
fn hub(mirror: &str, tag: &str) -> Result<Found, RegistryError> {
    let mirrors = BTreeMap::from([("docker.io".to_owned(), mirror.to_owned())]);
    ask(Options { mirrors, limits: limits(), ..Options::default() }, &python(tag))
}

/// The message and the help, as people read it.
fn message(err: &RegistryError) -> String {
    format!("{err} | {}", err.help().unwrap_or_default())
}

/// A registry that has a good image behind the tag `good`, and does what a test says for the rest.
fn mostly_good(rest: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Web {
    let amd64 = Image::new("linux", "amd64");
    let arm64 = Image::new("linux", "arm64");
    let top = index(&[
        arm64.entry("linux/arm64/v8"),
        amd64.entry("unknown/unknown"),
        amd64.entry("linux/amd64"),
    ]);
    let amd64_path = format!("/v2/hub/library/python/manifests/{}", amd64.digest());
    Web::start(move |asked| match asked.path.as_str() {
        "/v2/hub/library/python/manifests/good" => {
            Reply::new(200, top.clone()).with("Content-Type", INDEX)
        }
        path if path == amd64_path => {
            Reply::new(200, amd64.manifest.clone()).with("Content-Type", IMAGE)
        }
        _ => rest(asked),
    })
}

/// The answer of a registry that has nothing but what a test says.
fn alone(all: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> RegistryError {
    hub(&Web::start(all).host, "bad").expect_err("an error")
}

/// The answer to a tag that is not good, of a registry that does one thing for all of them.
fn fault(rest: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> RegistryError {
    let web = mostly_good(rest);
    hub(&format!("{}/hub", web.host), "bad").expect_err("an error")
}

#[test]
fn the_digest_is_the_platforms() {
    let web = mostly_good(|_| Reply::new(404, ""));
    let found = hub(&format!("http://{}/hub/", web.host), "good").expect("a digest");
    assert_eq!(found.digest, Image::new("linux", "amd64").digest());
    assert!(found.index.is_some());
    assert_eq!(web.seen().len(), 2, "{:?}", web.seen());
}

#[test]
fn a_single_image_says_its_platform_in_its_configuration() {
    for (architecture, fits) in [("amd64", true), ("arm64", false)] {
        let image = Image::new("linux", architecture);
        let digest = image.digest();
        let web = Web::start(move |asked| {
            if asked.path.contains("/blobs/") {
                Reply::new(200, image.config.clone())
            } else {
                Reply::new(200, image.manifest.clone())
                    .with("Content-Type", IMAGE)
                    .with("Docker-Content-Digest", image.digest().as_str())
            }
        });
        match hub(&web.host, "1") {
            Ok(found) => {
                assert_eq!((found, fits), (Found { digest, index: None, size: Some(42) }, true));
            }
            Err(err) => {
                assert!(!fits && err.honest_no(), "{err}");
                assert_eq!(
                    err.to_string(),
                    "docker.io/library/python:1 is not built for linux/amd64; it is built for linux/arm64"
                );
            }
        }
    }
}

#[test]
fn a_missing_tag_names_the_nearest() {
    let err = fault(|asked| {
        if asked.path.starts_with("/v2/hub/library/python/tags/list?n=1000&last=") {
            Reply::new(200, r#"{"name":"x","tags":["bat","$(id)"]}"#)
        } else if asked.path.contains("/tags/list") {
            Reply::new(200, r#"{"name":"x","tags":["ba","latest","sha-0123"]}"#)
                .with("Link", r#"</v2/x/tags/list?last=sha-0123>; rel="next""#)
        } else {
            Reply::fault(404, "MANIFEST_UNKNOWN")
        }
    });
    assert!(err.honest_no());
    let text = err.to_string();
    assert!(
        text.contains("has no tag `bad` of hub/library/python; the nearest are ba, bat"),
        "{text}"
    );

    // Without a list the answer is the same.
    let err = fault(|asked| {
        Reply::new(if asked.path.contains("/tags/") { 500 } else { 404 }, "<html>no</html>")
    });
    assert!(err.honest_no() && err.to_string().ends_with("of hub/library/python"), "{err}");
    let err = fault(|_| Reply::fault(404, "NAME_UNKNOWN"));
    assert!(matches!(err, RegistryError::NoRepository { .. }) && err.honest_no(), "{err}");
}

#[test]
fn lists_of_tags_end() {
    // The same page for ever, though it says that there is more.
    let count = Arc::new(AtomicUsize::new(0));
    let pages = Arc::clone(&count);
    let err = fault(move |asked| {
        if asked.path.contains("/tags/list") {
            pages.fetch_add(1, Ordering::Relaxed);
            Reply::new(200, r#"{"tags":["one","two"]}"#).with("Link", r#"<x>; rel="next""#)
        } else {
            Reply::new(404, "")
        }
    });
    assert!(err.honest_no(), "{err}");
    assert_eq!(count.load(Ordering::Relaxed), 2);
    // Always another one.
    let count = Arc::new(AtomicUsize::new(0));
    let pages = Arc::clone(&count);
    let err = fault(move |asked| {
        if asked.path.contains("/tags/list") {
            let page = pages.fetch_add(1, Ordering::Relaxed);
            Reply::new(200, format!(r#"{{"tags":["bad{page}"]}}"#))
                .with("Link", r#"<x>; rel="next""#)
        } else {
            Reply::new(404, "")
        }
    });
    assert!(err.honest_no(), "{err}");
    assert_eq!(count.load(Ordering::Relaxed), 20);
}

#[test]
fn a_missing_platform_names_those_there_are() {
    let entry = Image::new("linux", "arm64").entry("linux/arm64/v8");
    let other = entry.replace("arm64", "s390x").replace("v8", "");
    let text = index(&[entry, other]);
    let err = fault(move |_| Reply::new(200, text.clone()).with("Content-Type", INDEX));
    assert!(err.honest_no());
    assert_eq!(
        err.to_string(),
        "docker.io/library/python:bad is not built for linux/amd64; it is built for linux/arm64/v8, linux/s390x"
    );
}

#[test]
fn bytes_are_those_that_were_promised() {
    let amd64 = Image::new("linux", "amd64");
    let good = index(&[amd64.entry("linux/amd64")]);
    // By the header.
    let text = good.clone();
    let err = fault(move |_| {
        Reply::new(200, text.clone())
            .with("Content-Type", INDEX)
            .with("Docker-Content-Digest", Sha256::of(b"other").as_str())
    });
    assert!(matches!(&err, RegistryError::Digest { by, .. } if by.contains("header")), "{err}");
    assert!(!err.honest_no());
    // By the index: another image under its digest, the right one of another size, none.
    let other = Image::new("linux", "amd64x").manifest;
    let text = good.clone();
    let err = alone(move |asked| {
        let body = if asked.path.ends_with("/bad") { &text } else { &other };
        Reply::new(200, body.clone())
    });
    assert!(matches!(&err, RegistryError::Digest { by: "the index", .. }), "{err}");
    let sized = String::from_utf8(good.clone()).expect("text").replace("\"size\":", "\"size\":1");
    let err = fault(move |_| Reply::new(200, sized.clone()).with("Content-Type", INDEX));
    assert!(err.to_string().contains(" bytes, and the index says "), "{err}");
    let lost = good;
    let lost =
        String::from_utf8(lost).expect("text").replace(amd64.digest().hex(), &"0".repeat(64));
    let err = fault(move |asked| {
        if asked.path.ends_with("/bad") {
            Reply::new(200, lost.clone())
        } else {
            Reply::new(404, "")
        }
    });
    assert!(matches!(err, RegistryError::Incomplete { .. }), "{err}");
}

#[test]
fn what_is_no_manifest_is_said() {
    for (body, media_type, word) in [
        ("<html>log in</html>", "text/html", "no image that can be read"),
        ("{}", IMAGE, "schema version"),
        (
            r#"{"schemaVersion":1,"name":"x"}"#,
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "version is 1",
        ),
        (r#"{"schemaVersion":2,"manifests":[]}"#, IMAGE, "neither"),
        (
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:x","size":1,"platform":{"os":"linux"}}]}"#,
            INDEX,
            "digest",
        ),
        (r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:x","size":-1}]}"#, INDEX, "no image"),
    ] {
        let err = fault(move |_| Reply::new(200, body).with("Content-Type", media_type));
        assert!(err.to_string().contains(word), "{err}");
        assert!(!err.honest_no() && err.help().is_some());
    }
}

#[test]
fn answers_are_bounded() {
    let err = fault(|_| Reply { claims: Some(1 << 30), ..Reply::new(200, "{}") });
    assert!(matches!(err, RegistryError::TooBig { .. }), "{err}");
    let err = fault(|_| Reply { endless: true, ..Reply::new(200, "{}") });
    assert!(matches!(err, RegistryError::TooBig { .. }), "{err}");
    // A body that ends before its length.
    let err = fault(|_| Reply { claims: Some(100), ..Reply::new(200, "{}") });
    assert!(matches!(err, RegistryError::Unreachable { .. }), "{err}");
    // Nothing at all, from the registry and from its token server.
    let start = Instant::now();
    let web = Web::start(|_| Reply { silent: true, ..Reply::new(200, "") });
    let mirrors = BTreeMap::from([("docker.io".to_owned(), web.host.clone())]);
    let short = Limits { read: Duration::from_millis(200), ..limits() };
    let err = ask(Options { mirrors, limits: short, ..Options::default() }, &python("1"));
    assert!(
        matches!(&err, Err(RegistryError::Unreachable { reason, .. }) if reason.contains("in time"))
    );
    let err = fault(|asked| {
        let silent = asked.path.starts_with("/token");
        let realm = format!("Bearer realm=\"http://{}/token\"", asked.headers["host"]);
        Reply { silent, ..Reply::new(401, "").with("WWW-Authenticate", realm) }
    });
    assert!(
        matches!(err, RegistryError::TimedOut { .. } | RegistryError::Unreachable { .. }),
        "{err}"
    );
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn storms_are_waited_for_and_end() {
    // Twice not now, and then the image.
    let good = mostly_good(|_| Reply::new(404, ""));
    let count = Arc::new(AtomicUsize::new(0));
    let tries = Arc::clone(&count);
    let target = format!("http://{}/v2/hub/library/python/manifests/good", good.host);
    let web = Web::start(move |asked| {
        let status = [503, 429].get(tries.fetch_add(1, Ordering::Relaxed)).copied();
        match status {
            Some(status) => Reply::new(status, "").with("Retry-After", "0"),
            None if asked.path.ends_with("/good") => Reply::new(307, "").with("Location", &target),
            None => Reply::new(307, "").with(
                "Location",
                target.replace("good", asked.path.rsplit('/').next().unwrap_or_default()),
            ),
        }
    });
    hub(&web.host, "good").expect("a digest in the end");
    // For ever.
    let err = fault(|_| Reply::fault(429, "TOOMANYREQUESTS"));
    assert!(matches!(err, RegistryError::RateLimited { after: None, .. }), "{err}");
    assert!(message(&err).contains("`docker login docker.io`"), "{}", message(&err));
    // Longer than anybody waits: asked once.
    let count = Arc::new(AtomicUsize::new(0));
    let tries = Arc::clone(&count);
    let err = fault(move |_| {
        tries.fetch_add(1, Ordering::Relaxed);
        Reply::new(429, "").with("Retry-After", "21600")
    });
    assert!(
        err.to_string().ends_with("allows no more requests for now, try again in 21600 s"),
        "{err}"
    );
    assert_eq!(count.load(Ordering::Relaxed), 1);
    let err = fault(|_| Reply::new(503, "<html>\u{1b}[31m</html>"));
    assert!(matches!(err, RegistryError::Status { status: 503, .. }), "{err}");
    assert!(!err.to_string().contains('\u{1b}'));
}

#[test]
fn a_mirror_is_not_left() {
    // 127.0.0.2 is another host, and answers nothing that anybody may hear.
    for (status, name, value) in [
        (307, "Location", "http://127.0.0.2:1/x"),
        (302, "Location", "https://auth.docker.io/x"),
        (307, "Location", "file:///etc/passwd"),
        (401, "WWW-Authenticate", r#"Bearer realm="https://auth.docker.io/token",service="x""#),
        (401, "WWW-Authenticate", r#"Bearer realm="http://127.0.0.2:1/token""#),
    ] {
        let err = fault(move |_| Reply::new(status, "").with(name, value));
        assert!(matches!(err, RegistryError::Elsewhere { .. }), "{err}");
    }
    let err = fault(|asked| Reply::new(307, "").with("Location", asked.path.clone() + "x"));
    assert!(
        matches!(&err, RegistryError::Elsewhere { reason, .. } if reason.contains("many")),
        "{err}"
    );
    // A registry that is itself, and gone.
    let err = hub("127.0.0.1:1", "1").expect_err("nobody there");
    assert!(
        matches!(&err, RegistryError::Unreachable { host, .. } if host == "127.0.0.1:1"),
        "{err}"
    );
}

/// What a watcher heard.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Watcher for Ear {
    fn asked(&self, what: &str, _: u64, _: Duration) {
        self.0.lock().expect("no panic").push(what.to_owned());
    }
    fn warning(&self, text: &str) {
        self.0.lock().expect("no panic").push(format!("warning: {text}"));
    }
}

/// A registry that wants a token, and gives one to anybody or to those who log in.
fn guarded(token: &'static str, login: Option<&'static str>) -> Web {
    let image = Image::new("linux", "amd64");
    let top = index(&[image.entry("linux/amd64")]);
    Web::start(move |asked| {
        let authorization = asked.headers.get("authorization").map(String::as_str);
        if asked.path.starts_with("/token") {
            if login.is_some() && authorization != login {
                return Reply::new(401, r#"{"details":"incorrect username or password"}"#);
            }
            return Reply::new(200, format!("{{\"token\":{token}}}"));
        }
        if authorization != Some("Bearer abc") {
            let realm =
                format!(r#"Bearer realm="http://{}/token",service="s""#, asked.headers["host"]);
            return Reply::fault(401, "UNAUTHORIZED").with("WWW-Authenticate", realm);
        }
        let body = if asked.path.ends_with("/1") { &top } else { &image.manifest };
        Reply::new(200, body.clone())
    })
}

#[test]
fn tokens_are_asked_for_once() {
    let web = guarded("\"abc\"", None);
    let ear = Arc::new(Ear::default());
    let mirrors = BTreeMap::from([("docker.io".to_owned(), web.host.clone())]);
    let watcher: Arc<dyn Watcher> = Arc::<Ear>::clone(&ear);
    let found =
        ask(Options { mirrors, limits: limits(), watcher, ..Options::default() }, &python("1"));
    assert_eq!(found.expect("a digest").digest, Image::new("linux", "amd64").digest());
    let tokens: Vec<_> = web.seen().into_iter().filter(|path| path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1);
    assert!(tokens[0].contains("scope=repository%3Alibrary%2Fpython%3Apull"), "{tokens:?}");
    let heard = ear.0.lock().expect("no panic").join("\n");
    assert!(
        heard.contains("/v2/library/python/manifests/1 200") && !heard.contains("abc"),
        "{heard}"
    );
}

#[test]
fn tokens_are_not_trusted() {
    for token in ["\"a\\nb: c\"", "\"\\u0000\"", "17", "null", "\"abd\"", "\"a.b.c\"", "\"..\""] {
        let web = guarded(token, None);
        let err = hub(&web.host, "1").expect_err("no token");
        assert!(
            matches!(err, RegistryError::Shape { .. } | RegistryError::Denied { .. }),
            "{token}: {err}"
        );
    }
    // Challenges that nobody can answer.
    for challenge in [
        "",
        "Bearer",
        "Bearer realm=",
        "Basic realm=\"x\"",
        "Bearer realm=\"\"",
        "Digest x",
        ",,,=\"",
        "Bearer realm=\"/token\"",
    ] {
        let err =
            fault(move |_| Reply::fault(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge));
        assert!(!err.honest_no(), "{challenge}: {err}");
    }
}

#[test]
fn logins_are_used_and_never_shown() {
    // me:word
    let web = guarded("\"abc\"", Some("Basic bWU6d29yZA=="));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.json");
    let with = |auth: &str| {
        let text = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, web.host);
        fs_err::write(&file, text).expect("a file");
        let credentials = Credentials::at(vec![file.clone()], "");
        let mirrors = BTreeMap::from([("docker.io".to_owned(), web.host.clone())]);
        ask(Options { mirrors, limits: limits(), credentials, ..Options::default() }, &python("1"))
    };
    with("bWU6d29yZA==").expect("a digest");
    let before = web.seen().len();
    // me:wrong, which is sent once.
    let err = with("bWU6d3Jvbmc=").expect_err("a wrong password");
    assert!(matches!(err, RegistryError::Denied { with_credentials: true, .. }), "{err}");
    assert!(!message(&err).contains("wrong"), "{}", message(&err));
    assert_eq!(web.seen().iter().skip(before).filter(|p| p.starts_with("/token")).count(), 1);
    let err = hub(&web.host, "1").expect_err("no login");
    assert!(message(&err).contains("docker login"), "{}", message(&err));
}

/// What `.ci/registry` says about the registries that it started.
fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run .ci/registry"))
}

#[test]
#[ignore = "needs the registries that .ci/registry starts"]
fn a_real_registry_tells_the_digests_that_were_pushed() {
    let host = told("GPUSEAL_TEST_REGISTRY");
    for (tag, platform, digest, index) in [
        ("3.12-slim-trixie", Platform::LinuxAmd64, "AMD64", Some("INDEX")),
        ("3.12-slim-trixie", Platform::LinuxArm64, "ARM64", Some("INDEX")),
        ("3.12-single", Platform::LinuxAmd64, "SINGLE", None),
    ] {
        let image = Wanted { tag: tag.into(), platform, ..python("x") };
        let mirrors = BTreeMap::from([("docker.io".to_owned(), host.clone())]);
        let ear = Arc::new(Ear::default());
        let watcher: Arc<dyn Watcher> = Arc::<Ear>::clone(&ear);
        let found = ask(Options { mirrors, watcher, ..Options::default() }, &image).expect(tag);
        let pushed = |name: &str| told(&format!("GPUSEAL_TEST_{name}")).parse().expect("a digest");
        let size = found.size.filter(|size| *size > 0);
        assert!(size.is_some(), "its layers have sizes");
        assert_eq!(found, Found { digest: pushed(digest), index: index.map(pushed), size });
        let heard = ear.0.lock().expect("no panic").join("\n");
        assert!(heard.contains("/token token for library/python"), "no token was needed:\n{heard}");
    }
}

#[test]
#[ignore = "needs the registries that .ci/registry starts"]
fn a_real_registry_says_no() {
    let host = told("GPUSEAL_TEST_REGISTRY");
    let asked = host.trim_start_matches("http://");
    let err = hub(&host, "3.12-slim-trixy").expect_err("no such tag");
    assert!(err.honest_no());
    assert_eq!(
        err.to_string(),
        format!(
            "{asked} has no tag `3.12-slim-trixy` of library/python; the nearest are 3.12-slim-trixie, 3.12-single"
        )
    );
    let single = Wanted { platform: Platform::LinuxArm64, ..python("3.12-single") };
    let mirrors = BTreeMap::from([("docker.io".to_owned(), host.clone())]);
    let err = ask(Options { mirrors, ..Options::default() }, &single).expect_err("one platform");
    assert!(err.honest_no() && err.to_string().ends_with("it is built for linux/amd64"), "{err}");
    let mirrors = BTreeMap::from([("docker.io".to_owned(), host)]);
    let absent = Wanted::parse("library/pytohn", "1", Platform::LinuxAmd64).expect("a name");
    let err = ask(Options { mirrors, ..Options::default() }, &absent).expect_err("no repository");
    assert!(matches!(err, RegistryError::NoRepository { .. }), "{err}");
}

/// The whole way: what the program writes into a lock, and what it renders from it.
#[test]
#[ignore = "needs the registries that .ci/registry starts"]
fn a_lock_holds_the_digests_of_its_images() {
    let host = told("GPUSEAL_TEST_REGISTRY");
    let web = web::Web::start([]);
    let mut shelf = Shelf::at("/simple", "/files");
    let torch = "torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64.whl";
    shelf.add(Wheel::new(torch).build("2.15.0", Some("13.2")));
    shelf.publish(&web);
    let cards = "{gpus: h100, driver: \"595.45.04\"}";
    let project = folder(&[(
        "gpuseal.yaml",
        &format!(
            "torch: \"2.15.0\"\npython: \"3.12\"\ntargets:\n  train: {cards}\nmirrors:\n  docker.io: {host}\n  ghcr.io: {host}\n"
        ),
    )]);
    let lock = || {
        let mut command = gpuseal(project.path());
        command.args(["lock", "--no-cache", "--verbose", "--render", "dockerfile"]);
        command.env("PIP_INDEX_URL", web.url("/simple").as_str());
        finish(&mut command)
    };
    let run = lock();
    run.says(0, &["wrote gpuseal.lock", "/token token for", "library/python"]);
    let text = std::fs::read_to_string(project.path().join("gpuseal.lock")).expect("a lock");
    let (python, uv) = (told("GPUSEAL_TEST_AMD64"), told("GPUSEAL_TEST_UV"));
    for line in [format!("\ndigest = \"{python}\"\n"), format!("\nuv_digest = \"{uv}\"\n")] {
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
    let rendered = std::fs::read_to_string(project.path().join("Dockerfile")).expect("rendered");
    let place = host.trim_start_matches("http://");
    let from = format!("FROM {place}/library/python:3.12-slim-trixie@{python} AS train\n");
    assert!(rendered.contains(&from), "no {from} in\n{rendered}");
    assert!(rendered.contains(&format!("@{uv} /uv /usr/local/bin/uv\n")), "{rendered}");
    // What is known is not asked again.
    let again = lock();
    again.says(0, &["unchanged gpuseal.lock"]);
    assert!(!again.all().contains("\nGET "), "{}", again.all());
    // Another tag is another question, whose answer is no: the lock stays.
    let yaml = project.path().join("gpuseal.yaml");
    let other = std::fs::read_to_string(&yaml).expect("gpuseal.yaml").replace("3.12", "3.13");
    std::fs::write(&yaml, other).expect("gpuseal.yaml");
    let mut newer = shelf.clone();
    newer.add(Wheel::new(&torch.replace("cp312", "cp313")).build("2.15.0", Some("13.2")));
    newer.publish(&web);
    lock().says(
        1,
        &["has no tag `3.13-slim-trixie` of library/python; the nearest are 3.12-slim-trixie"],
    );
    assert_eq!(std::fs::read_to_string(project.path().join("gpuseal.lock")).expect("a lock"), text);
}

/// The certificates are the platform's: here those that `SSL_CERT_FILE` names.
#[test]
#[ignore = "needs the registries that .ci/registry starts"]
fn certificates_are_those_of_the_platform() {
    let host = told("GPUSEAL_TEST_REGISTRY_TLS");
    let answer = hub(&format!("https://{host}"), "3.12-slim-trixie");
    if told("GPUSEAL_TEST_TRUSTED") == "yes" {
        answer.expect("a digest");
    } else {
        let err = answer.expect_err("an unknown authority");
        assert!(message(&err).contains("SSL_CERT_FILE"), "{}", message(&err));
    }
}
