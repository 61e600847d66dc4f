//! What the network said once, in the cache folder of the user.
//!
//! Nothing is believed on reading: every entry carries its digest, or is named by it, so a torn,
//! truncated or edited one is thrown away and fetched again. That makes the order of writes and
//! syncing them to the disk unimportant, and many programs at once harmless: a file is written beside
//! the entries and renamed into its place.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcetera::BaseStrategy as _;
use tempfile::NamedTempFile;

use crate::domain::{Hasher, Sha256};

/// Another shape of the entries takes another folder.
const VERSION: &str = "v1";
/// Texts that are named by their own digest.
const TEXTS: &str = "texts";
/// Where files are written before they get their name.
const WRITING: &str = "writing";
/// No entry is larger: the largest page, and what is noted about it.
const LARGEST: u64 = (64 << 20) + (1 << 20);
/// A file that was being written so long ago belongs to a program that was killed.
const FORGOTTEN: Duration = Duration::from_hours(24);
/// Digest of the entry in its first line: `sha256:`, 64 digits, line feed.
const HEADER: usize = 72;

/// A folder of entries.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    /// Somebody has looked for forgotten files.
    swept: Arc<AtomicBool>,
}

impl Cache {
    /// The cache in a folder, which is made when something is written.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { root: folder.into(), swept: Arc::default() }
    }

    /// `GPUSEAL_CACHE_DIR`, or `gpuseal` in the cache folder of the platform; nothing where there is
    /// neither.
    pub fn default_folder() -> Option<PathBuf> {
        match std::env::var_os("GPUSEAL_CACHE_DIR") {
            Some(folder) if !folder.is_empty() => Some(folder.into()),
            _ => Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("gpuseal")),
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// The entry of a kind under a key.
    pub fn get(&self, kind: &'static str, key: &str) -> Option<Vec<u8>> {
        let path = self.path(kind, &Sha256::of(key.as_bytes()));
        let mut bytes = read(&path)?;
        let whole = bytes.len() >= HEADER && bytes[HEADER - 1] == b'\n' && {
            let (header, content) = bytes.split_at(HEADER);
            seal(kind, key, content).as_str().as_bytes() == &header[..HEADER - 1]
        };
        if !whole {
            discard(&path);
            return None;
        }
        bytes.drain(..HEADER);
        Some(bytes)
    }

    /// Keeps an entry of a kind under a key, in the place of an older one.
    pub fn put(&self, kind: &'static str, key: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path(kind, &Sha256::of(key.as_bytes()));
        self.write(&path, &[seal(kind, key, content).as_str().as_bytes(), b"\n", content])
    }

    /// Removes an entry.
    pub fn remove(&self, kind: &'static str, key: &str) {
        discard(&self.path(kind, &Sha256::of(key.as_bytes())));
    }

    /// The text with that digest.
    pub fn text(&self, digest: &Sha256) -> Option<Vec<u8>> {
        let path = self.path(TEXTS, digest);
        let bytes = read(&path)?;
        if Sha256::of(&bytes) != *digest {
            discard(&path);
            return None;
        }
        Some(bytes)
    }

    /// Keeps a text under its own digest.
    pub fn put_text(&self, text: &[u8]) -> io::Result<Sha256> {
        let digest = Sha256::of(text);
        let path = self.path(TEXTS, &digest);
        self.write(&path, &[text])?;
        Ok(digest)
    }

    /// A file that is gone when it is dropped, on the disk of the cache.
    pub(super) fn temporary(&self) -> io::Result<NamedTempFile> {
        let folder = self.root.join(VERSION).join(WRITING);
        fs::create_dir_all(&folder)?;
        if !self.swept.swap(true, Ordering::Relaxed) {
            self.mark();
            sweep(&folder);
        }
        tempfile::Builder::new().prefix("gpuseal-").tempfile_in(folder)
    }

    fn path(&self, kind: &str, digest: &Sha256) -> PathBuf {
        // A folder of a hundred thousand files is slow on some systems.
        self.root.join(VERSION).join(kind).join(&digest.hex()[..2]).join(digest.hex())
    }

    fn write(&self, path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
        let mut file = self.temporary()?;
        for piece in pieces {
            file.write_all(piece)?;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Tells backup programs that nothing here is worth keeping.
    fn mark(&self) {
        let path = self.root.join("CACHEDIR.TAG");
        if !path.exists() {
            // Source: bford.info/cachedir, the first line is fixed.
            let text = "Signature: 8a477f597d28d172789f06886806bc55\n# Cache of gpuseal.\n";
            let _ = fs::write(path, text);
        }
    }
}

/// Binds the content to its place: an entry that was moved is not believed either.
fn seal(kind: &str, key: &str, content: &[u8]) -> Sha256 {
    let mut hasher = Hasher::default();
    for part in [kind.as_bytes(), key.as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.update(content);
    hasher.finish()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// If it cannot be removed it is still never served.
fn discard(path: &Path) {
    let _ = fs::remove_file(path);
}

fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten().take(1000) {
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok());
        if age.is_some_and(|age| age > FORGOTTEN) {
            discard(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("deep/er"));
        (folder, cache)
    }

    #[test]
    fn what_is_put_is_got() {
        let (_folder, cache) = cache();
        assert_eq!(cache.get("pages", "a"), None);
        for content in ["one", "", "two"] {
            cache.put("pages", "a", content.as_bytes()).expect("a cache");
            assert_eq!(cache.get("pages", "a").as_deref(), Some(content.as_bytes()));
        }
        assert_eq!(cache.get("pages", "b"), None);
        assert_eq!(cache.get("facts", "a"), None);
        let digest = cache.put_text(b"Name: torch").expect("a cache");
        assert_eq!(cache.text(&digest).as_deref(), Some(&b"Name: torch"[..]));
        cache.remove("pages", "a");
        assert_eq!(cache.get("pages", "a"), None);
        assert!(cache.folder().join("CACHEDIR.TAG").exists());
    }

    #[test]
    fn what_is_torn_is_thrown_away() {
        let (_folder, cache) = cache();
        let digest = cache.put_text(b"Name: torch").expect("a cache");
        let text = cache.path(TEXTS, &digest);
        cache.put("pages", "a", b"content").expect("a cache");
        let page = cache.path("pages", &Sha256::of(b"a"));
        let whole = fs::read(&page).expect("a file");
        for cut in 0..whole.len() {
            fs::write(&page, &whole[..cut]).expect("a file");
            assert_eq!(cache.get("pages", "a"), None, "{cut}");
            assert!(!page.exists(), "{cut}");
        }
        fs::write(&text, b"Name: torhc").expect("a file");
        assert_eq!(cache.text(&digest), None);
        assert!(!text.exists());
        // An entry in the place of another.
        let other = cache.path("pages", &Sha256::of(b"b"));
        fs::create_dir_all(other.parent().expect("a folder")).expect("a folder");
        fs::write(&other, &whole).expect("a file");
        assert_eq!(cache.get("pages", "b"), None);
        fs::write(&page, &whole).expect("a file");
        assert_eq!(cache.get("pages", "a").as_deref(), Some(&b"content"[..]));
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_and_no_panic() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let cache = Cache::at(file.path());
        assert_eq!(cache.get("pages", "a"), None);
        assert!(cache.put("pages", "a", b"x").is_err());
        assert!(cache.put_text(b"x").is_err());
        assert!(cache.temporary().is_err());
    }

    #[test]
    fn many_writers_at_once_leave_one_whole_entry() {
        let (_folder, cache) = cache();
        let content = |n: u8| vec![n; 50_000];
        std::thread::scope(|scope| {
            for n in 0..8 {
                let cache = Cache::at(cache.folder());
                scope.spawn(move || {
                    for _ in 0..20 {
                        cache.put("pages", "a", &content(n)).expect("a cache");
                        let got = cache.get("pages", "a").expect("an entry at all times");
                        assert!(got.len() == 50_000 && got.iter().all(|b| *b == got[0]));
                    }
                });
            }
        });
        let left =
            fs::read_dir(cache.folder().join(VERSION).join(WRITING)).expect("a folder").count();
        assert_eq!(left, 0, "files were left behind");
    }
}
