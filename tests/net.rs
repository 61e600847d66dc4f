//! The HTTP client against a server on the loopback interface that misbehaves on purpose.

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gpuseal::domain::Sha256;
use gpuseal::net::{
    Cache, Client, Error, Expect, Keyring, Options, Origin, Page, Part, Phase, Request, Want,
    Watcher,
};
use support::web::{Route, Web};
use url::Url;

/// Hears all that is said.
#[derive(Default)]
struct Ear {
    requests: Mutex<Vec<Request>>,
    progress: Mutex<Vec<(String, u64, Option<u64>)>>,
    notes: Mutex<Vec<String>>,
}

impl Watcher for Ear {
    fn request(&self, done: &Request) {
        self.requests.lock().expect("a lock").push(done.clone());
    }
    fn progress(&self, file: &str, so_far: u64, total: Option<u64>) {
        self.progress.lock().expect("a lock").push((file.to_owned(), so_far, total));
    }
    fn retry(&self, note: &str) {
        self.notes.lock().expect("a lock").push(format!("retry: {note}"));
    }
    fn warn(&self, note: &str) {
        self.notes.lock().expect("a lock").push(format!("warn: {note}"));
    }
}

impl Ear {
    fn notes(&self) -> String {
        self.notes.lock().expect("a lock").join("\n")
    }
    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("a lock").clone()
    }
}

/// Patience of a test: tries come soon, and nothing that hangs is waited for.
fn quick() -> Options {
    Options {
        back_off: Duration::from_millis(2),
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        total: Duration::from_secs(10),
        ..Options::default()
    }
}

fn client() -> Client {
    Client::new(quick()).expect("a client")
}

fn cached(folder: &Path) -> Options {
    Options { cache: Some(Cache::at(folder)), ..quick() }
}

/// Runs to the end, which has to come soon.
fn run<T>(work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let got = runtime.block_on(work);
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    got
}

fn page(client: &Client, url: &Url) -> Result<Page, Error> {
    run(client.page(url, "text/html"))
}

/// Bytes that differ from each other.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).expect("a byte")).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut list = Vec::new();
    for entry in fs_err::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { list.extend(files(&path)) } else { list.push(path) }
    }
    list
}

#[test]
fn a_page_is_asked_for_politely_and_unpacked() {
    let text = "<a href=torch.whl>".repeat(500);
    let web = Web::start([
        ("/simple/torch/", Route::ok(&*text).header("Content-Type", "text/html; charset=x").gzip()),
        ("/chunked/", Route::ok(&*text).chunked()),
    ]);
    let ear = Arc::new(Ear::default());
    let client = Client::new(Options { watcher: ear.clone(), ..quick() }).expect("a client");
    let url = web.url("/simple/torch/?token=secret#fragment");
    let page = run(client.page(&url, "application/json, text/html;q=0.1")).expect("a page");
    assert_eq!(page.body, text.as_bytes());
    assert_eq!(page.content_type.as_deref(), Some("text/html; charset=x"));
    assert_eq!(page.url, web.url("/simple/torch/?token=secret"));
    let hit = &web.log()[0];
    assert_eq!(hit.header("accept"), Some("application/json, text/html;q=0.1"));
    assert_eq!(hit.header("accept-encoding"), Some("gzip"));
    assert!(hit.header("user-agent").is_some_and(|agent| agent.starts_with("gpuseal/")));
    // What came over the wire is counted, and secrets are not told.
    let told = &ear.requests()[0];
    assert_eq!((told.method, told.status, told.cached), ("GET", Some(200), false));
    assert!(told.bytes == hit.bytes && told.bytes < 500, "{told:?}");
    assert!(!told.url.contains("secret") && told.url.contains("token="), "{told:?}");
    assert_eq!(
        run(client.page(&web.url("/chunked/"), "*/*")).expect("a page").body,
        text.as_bytes()
    );
    let traffic = client.traffic();
    assert_eq!(traffic.requests, 2);
    assert_eq!(traffic.bytes, told.bytes + text.len() as u64);
    assert!(web.log().iter().all(|hit| hit.method == "GET"), "HEAD lies");
}

#[test]
fn a_page_that_holds_is_not_asked_for_again() {
    let web = Web::start([
        (
            "/holds/",
            Route::ok("holds").header("Cache-Control", "max-age=300").header("Content-Type", "a/b"),
        ),
        ("/asks/", Route::ok("asks").etag("\"7\"").header("Content-Type", "a/b")),
        ("/never/", Route::ok("never").header("Cache-Control", "no-store")),
    ]);
    let place = folder();
    for round in 1..4 {
        // Another program each time.
        let client = Client::new(cached(place.path())).expect("a client");
        for path in ["/holds/", "/asks/", "/never/"] {
            let page = page(&client, &web.url(path)).expect("a page");
            assert_eq!(page.body, path.trim_matches('/').as_bytes());
            assert_eq!(page.url, web.url(path));
            if path != "/never/" {
                assert_eq!(page.content_type.as_deref(), Some("a/b"), "{path}");
            }
        }
        assert_eq!(web.hits("/holds/"), 1);
        assert_eq!(web.hits("/asks/"), round);
        assert_eq!(web.hits("/never/"), round);
        let traffic = client.traffic();
        if round > 1 {
            assert_eq!((traffic.cached, traffic.requests, traffic.bytes), (2, 2, 5));
        }
    }
    assert_eq!(web.bytes("/asks/"), 4, "it has not changed");
    // It has changed.
    web.route("/asks/", Route::ok("answer").etag("\"8\""));
    let client = Client::new(cached(place.path())).expect("a client");
    assert_eq!(page(&client, &web.url("/asks/")).expect("a page").body, b"answer");
    // What another kind of page says is another matter.
    run(client.page(&web.url("/holds/"), "application/json")).expect("a page");
    assert_eq!(web.hits("/holds/"), 2);
}

#[test]
fn offline_answers_come_from_the_cache_alone() {
    let text = b"Name: torch\n".to_vec();
    let digest = Sha256::of(&text);
    let web = Web::start([("/page/", Route::ok("page")), ("/text", Route::ok(text.clone()))]);
    let place = folder();
    let online = Client::new(cached(place.path())).expect("a client");
    page(&online, &web.url("/page/")).expect("a page");
    run(online.text(&web.url("/text"), Some(&digest))).expect("a text");
    let asked = web.log().len();

    let offline = Client::new(Options { offline: true, ..cached(place.path()) }).expect("a client");
    assert_eq!(page(&offline, &web.url("/page/")).expect("a page").body, b"page");
    assert_eq!(run(offline.text(&web.url("/text"), Some(&digest))).expect("a text"), text);
    let url = web.url_of("user:secret", "/other/");
    for error in [
        page(&offline, &url).expect_err("not there"),
        run(offline.text(&url, Some(&Sha256::of(b"")))).expect_err("not there"),
        run(offline.text(&url, None)).expect_err("not there"),
        run(offline.part(&url, Want::Last(5))).expect_err("not there"),
        run(offline.download(&url, Expect::default())).expect_err("not there"),
    ] {
        assert!(matches!(error, Error::Offline { .. }), "{error:?}");
        assert!(!error.to_string().contains("secret") && error.help().is_some(), "{error}");
    }
    assert_eq!(web.log().len(), asked);
    assert_eq!(offline.traffic().cached, 2);
    // Without a cache too.
    let bare = Client::new(Options { offline: true, ..quick() }).expect("a client");
    assert!(matches!(page(&bare, &web.url("/page/")), Err(Error::Offline { .. })));
}

#[test]
fn a_torn_cache_is_fetched_again() {
    let text = b"Name: torch\n".to_vec();
    let digest = Sha256::of(&text);
    let web = Web::start([
        ("/page/", Route::ok("page").header("Cache-Control", "max-age=300")),
        ("/text", Route::ok(text.clone())),
    ]);
    let place = folder();
    for round in 1..4 {
        let client = Client::new(cached(place.path())).expect("a client");
        assert_eq!(page(&client, &web.url("/page/")).expect("a page").body, b"page");
        assert_eq!(run(client.text(&web.url("/text"), Some(&digest))).expect("a text"), text);
        assert_eq!((web.hits("/page/"), web.hits("/text")), (round, round));
        for path in files(&place.path().join("v1")) {
            let mut torn = fs_err::read(&path).expect("an entry");
            match round {
                1 => torn.truncate(torn.len() - 1),
                _ => *torn.last_mut().expect("a byte") ^= 1,
            }
            fs_err::write(&path, torn).expect("an entry");
        }
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_said_once() {
    let web = Web::start([("/a/", Route::ok("a")), ("/b/", Route::ok("b"))]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let ear = Arc::new(Ear::default());
    let client =
        Client::new(Options { watcher: ear.clone(), ..cached(file.path()) }).expect("a client");
    page(&client, &web.url("/a/")).expect("a page");
    page(&client, &web.url("/b/")).expect("a page");
    run(client.text(&web.url("/a/"), Some(&Sha256::of(b"a")))).expect("a text");
    run(client.download(&web.url("/a/"), Expect::default())).expect("a file");
    let notes = ear.notes();
    assert_eq!(notes.lines().count(), 1, "{notes}");
    assert!(notes.contains("cannot be written"), "{notes}");
}

#[test]
fn a_wrong_digest_names_both_sides() {
    let web = Web::start([("/x.whl.metadata", Route::ok("evil")), ("/x.whl", Route::ok("evil"))]);
    let place = folder();
    let client = Client::new(cached(place.path())).expect("a client");
    let good = Sha256::of(b"good");
    let expect = Expect { sha256: Some(good.clone()), size: None };
    for error in [
        run(client.text(&web.url("/x.whl.metadata"), Some(&good))).expect_err("a lie"),
        run(client.download(&web.url("/x.whl"), expect)).expect_err("a lie"),
    ] {
        let said = error.to_string();
        assert!(said.contains(good.hex()) && said.contains(Sha256::of(b"evil").hex()), "{said}");
        assert!(error.honest_no() && error.help().is_some(), "{said}");
    }
    assert_eq!(web.log().len(), 2, "the truth does not change by asking again");
    let left: Vec<_> =
        files(place.path()).into_iter().filter(|p| !p.ends_with("CACHEDIR.TAG")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn parts_of_a_file_are_the_parts_asked_for() {
    let file = bytes(1000);
    let web = Web::start([
        ("/x.whl", Route::ok(file.clone()).ranges().etag("\"1\"")),
        ("/start.whl", Route::ok(file.clone()).ranges_from_the_start()),
        (
            "/short.whl",
            Route::ok(file.clone())
                .after(Route::status(416).header("Content-Range", "bytes */1000"))
                .ranges(),
        ),
        ("/empty.whl", Route::ok("").ranges()),
        ("/whole.whl", Route::ok(bytes(50_000_000))),
        ("/packed.whl", Route::ok(file.clone()).gzip().ranges()),
    ]);
    let client = client();
    let part = |path: &str, want: Want| run(client.part(&web.url(path), want)).expect("a part");
    let is = |got: Part, from: usize, to: usize| match got {
        Part::Bytes { offset, bytes, total, .. } => {
            assert_eq!((offset, total), (from as u64, 1000));
            assert!(bytes == file[from..to]);
        }
        whole @ Part::Whole { .. } => panic!("{whole:?}"),
    };
    is(part("/x.whl", Want::Last(100)), 900, 1000);
    is(part("/x.whl", Want::Last(5000)), 0, 1000);
    is(part("/x.whl", Want::At(10..20)), 10, 20);
    is(part("/x.whl", Want::At(990..2000)), 990, 1000);
    // Servers that cannot count from the end, or take too long an end for a mistake.
    is(part("/start.whl", Want::Last(100)), 900, 1000);
    is(part("/short.whl", Want::Last(5000)), 0, 1000);
    assert!(matches!(part("/empty.whl", Want::Last(9)), Part::Bytes { total: 0, .. }));
    // No parts: nothing is read.
    let whole = part("/whole.whl", Want::Last(100));
    assert_eq!(whole, Part::Whole { total: Some(50_000_000) });
    assert_eq!(part("/packed.whl", Want::Last(100)), Part::Whole { total: None });
    assert!(client.traffic().bytes < 5000, "{:?}", client.traffic());
    assert!(web.log().iter().all(|hit| hit.header("accept-encoding") == Some("identity")));

    let error =
        run(client.part(&web.url("/x.whl"), Want::At(1000..1010))).expect_err("past the end");
    assert!(error.to_string().contains("1000 bytes"), "{error}");
    for want in [Want::Last(0), Want::At(5..5), Want::Last(u64::MAX), Want::At(0..u64::MAX)] {
        assert!(run(client.part(&web.url("/x.whl"), want)).is_err());
    }
}

#[test]
fn servers_that_lie_about_parts_are_found_out() {
    let lie =
        |range: &str, body: &str| Route::status(206).body(body).header("Content-Range", range);
    for (route, word) in [
        (lie("bytes 0-3/10", "abcd"), "`bytes 0-3/10`"),
        (lie("bytes 6-9/*", "abcd"), "`bytes 6-9/*`"),
        (lie("bytes 6-9/10", "abc"), "3 bytes for 4"),
        (lie("bytes 6-9/10", "abcdef"), "6 bytes for 4"),
        (lie("bytes 6-9/10", "abcdef").chunked(), "more than 4"),
        (lie("bytes 6-9/10", "ab").chunked(), "2 bytes for 4"),
        (Route::status(206), "without saying which"),
    ] {
        let web = Web::start([("/x.whl", route)]);
        let error = run(client().part(&web.url("/x.whl"), Want::Last(4))).expect_err("a lie");
        assert!(matches!(error, Error::Range { .. }), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(web.log().len(), 1);
    }
    // Two files under one name.
    for (first, second) in [
        (Route::ok(bytes(10)).ranges(), Route::ok(bytes(11)).ranges()),
        (Route::ok(bytes(10)).ranges().etag("\"1\""), Route::ok(bytes(10)).ranges().etag("\"2\"")),
        (
            Route::ok(bytes(10)).ranges().header("Last-Modified", "then"),
            Route::ok(bytes(10)).ranges().header("Last-Modified", "now"),
        ),
    ] {
        let web = Web::start([("/x.whl", second.after(first))]);
        let (client, url) = (client(), web.url("/x.whl"));
        run(client.part(&url, Want::Last(4))).expect("a part");
        let error = run(client.part(&url, Want::At(0..2))).expect_err("another file");
        assert!(matches!(error, Error::Changed { .. }), "{error:?}");
        // Begun anew, it is the second that is read.
        run(client.part(&url, Want::Last(4))).expect("a part");
        run(client.part(&url, Want::At(0..2))).expect("a part");
    }
}

#[test]
fn a_download_is_streamed_hashed_and_gone_when_it_is_dropped() {
    let file = bytes(3_000_000);
    let web = Web::start([
        ("/dir/x.whl", Route::ok(file.clone()).header("Content-Encoding", "gzip")),
        ("/chunked.whl", Route::ok(file.clone()).chunked()),
    ]);
    let (place, ear) = (folder(), Arc::new(Ear::default()));
    let client =
        Client::new(Options { watcher: ear.clone(), ..cached(place.path()) }).expect("a client");
    let expect = Expect { sha256: Some(Sha256::of(&file)), size: Some(3_000_000) };
    let got = run(client.download(&web.url("/dir/x.whl"), expect.clone())).expect("a file");
    assert_eq!((got.size, &got.sha256), (3_000_000, &Sha256::of(&file)));
    assert!(fs_err::read(&got.path).expect("a file") == file);
    assert!(got.path.starts_with(place.path()), "on the disk of the cache");
    let path = got.path.to_path_buf();
    drop(got);
    assert!(!path.exists());
    {
        let progress = ear.progress.lock().expect("a lock");
        let (first, last) = (&progress[0], &progress[progress.len() - 1]);
        assert_eq!(*first, ("x.whl".to_owned(), 0, Some(3_000_000)));
        assert_eq!(*last, ("x.whl".to_owned(), 3_000_000, Some(3_000_000)));
    }
    let got = run(client.download(&web.url("/chunked.whl"), Expect::default())).expect("a file");
    assert_eq!(got.sha256, Sha256::of(&file));
    // Another size than the index says: known before anything is read, or as soon as it is passed.
    for (path, size, more) in [
        ("/dir/x.whl", 2_999_999, false),
        ("/chunked.whl", 2_999_999, true),
        ("/chunked.whl", 3_000_001, false),
    ] {
        let expect = Expect { sha256: None, size: Some(size) };
        match run(client.download(&web.url(path), expect)) {
            Err(Error::Size { expected, more: found, .. }) => {
                assert_eq!((expected, found), (size, more));
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(web.log().iter().all(|hit| hit.header("accept-encoding") == Some("identity")));
}

#[test]
fn what_is_promised_has_to_be_sent() {
    let web = Web::start([
        ("/cut.whl", Route::ok(bytes(1000)).truncated(300)),
        ("/cut-chunked.whl", Route::ok(bytes(1000)).truncated(300).chunked()),
        ("/claim.whl", Route::ok(bytes(1000)).claims(1 << 30)),
        ("/huge.whl", Route::ok(bytes(1000)).claims(1 << 40)),
        ("/once.whl", Route::ok(bytes(1000)).after(Route::ok(bytes(1000)).truncated(10))),
    ]);
    let place = folder();
    let client = Client::new(Options { retries: 1, ..cached(place.path()) }).expect("a client");
    let get = |path: &str| run(client.download(&web.url(path), Expect::default()));
    for (path, words) in [
        ("/cut.whl", "promised 1000 bytes and sent 300 (tried 2 times)"),
        ("/cut-chunked.whl", "broke off after 300 bytes (tried 2 times)"),
        ("/claim.whl", "promised 1073741824 bytes and sent 1000 (tried 2 times)"),
    ] {
        let error = get(path).expect_err("cut short");
        assert!(matches!(error.cause(), Error::Cut { .. }), "{error:?}");
        assert!(error.to_string().ends_with(words), "{error}");
        assert!(!error.honest_no() && error.help().is_some());
        let error = page(&client, &web.url(path)).expect_err("cut short");
        assert!(matches!(error.cause(), Error::Cut { .. } | Error::TooBig { .. }), "{error:?}");
        let error = run(client.text(&web.url(path), None)).expect_err("cut short");
        assert!(matches!(error.cause(), Error::Cut { .. } | Error::TooBig { .. }), "{error:?}");
    }
    // Too much by far: not a byte is read, nor is it asked for again.
    let before = web.hits("/claim.whl");
    let error = page(&client, &web.url("/claim.whl")).expect_err("too big");
    assert!(matches!(error, Error::TooBig { claims: Some(0x4000_0000), .. }), "{error:?}");
    assert_eq!(web.hits("/claim.whl"), before + 1);
    assert!(matches!(get("/huge.whl"), Err(Error::TooBig { .. })));
    assert_eq!(get("/once.whl").expect("at the second try").size, 1000);
    let left: Vec<_> =
        files(place.path()).into_iter().filter(|p| !p.ends_with("CACHEDIR.TAG")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn small_answers_that_grow_are_stopped() {
    // 17 MiB of nothing take some kilobytes on the wire. A member of a gzip may follow another. The
    // limit for metadata is lower than the one for pages, and a debug build is slow.
    let web = Web::start([("/bomb", Route::ok(vec![0; 1 << 20]).gzip().repeated(17))]);
    let patient = Options { total: Duration::from_secs(18), ..quick() };
    let error = run(Client::new(patient).expect("a client").text(&web.url("/bomb"), None));
    let error = error.expect_err("too big");
    assert!(matches!(error, Error::TooBig { claims: None, .. }), "{error:?}");
    assert_eq!(web.log().len(), 1);
    let web = Web::start([
        ("/broken/", Route::ok("no gzip").header("Content-Encoding", "gzip")),
        ("/br/", Route::ok("x").header("Content-Encoding", "br")),
    ]);
    for path in ["/broken/", "/br/"] {
        let error = page(&client(), &web.url(path)).expect_err("not to be read");
        assert!(matches!(error, Error::Encoding { .. }), "{error:?}");
    }
}

#[test]
fn who_is_turned_away_comes_back_later() {
    let web = Web::start([
        (
            "/busy/",
            Route::ok("ok").fails(1, 429, Some("0")).fails(1, 503, None).fails(
                1,
                502,
                Some("soon"),
            ),
        ),
        ("/storm/", Route::ok("ok").fails(50, 429, None)),
        ("/wait/", Route::ok("ok").fails(1, 429, Some("3600"))),
        ("/date/", Route::ok("ok").fails(1, 503, Some("Fri, 31 Dec 9999 23:59:59 GMT"))),
        ("/past/", Route::ok("ok").fails(1, 503, Some("Thu, 01 Jan 1970 00:00:00 GMT"))),
        ("/gone/", Route::ok("ok").after(Route::hangs_up())),
        ("/second/", Route::ok("ok").fails(1, 503, Some("2"))),
    ]);
    let ear = Arc::new(Ear::default());
    let client = Client::new(Options { watcher: ear.clone(), ..quick() }).expect("a client");
    let get = |path: &str| page(&client, &web.url(path));
    assert_eq!(get("/busy/").expect("a page").body, b"ok");
    assert_eq!(web.hits("/busy/"), 4);
    assert_eq!(ear.notes().lines().count(), 3, "{}", ear.notes());
    assert!(ear.notes().contains("HTTP 429; try 2 of 4"), "{}", ear.notes());
    get("/past/").expect("a page");
    get("/gone/").expect("a page");

    let error = get("/storm/").expect_err("a storm");
    assert!(matches!(error, Error::Repeated { tries: 4, .. }), "{error:?}");
    assert!(error.to_string().ends_with("HTTP 429 (tried 4 times)"), "{error}");
    assert!(error.help().is_some() && web.hits("/storm/") == 4);
    for path in ["/wait/", "/date/"] {
        let error = get(path).expect_err("too long");
        assert!(matches!(error, Error::Busy { .. }), "{error:?}");
        assert!(error.to_string().contains("longer than the 60 s"), "{error}");
        assert_eq!(web.hits(path), 1);
    }
    // Not even a short wait, when all has to be over before.
    let hurried =
        Client::new(Options { total: Duration::from_millis(900), ..quick() }).expect("a client");
    let start = Instant::now();
    let error = page(&hurried, &web.url("/second/")).expect_err("too long");
    assert!(matches!(error, Error::Status { status: 503, .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_no_is_not_asked_for_again() {
    for (status, is) in [
        (404, (|e| matches!(e, Error::NotFound { status: 404, .. })) as fn(&Error) -> bool),
        (410, |e| matches!(e, Error::NotFound { status: 410, .. })),
        (401, |e| matches!(e, Error::Denied { status: 401, signed: false, .. })),
        (403, |e| matches!(e, Error::Denied { status: 403, .. })),
        (400, |e| matches!(e, Error::Status { status: 400, .. })),
        (204, |e| matches!(e, Error::Status { status: 204, .. })),
        (206, |e| matches!(e, Error::Status { status: 206, .. })),
        (304, |e| matches!(e, Error::Status { status: 304, .. })),
        (501, |e| matches!(e, Error::Status { status: 501, .. })),
    ] {
        let web = Web::start([("/x", Route::status(status))]);
        let client = client();
        let url = web.url("/x");
        for error in [
            page(&client, &url).expect_err("no page"),
            run(client.text(&url, None)).expect_err("no text"),
            run(client.download(&url, Expect::default())).expect_err("no file"),
        ] {
            assert!(is(&error), "{status}: {error:?}");
            assert!(error.to_string().contains(&url.to_string()), "{error}");
        }
        assert_eq!(web.log().len(), 3, "{status}");
    }
    let web = Web::start([]);
    let error = run(client().part(&web.url("/x"), Want::Last(5))).expect_err("no part");
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[test]
fn nobody_is_waited_for_forever() {
    let web = Web::start([
        ("/silent/", Route::silent()),
        ("/stalls/", Route::ok("ab").drip(Duration::from_secs(3)).chunked()),
        ("/drips/", Route::ok(bytes(1000)).drip(Duration::from_millis(20)).chunked()),
    ]);
    let short = Duration::from_millis(250);
    let client = Client::new(Options {
        read_timeout: short,
        connect_timeout: Duration::from_secs(2),
        retries: 1,
        ..quick()
    })
    .expect("a client");
    for path in ["/silent/", "/stalls/"] {
        let error = page(&client, &web.url(path)).expect_err("silence");
        assert!(matches!(error.cause(), Error::Timeout { phase: Phase::Byte, .. }), "{error:?}");
        assert!(error.to_string().contains("not a byte more within 0.2"), "{error}");
        assert_eq!(web.hits(path), 2);
    }
    let client = Client::new(Options { total: short, retries: 0, ..quick() }).expect("a client");
    let url = web.url("/drips/");
    for error in [
        page(&client, &url).expect_err("too slow"),
        run(client.text(&url, None)).expect_err("too slow"),
        run(client.download(&url, Expect::default())).expect_err("too slow"),
    ] {
        assert!(matches!(error, Error::Timeout { phase: Phase::Whole, .. }), "{error:?}");
    }
    // What was cut off is told all the same.
    assert_eq!(client.traffic().requests, 3);
}

#[test]
fn who_cannot_be_reached_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("a port")
        .port();
    let url = format!("http://u:secret@127.0.0.1:{port}/simple/").parse().expect("a URL");
    let error = page(&client(), &url).expect_err("nobody listens");
    assert!(matches!(error, Error::Repeated { tries: 4, .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("refused") && said.contains(&port.to_string()), "{said}");
    assert!(
        !said.contains("secret") && error.help().is_some_and(|help| help.contains("HTTPS_PROXY"))
    );
    for url in ["file:///etc/passwd", "ftp://example.org/x", "data:text/html,x"] {
        let error = page(&client(), &url.parse().expect("a URL")).expect_err("no web");
        assert!(matches!(error, Error::Scheme { .. }), "{error:?}");
    }
    // Something that is no web server, or a strange one.
    let web = Web::start([
        ("/long", Route::ok("x").header("X", &"x".repeat(2 << 20))),
        ("/many", (0..3000).fold(Route::ok("x"), |route, n| route.header(&format!("X-{n}"), "x"))),
        ("/two", Route::ok("x").header("Content-Length", "7")),
        ("/odd", Route::ok("x").header("Bad Name", "\u{1}")),
    ]);
    for path in ["/long", "/many", "/two", "/odd"] {
        let error = page(&client(), &web.url(path)).expect_err("no HTTP");
        assert!(error.to_string().contains("no answer from"), "{path}: {error}");
        assert!(error.to_string().len() < 500, "{path}: {error}");
    }
    // TLS with a server that does not speak it.
    let web = Web::start([]);
    let url = format!("https://{}/", web.addr).parse().expect("a URL");
    assert!(page(&client(), &url).is_err());
}

#[test]
fn redirects_are_followed_and_credentials_stay_at_home() {
    let other = Web::start([("/file", Route::ok("file")), ("/back", Route::ok("x"))]);
    let web = Web::start([
        ("/a/b", Route::redirect("../c")),
        ("/c", Route::redirect("/d?x=1")),
        ("/d", Route::ok("d")),
        ("/away", Route::redirect(other.url_of("thief:caught", "/file").as_str())),
        ("/loop", Route::redirect("/loop")),
        ("/nowhere", Route::status(302)),
        ("/etc", Route::redirect("file:///etc/passwd")),
        ("/bad", Route::redirect("http://[")),
        ("/signed", Route::ok("signed").only("user", "p@ss")),
        ("/to-signed", Route::redirect("/signed")),
    ]);
    let client = client();
    let at = |path: &str| web.url_of("user:p%40ss", path);
    let got = page(&client, &at("/a/b")).expect("a page");
    assert_eq!((got.body.as_slice(), got.url), (&b"d"[..], web.url("/d?x=1")));
    assert!(web.log().iter().all(|hit| hit.header("authorization").is_some()));
    assert_eq!(client.traffic().requests, 3);
    assert_eq!(page(&client, &at("/away")).expect("a page").body, b"file");
    assert_eq!(page(&client, &at("/away")).expect("a page").url, other.url("/file"));
    assert!(
        other.log().iter().all(|hit| hit.header("authorization").is_none()),
        "{:?}",
        other.log()
    );
    assert_eq!(page(&client, &at("/to-signed")).expect("a page").body, b"signed");
    // Links of a page do not repeat its credentials.
    assert_eq!(page(&client, &web.url("/signed")).expect("a page").body, b"signed");
    let link = run(client.download(&web.url("/signed"), Expect::default()));
    assert_eq!(link.expect("a file").size, 6);
    let stranger = page(&Client::new(quick()).expect("a client"), &web.url("/signed"));
    let stranger = stranger.expect_err("denied");
    assert!(stranger.help().is_some_and(|help| help.contains("netrc")), "{stranger}");
    let wrong = Client::new(quick()).expect("a client");
    let wrong = page(&wrong, &web.url_of("user:guess", "/signed")).expect_err("denied");
    assert!(wrong.to_string().contains("credentials were refused"), "{wrong}");
    assert!(!wrong.to_string().contains("guess") && !wrong.to_string().contains("user"), "{wrong}");

    let error = |path: &str| page(&client, &web.url(path)).expect_err("nowhere");
    assert!(matches!(error("/loop"), Error::Redirects { limit: 5, .. }));
    assert_eq!(web.hits("/loop"), 6);
    assert!(matches!(error("/nowhere"), Error::Location { .. }));
    assert!(matches!(error("/etc"), Error::Scheme { .. }));
    assert!(matches!(error("/bad"), Error::Location { .. }));
}

#[test]
fn with_mirrors_nobody_else_is_asked() {
    let other = Web::start([("/file", Route::ok("file"))]);
    let web = Web::start([
        ("/in", Route::redirect("/file")),
        ("/file", Route::ok("inside")),
        ("/out", Route::redirect(other.url("/file").as_str())),
    ]);
    let place = folder();
    let origin = |web: &Web| Origin::of(&web.url("/")).expect("an origin");
    let free = Client::new(cached(place.path())).expect("a client");
    page(&free, &web.url("/out")).expect("a page");
    let asked = other.log().len();
    let fenced = Client::new(Options { fence: Some(vec![origin(&web)]), ..cached(place.path()) })
        .expect("a client");
    assert_eq!(page(&fenced, &web.url("/in")).expect("a page").body, b"inside");
    for url in [web.url("/out"), other.url("/file")] {
        let error = page(&fenced, &url).expect_err("outside");
        assert!(matches!(error, Error::Fence { .. }), "{error:?}");
        let said = error.to_string();
        assert!(
            said.contains(&origin(&web).to_string()) && said.contains(&origin(&other).to_string()),
            "{said}"
        );
        assert!(error.help().is_some());
    }
    assert_eq!(other.log().len(), asked);
    // What the cache has from outside is not served either.
    let offline = Client::new(Options {
        fence: Some(vec![origin(&web)]),
        offline: true,
        ..cached(place.path())
    });
    let offline = offline.expect("a client");
    assert!(matches!(page(&offline, &web.url("/out")), Err(Error::Offline { .. })));
}

#[test]
fn pages_of_users_are_kept_apart() {
    let web = Web::start([(
        "/mine/",
        Route::ok("mine").only("user", "secret").header("Cache-Control", "max-age=300"),
    )]);
    let place = folder();
    let user = Client::new(cached(place.path())).expect("a client");
    page(&user, &web.url_of("user:secret", "/mine/")).expect("a page");
    page(&user, &web.url("/mine/")).expect("a page");
    assert_eq!(web.hits("/mine/"), 1);
    let nobody = Client::new(cached(place.path())).expect("a client");
    assert!(matches!(page(&nobody, &web.url("/mine/")), Err(Error::Denied { .. })));
    for path in files(place.path()) {
        let entry = String::from_utf8_lossy(&fs_err::read(&path).expect("an entry")).into_owned();
        assert!(!entry.contains("secret"), "{entry}");
    }
}

#[test]
fn few_are_asked_at_the_same_time() {
    let paths: Vec<String> = (0..30).map(|n| format!("/{n}")).collect();
    let route = Route::ok("x").drip(Duration::from_millis(10));
    let web = Web::start(paths.iter().map(|path| (path.as_str(), route.clone())));
    let client = Client::new(Options { concurrency: 3, ..quick() }).expect("a client");
    let urls: Vec<Url> = paths.iter().map(|path| web.url(path)).collect();
    let all = run(join_all(urls.iter().map(|url| client.page(url, "*/*"))));
    assert!(all.iter().all(Result::is_ok));
    assert!((1..=3).contains(&web.busiest()), "{}", web.busiest());
    assert_eq!(client.traffic().requests, 30);
}

/// Runs one test of this file again, in an environment of its own.
fn again(test: &str, set: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture", "--ignored"]);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
        "NETRC",
        "GPUSEAL_CACHE_DIR",
    ] {
        command.env_remove(name);
    }
    command.envs(set.iter().copied());
    let done = command.output().expect("this program");
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

fn given(name: &str) -> String {
    std::env::var(name).expect("set by the test that starts this one")
}

#[test]
#[ignore = "started by the tests of netrc and keyring"]
fn as_a_user() {
    let keyring = if given("TEST_KEYRING") == "yes" { Keyring::Subprocess } else { Keyring::Off };
    let ear = Arc::new(Ear::default());
    let options = Options { keyring, watcher: ear.clone(), ..quick() };
    let client = Client::new(options).expect("a client");
    let url: Url = given("TEST_URL").parse().expect("a URL");
    let got = page(&client, &url).and_then(|_| page(&client, &url));
    match given("TEST_SAYS").as_str() {
        "" => assert!(got.is_ok(), "{got:?} {}", ear.notes()),
        words => {
            let error = got.expect_err("no");
            let said = format!("{error}\n{:?}\n{}", error.help(), ear.notes());
            assert!(said.contains(words), "{said}");
            assert!(!said.contains("topsecret"), "{said}");
        }
    }
}

#[test]
fn netrc_knows_who_asks() {
    let web = Web::start([("/x", Route::ok("x").only("user", "topsecret"))]);
    let place = folder();
    let file = |name: &str, text: &str| {
        let path = place.path().join(name);
        fs_err::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let good = file("good", "machine 127.0.0.1\nlogin user\npassword topsecret\n");
    let default = file("default", "default login user password topsecret\n");
    let other = file("other", "machine example.org login user password topsecret\n");
    let broken = file("broken", "login topsecret\n");
    let url = web.url("/x");
    let named = web.url_of("user", "/x");
    let missing = place.path().join("missing").to_str().expect("UTF-8").to_owned();
    for (netrc, url, says) in [
        (&good, &url, ""),
        (&good, &named, ""),
        (&default, &url, ""),
        (&other, &url, "netrc"),
        (&broken, &url, "cannot be read as netrc"),
        (&missing, &url, "netrc"),
    ] {
        again(
            "as_a_user",
            &[
                ("NETRC", netrc),
                ("HOME", place.path().to_str().expect("UTF-8")),
                ("TEST_URL", url.as_str()),
                ("TEST_KEYRING", "no"),
                ("TEST_SAYS", says),
            ],
        );
    }
}

#[test]
#[cfg(unix)]
fn the_keyring_is_asked_once_and_only_when_it_may() {
    use std::os::unix::fs::PermissionsExt as _;

    let web = Web::start([("/x", Route::ok("x").only("user", "topsecret"))]);
    let place = folder();
    let tool = place.path().join("keyring");
    let asked = place.path().join("asked");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> '{}'\n[ \"$1 $2 $3\" = \"get {} user\" ] && echo topsecret\n",
        asked.display(),
        web.addr
    );
    fs_err::write(&tool, script).expect("a script");
    fs_err::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("a script");
    let path = format!("{}:/usr/bin:/bin", place.path().display());
    let empty = folder();
    let start = |path: &str, user: &str, keyring: &str, says: &str| {
        let url = web.url_of(user, "/x");
        again(
            "as_a_user",
            &[
                ("PATH", path),
                ("HOME", place.path().to_str().expect("UTF-8")),
                ("TEST_URL", url.as_str()),
                ("TEST_KEYRING", keyring),
                ("TEST_SAYS", says),
            ],
        );
    };
    start(&path, "user", "no", "refused");
    assert!(!asked.exists(), "nobody allowed it");
    start(&path, "user", "yes", "");
    // Under the address, then under the host; the second page asks nobody.
    let log = fs_err::read_to_string(&asked).expect("a log");
    assert_eq!(log, format!("get {} user\nget {} user\n", web.url("/x"), web.addr));
    start(&path, "other", "yes", "refused");
    start(&path, "-x", "yes", "would be an option");
    start(empty.path().to_str().expect("UTF-8"), "user", "yes", "cannot start `keyring`");
}

#[test]
fn proxies_come_from_the_environment() {
    let web = Web::start([("/x", Route::ok("x"))]);
    let proxy = Web::start([("/x", Route::ok("x"))]);
    let with = |no_proxy: &str, url: &Url| {
        again(
            "as_a_user",
            &[
                ("http_proxy", proxy.url("/").as_str()),
                ("no_proxy", no_proxy),
                ("TEST_URL", url.as_str()),
                ("TEST_KEYRING", "no"),
                ("TEST_SAYS", ""),
            ],
        );
    };
    // Only the proxy knows that name.
    with("", &"http://index.test/x".parse().expect("a URL"));
    assert_eq!(proxy.log()[0].target, "http://index.test/x");
    let asked = proxy.log().len();
    with("127.0.0.1", &web.url("/x"));
    assert_eq!((web.hits("/x"), proxy.log().len()), (2, asked));
}

#[test]
#[ignore = "started by the test of the cache folder"]
fn as_a_folder() {
    let folder = Cache::default_folder().expect("a folder");
    assert_eq!(folder, Path::new(&given("TEST_FOLDER")));
}

#[test]
#[cfg(all(unix, not(target_vendor = "apple")))]
fn the_cache_is_where_caches_are() {
    for (set, folder) in [
        (vec![("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("GPUSEAL_CACHE_DIR", "/g")], "/g"),
        (vec![("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("GPUSEAL_CACHE_DIR", "")], "/x/gpuseal"),
        (vec![("HOME", "/h"), ("XDG_CACHE_HOME", "")], "/h/.cache/gpuseal"),
    ] {
        again("as_a_folder", &[&set[..], &[("TEST_FOLDER", folder)]].concat());
    }
}
