//! A web server on the loopback interface that does what a test tells it, honest or not.
//!
//! Plain threads and sockets: it shares no code with the client that it is there to mislead.
//!
//! ```text
//! let web = Web::start([("/simple/torch/", Route::ok("<a href=...>").header("Content-Type", "text/html"))]);
//! client.page(&web.url("/simple/torch/"), "text/html").await;
//! assert_eq!(web.hits("/simple/torch/"), 1);
//! ```
#![allow(dead_code, reason = "every test binary takes what it needs")]

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the server does when a path is asked for. Made with [`Route::ok`] or [`Route::status`], then
/// changed word by word.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    ranges: bool,
    suffixes: bool,
    etag: Option<String>,
    sends: Option<usize>,
    claims: Option<u64>,
    drip: Option<Duration>,
    manner: Manner,
    chunked: bool,
    head_type: Option<String>,
    user: Option<(String, String)>,
    /// Answers that come before this one, each once.
    first: Vec<Route>,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Answers,
    Silent,
    HangsUp,
}

impl Route {
    /// 200 with a body.
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            ranges: false,
            suffixes: true,
            etag: None,
            sends: None,
            claims: None,
            drip: None,
            manner: Manner::Answers,
            chunked: false,
            head_type: None,
            user: None,
            first: Vec::new(),
        }
    }

    /// Any status, with a body that names it.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::ok(format!("status {status}\n")) }
    }

    /// The body.
    pub(crate) fn text(&self) -> &[u8] {
        &self.body
    }

    /// Another body.
    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// A redirect to a path of this server or to any other URL.
    pub(crate) fn redirect(to: &str) -> Self {
        Self::status(302).header("Location", to)
    }

    /// A connection that is taken and never answered.
    pub(crate) fn silent() -> Self {
        Self { manner: Manner::Silent, ..Self::ok("") }
    }

    /// A connection that is closed instead of answered.
    pub(crate) fn hangs_up() -> Self {
        Self { manner: Manner::HangsUp, ..Self::ok("") }
    }

    /// Adds a header. `Content-Range` and the like may lie.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives parts of the body when asked for them, from the beginning or the end.
    pub(crate) fn ranges(self) -> Self {
        Self { ranges: true, ..self }
    }

    /// Gives parts, but answers 501 to parts counted from the end.
    pub(crate) fn ranges_from_the_start(self) -> Self {
        Self { ranges: true, suffixes: false, ..self }
    }

    /// Gives an `ETag`, and 304 to who has it already.
    pub(crate) fn etag(self, etag: &str) -> Self {
        Self { etag: Some(etag.to_owned()), ..self }
    }

    /// Announces all of the body, sends that many bytes of it and closes the connection.
    pub(crate) fn truncated(self, sends: usize) -> Self {
        Self { sends: Some(sends), ..self }
    }

    /// Announces that many bytes, whatever the body has, and closes the connection after it.
    pub(crate) fn claims(self, bytes: u64) -> Self {
        Self { claims: Some(bytes), ..self }
    }

    /// Sends one byte of the body after each such pause.
    pub(crate) fn drip(self, pause: Duration) -> Self {
        Self { drip: Some(pause), ..self }
    }

    /// Sends the body in chunks, without saying how long it is.
    pub(crate) fn chunked(self) -> Self {
        Self { chunked: true, ..self }
    }

    /// Sends the body compressed.
    pub(crate) fn gzip(mut self) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.body).expect("memory");
        self.body = encoder.finish().expect("memory");
        self.header("Content-Encoding", "gzip")
    }

    /// The body so many times.
    pub(crate) fn repeated(self, times: usize) -> Self {
        Self { body: self.body.repeat(times), ..self }
    }

    /// Says another `Content-Type` to HEAD than to GET.
    pub(crate) fn head_type(self, content_type: &str) -> Self {
        Self { head_type: Some(content_type.to_owned()), ..self }
    }

    /// Answers 401 to all but one user.
    pub(crate) fn only(self, user: &str, password: &str) -> Self {
        Self { user: Some((user.to_owned(), password.to_owned())), ..self }
    }

    /// Gives another answer first, each time before this one comes. Several are given in order.
    pub(crate) fn after(mut self, other: Route) -> Self {
        self.first.push(other);
        self
    }

    /// Answers a status that many times first, with `Retry-After` when it is given.
    pub(crate) fn fails(mut self, times: usize, status: u16, retry_after: Option<&str>) -> Self {
        for _ in 0..times {
            let other = Self::status(status);
            self = self.after(match retry_after {
                Some(value) => other.header("Retry-After", value),
                None => other,
            });
        }
        self
    }
}

/// A request that has come.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// `GET` or `HEAD`.
    pub(crate) method: String,
    /// The target as it was sent: path and query, or a whole URL at a proxy.
    pub(crate) target: String,
    /// All headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The status that was answered; 0 for none.
    pub(crate) status: u16,
    /// Bytes of the body that were written to the socket.
    pub(crate) bytes: u64,
}

impl Hit {
    /// A header of the request.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct State {
    routes: Mutex<BTreeMap<String, Route>>,
    log: Mutex<Vec<Hit>>,
    now: Mutex<(usize, usize)>,
    stop: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Web {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    state: Arc<State>,
}

impl Web {
    /// Starts a server on a free port. Paths are matched as a whole, without the query; any other is
    /// a 404.
    pub(crate) fn start<'a>(routes: impl IntoIterator<Item = (&'a str, Route)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let web = Self {
            addr: listener.local_addr().expect("an address"),
            state: Arc::new(State::default()),
        };
        for (path, route) in routes {
            web.route(path, route);
        }
        let state = Arc::clone(&web.state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stop.load(Ordering::Relaxed) {
                    break;
                }
                let state = Arc::clone(&state);
                if let Ok(stream) = stream {
                    // What goes wrong with a client that went away is its own affair.
                    std::thread::spawn(move || drop(serve(&state, &stream)));
                }
            }
        });
        web
    }

    /// Adds a route or replaces it.
    pub(crate) fn route(&self, path: &str, route: Route) {
        locked(&self.state.routes).insert(path.to_owned(), route);
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> url::Url {
        format!("http://{}{path}", self.addr).parse().expect("a URL")
    }

    /// The same with user info, such as `user:password`.
    pub(crate) fn url_of(&self, user: &str, path: &str) -> url::Url {
        format!("http://{user}@{}{path}", self.addr).parse().expect("a URL")
    }

    /// All requests so far, in the order in which they came.
    pub(crate) fn log(&self) -> Vec<Hit> {
        locked(&self.state.log).clone()
    }

    /// How often a path was asked for.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.log().iter().filter(|hit| plain(&hit.target) == path).count()
    }

    /// Bytes of bodies that were sent for a path.
    pub(crate) fn bytes(&self, path: &str) -> u64 {
        self.log().iter().filter(|hit| plain(&hit.target) == path).map(|hit| hit.bytes).sum()
    }

    /// The most requests that were being answered at the same time.
    pub(crate) fn busiest(&self) -> usize {
        locked(&self.state.now).1
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        // Wakes the listener up.
        drop(TcpStream::connect(self.addr));
    }
}

/// The path of a target: no query, and at a proxy no host.
fn plain(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

/// Answers the requests of one connection, one after the other.
fn serve(state: &State, stream: &TcpStream) -> io::Result<()> {
    // So that a thread of a test that is over does not stay.
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((method, target, headers)) = request(&mut reader)? {
        let route = {
            let mut routes = locked(&state.routes);
            match routes.get_mut(plain(&target)) {
                Some(route) if route.first.is_empty() => route.clone(),
                Some(route) => route.first.remove(0),
                None => Route::status(404),
            }
        };
        {
            let mut now = locked(&state.now);
            now.0 += 1;
            now.1 = now.1.max(now.0);
        }
        let at = {
            let mut log = locked(&state.log);
            log.push(Hit { method, target, headers, status: 0, bytes: 0 });
            log.len() - 1
        };
        let done = answer(state, stream, &route, at);
        locked(&state.now).0 -= 1;
        if !done? || state.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

type Asked = (String, String, Vec<(String, String)>);

/// Reads a request up to its empty line.
fn request(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    reader.by_ref().take(16 * 1024).read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let asked = (method.to_owned(), target.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.by_ref().take(16 * 1024).read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    Ok(Some((asked.0, asked.1, headers)))
}

/// Writes what the route says. True if the connection may be used again.
fn answer(state: &State, mut stream: &TcpStream, route: &Route, at: usize) -> io::Result<bool> {
    let hit = locked(&state.log)[at].clone();
    match route.manner {
        Manner::Answers => (),
        Manner::HangsUp => return Ok(false),
        Manner::Silent => {
            while !state.stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(false);
        }
    }
    let mut headers = route.headers.clone();
    let (mut status, mut body) = (route.status, route.body.as_slice());
    if let Some((user, password)) = &route.user {
        let wanted = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
        if hit.header("authorization") != Some(&wanted) {
            (status, body) = (401, b"");
            headers = vec![("WWW-Authenticate".into(), "Basic realm=\"test\"".into())];
        }
    }
    if let Some(etag) = &route.etag {
        headers.push(("ETag".into(), etag.clone()));
        if hit.header("if-none-match") == Some(etag) {
            (status, body) = (304, b"");
        }
    }
    if let (true, 200, Some(range)) = (route.ranges, status, hit.header("range")) {
        let total = body.len();
        if let Some((from, to)) = asked_range(range, total) {
            if range.starts_with("bytes=-") && !route.suffixes {
                (status, body) = (501, b"Unsupported client Range");
            } else if from >= to {
                headers.push(("Content-Range".into(), format!("bytes */{total}")));
                (status, body) = (416, b"");
            } else {
                headers.push(("Content-Range".into(), format!("bytes {from}-{}/{total}", to - 1)));
                (status, body) = (206, &body[from..to]);
            }
        }
    }
    locked(&state.log)[at].status = status;
    let head = hit.method == "HEAD";
    if let (true, Some(other)) = (head, &route.head_type) {
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        headers.push(("Content-Type".into(), other.clone()));
    }
    let ends = route.sends.is_some() || route.claims.is_some();
    if route.chunked {
        headers.push(("Transfer-Encoding".into(), "chunked".into()));
    } else if status != 304 {
        headers
            .push(("Content-Length".into(), route.claims.unwrap_or(body.len() as u64).to_string()));
    }
    if ends {
        headers.push(("Connection".into(), "close".into()));
    }
    // One write: a client may be gone after the first.
    let mut text = Vec::new();
    write!(text, "HTTP/1.1 {status} -\r\n")?;
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n")?;
    }
    text.extend_from_slice(b"\r\n");
    stream.write_all(&text)?;
    if head || status == 304 {
        return Ok(!ends);
    }
    let body = &body[..route.sends.unwrap_or(body.len()).min(body.len())];
    let piece = if route.drip.is_some() { 1 } else { 16 * 1024 };
    for bytes in body.chunks(piece) {
        if state.stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if let Some(pause) = route.drip {
            std::thread::sleep(pause);
        }
        if route.chunked {
            stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        }
        stream.write_all(bytes)?;
        locked(&state.log)[at].bytes += bytes.len() as u64;
        if route.chunked {
            stream.write_all(b"\r\n")?;
        }
    }
    if route.chunked && route.sends.is_none() {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(!ends)
}

/// The first range of a header, as bytes of a file of that size; none if it cannot be read.
fn asked_range(header: &str, total: usize) -> Option<(usize, usize)> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    if from.is_empty() {
        let last: usize = to.parse().ok()?;
        return Some((total.saturating_sub(last), total));
    }
    let from = from.parse().ok()?;
    let to = if to.is_empty() { total } else { to.parse::<usize>().ok()?.checked_add(1)? };
    Some((from, to.min(total)))
}

/// As `Authorization` has it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}
