//! What is installed, by the records that installers leave, and whether the files are those of the wheels.
//!
//! Source: PyPA specifications, "Recording installed projects": RECORD names every file of a wheel with its
//! SHA-256, as base64 for URLs, and its size.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Seen;
use crate::domain::{Code, Hasher, Order as _, Sha256, normalise_name};
use crate::lock::Target;
use crate::verify::Check;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest that files are hashed. What does not fit in is said.
const BUDGET: Duration = Duration::from_mins(1);

/// Files that are named one by one in an answer.
const NAMED: usize = 8;

/// A distribution that is installed.
#[derive(Debug, Clone)]
pub struct Wheel {
    /// Normalised name.
    pub name: String,
    /// Version, local label included.
    pub version: String,
    /// The folder of packages that it lies in.
    site: PathBuf,
    /// Its own folder of metadata.
    info: PathBuf,
}

/// A file of a wheel.
#[derive(Debug, Clone)]
struct Recorded {
    path: PathBuf,
    digest: Option<Sha256>,
    size: Option<u64>,
}

/// Everything that is installed in these folders; the first of a name is the one that Python finds.
pub fn installed(sites: &[String]) -> Vec<Wheel> {
    let mut list: Vec<Wheel> = Vec::new();
    for site in sites {
        for entry in super::names_in(Path::new(site)) {
            let Some((name, version)) =
                entry.strip_suffix(".dist-info").and_then(|stem| stem.split_once('-'))
            else {
                continue;
            };
            let name = normalise_name(name);
            if !list.iter().any(|known| known.name == name) {
                let site = PathBuf::from(site);
                let info = site.join(&entry);
                list.push(Wheel { name, version: version.to_owned(), site, info });
            }
        }
    }
    list
}

impl Wheel {
    /// It has a say in what runs on the GPU.
    fn concerns(&self) -> bool {
        let name = self.name.as_str();
        name == "torch" || name.starts_with("nvidia-") || name.contains("triton")
    }

    /// Its files; `None`: whoever installed it has left no record of them.
    fn files(&self) -> Option<Vec<Recorded>> {
        let text = fs_err::read_to_string(self.info.join("RECORD")).ok()?;
        let list: Vec<_> = text.lines().filter_map(|line| self.recorded(line)).collect();
        (!list.is_empty()).then_some(list)
    }

    /// A line of RECORD: path, digest, size; a path with a comma stands in quotes.
    fn recorded(&self, line: &str) -> Option<Recorded> {
        let mut parts = line.rsplitn(3, ',');
        let (size, digest, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_matches('"').replace("\"\"", "\"");
        let digest = digest.strip_prefix("sha256=").and_then(|text| {
            Sha256::from_bytes(&URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?)
        });
        Some(Recorded { path: self.site.join(path), digest, size: size.trim().parse().ok() })
    }

    /// A file of this wheel's, by its path.
    pub fn owns(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.site) else { return false };
        let start = format!("{},", inside.display());
        let text = fs_err::read_to_string(self.info.join("RECORD")).unwrap_or_default();
        text.lines().any(|line| line.starts_with(&start))
    }
}

fn is_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".so") || name.contains(".so.")
}

/// `record`: the files of torch and CUDA are those that their wheels brought.
pub fn check(seen: &Seen<'_>, target: Option<&Target>) -> Vec<Check> {
    let locked = |wheel: &&Wheel| {
        target.is_none_or(|target| target.packages.iter().any(|p| p.name.as_str() == wheel.name))
    };
    let (mut files, mut silent) = (Vec::new(), Vec::new());
    for wheel in seen.wheels.iter().filter(|wheel| wheel.concerns()).filter(locked) {
        match wheel.files() {
            Some(list) => files.extend(list.into_iter().map(|file| (wheel, file))),
            None => silent.push(wheel.name.as_str()),
        }
    }
    if files.is_empty() {
        let text = "no wheel has left a record of torch's files: whether they are as they were \
                    published cannot be said";
        let check = Check::skip("record", Code::Unknown, text);
        return vec![Check { optional: target.is_none(), ..check }];
    }
    let (mut libraries, mut others, mut to_hash) = (Vec::new(), Vec::new(), Vec::new());
    let sizes = files.iter().filter(|(_, file)| file.digest.is_some() && file.size.is_some());
    for (wheel, file) in sizes {
        let size = file.size.unwrap_or_default();
        let wrong = match fs_err::metadata(&file.path) {
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Some("is missing".into()),
            Err(err) => Some(format!("cannot be read: {err}")),
            Ok(about) if about.len() != size => {
                Some(format!("has {} bytes, and RECORD says {size}", about.len()))
            }
            Ok(_) => None,
        };
        let library = is_library(&file.path);
        match wrong {
            Some(wrong) if library => libraries.push((*wheel, file, wrong)),
            Some(wrong) => others.push((*wheel, file, wrong)),
            None if library && seen.loads(&file.path) => to_hash.push((*wheel, file)),
            None => (),
        }
    }
    // The smallest first: when the time is over, few are left.
    to_hash.order_by_key(|(_, file)| file.size);
    let hashed = hash(&to_hash.iter().map(|(_, file)| file.path.as_path()).collect::<Vec<_>>());
    let (mut bytes, mut left) = (0, Vec::new());
    for ((wheel, file), hashed) in to_hash.iter().zip(hashed) {
        match hashed {
            Some(Ok(digest)) if Some(&digest) == file.digest.as_ref() => {
                bytes += file.size.unwrap_or_default();
            }
            Some(Ok(digest)) => {
                let recorded = file.digest.as_ref().map_or("", Sha256::as_str);
                let wrong = format!("has {digest}, and RECORD says {recorded}");
                libraries.push((*wheel, file, wrong));
            }
            Some(Err(err)) => libraries.push((*wheel, file, format!("cannot be read: {err}"))),
            None => left.push(file),
        }
    }
    let mut checks = vec![broken("record", &libraries).unwrap_or_else(|| {
        let count = to_hash.len() - left.len();
        if count == 0 && !to_hash.is_empty() {
            return Check::skip("record", Code::Unknown, "no library was hashed in time");
        }
        let text = format!(
            "{count} libraries that torch loads have the SHA-256 of their wheels, {} files their size",
            files.len()
        );
        Check::pass("record", text).number("hashed_bytes", bytes)
    })];
    if let Some(check) = broken("record-other-files", &others) {
        // Slim images leave out headers and tests on purpose.
        checks.push(Check { outcome: crate::verify::Outcome::Warn, ..check });
    }
    if !left.is_empty() {
        let text =
            format!("{} libraries were not hashed within {} s", left.len(), BUDGET.as_secs());
        let mut check = Check::warn("record-not-hashed", Code::Unknown, text);
        for file in left.iter().take(NAMED) {
            check = check.fact(file.path.display().to_string(), "its size is right");
        }
        checks.push(check);
    }
    if !silent.is_empty() {
        let text = format!("no record of the files of {}", silent.join(", "));
        let check = Check::skip("record-absent", Code::Unknown, text);
        checks.push(Check { optional: target.is_none(), ..check });
    }
    checks
}

/// Files that are not as they were published.
fn broken(name: &str, list: &[(&Wheel, &Recorded, String)]) -> Option<Check> {
    let (wheel, file, wrong) = list.first()?;
    let more = match list.len() {
        1 => String::new(),
        count => format!(", and {} more files differ", count - 1),
    };
    let shown = file.path.strip_prefix(&wheel.site).unwrap_or(&file.path);
    let text = format!("{} of {} {} {wrong}{more}", shown.display(), wheel.name, wheel.version);
    let mut check = Check::fail(name, Code::LockDrift, text)
        .help(format!("install {} {} again, without a cache that may be broken", wheel.name, wheel.version))
        .help("find what writes there after the installation: another package in the same folder, a COPY, a script that patches");
    for (wheel, file, wrong) in list.iter().take(NAMED) {
        let source = format!("RECORD of {} {}", wheel.name, wheel.version);
        check = check.fact(format!("{} {wrong}", file.path.display()), source);
    }
    Some(check)
}

type Hashed = Result<Sha256, String>;

/// Hashes files side by side; `None`: the time was over.
fn hash(files: &[&Path]) -> Vec<Option<Hashed>> {
    let end = Instant::now() + BUDGET;
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let next = AtomicUsize::new(0);
    let all = Mutex::new(vec![None; files.len()]);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, path)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    files.get(at).map(|path| (at, path))
                } {
                    let digest = digest(path, end);
                    if let Ok(mut all) = all.lock() {
                        all[at] = digest;
                    }
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}

fn digest(path: &Path, end: Instant) -> Option<Hashed> {
    let read = || -> std::io::Result<Option<Sha256>> {
        let mut file = fs_err::File::open(path)?;
        let (mut hasher, mut piece) = (Hasher::default(), vec![0; 1 << 20]);
        loop {
            if Instant::now() > end {
                return Ok(None);
            }
            match file.read(&mut piece)? {
                0 => return Ok(Some(hasher.finish())),
                count => hasher.update(&piece[..count]),
            }
        }
    };
    read().map_err(|err| err.to_string()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_record() {
        let wheel = Wheel {
            name: "torch".into(),
            version: "2.9.1".into(),
            site: "/s".into(),
            info: "/s/torch-2.9.1.dist-info".into(),
        };
        let empty = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
        let file = wheel.recorded(&format!("nvidia/__init__.py,{empty},0")).expect("a file");
        assert_eq!((file.digest, file.size), (Some(Sha256::of(b"")), Some(0)));
        assert_eq!(file.path, Path::new("/s/nvidia/__init__.py"));
        let file = wheel.recorded(&format!("\"a,\"\"b\"\".py\",{empty},0")).expect("a file");
        assert_eq!(file.path, Path::new("/s/a,\"b\".py"));
        let own = wheel.recorded("torch-2.9.1.dist-info/RECORD,,").expect("a file");
        assert_eq!((own.digest, own.size), (None, None));
        assert!(wheel.recorded("no record").is_none());
    }
}
