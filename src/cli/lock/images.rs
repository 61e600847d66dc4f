//! Images, and the digests that stand behind their tags.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::online::Job;
use super::watch::Watch;
use crate::domain::Platform;
use crate::error::Error;
use crate::lock::{Fetched, Lockfile, Repository, Tag, Target};
use crate::net::registry::{self, Credentials, Found, Registries, Wanted};

/// Questions under way at a time; the registries let fewer through.
const AT_ONCE: usize = 64;

/// An image and the platform that it is for.
pub type ImageKey = (Repository, Tag, Platform);

/// Images of Linux targets whose digest nobody knows yet.
pub fn wanted_images(lock: &Lockfile) -> Result<BTreeMap<ImageKey, Wanted>, Error> {
    let mut wanted = BTreeMap::new();
    for target in lock.targets.iter().filter(|target| target.platform.is_linux()) {
        let base = &target.base;
        let own = (&base.repository, &base.tag, &base.digest);
        let others = [&base.builder, &base.uv]
            .into_iter()
            .flatten()
            .map(|image| (&image.repository, &image.tag, &image.digest));
        for (repository, tag, digest) in std::iter::once(own).chain(others) {
            if *digest == Fetched::Unfetched {
                let image = Wanted::parse(repository.as_str(), tag.as_str(), target.platform)?;
                wanted.insert((repository.clone(), tag.clone(), target.platform), image);
            }
        }
    }
    Ok(wanted)
}

pub async fn images(
    job: &Job<'_>,
    lock: &Lockfile,
    watch: &Arc<Watch>,
) -> Result<Vec<(ImageKey, Found)>, Error> {
    if job.args.no_images || job.args.offline {
        return Ok(Vec::new());
    }
    let wanted = wanted_images(lock)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let registries = Registries::new(registry::Options {
        mirrors: job.asked.wanted.mirrors.registries.clone(),
        credentials: Credentials::of(
            |name| std::env::var_os(name),
            std::env::home_dir().as_deref(),
        ),
        watcher: watch.clone(),
        limits: registry::Limits {
            connect: Duration::from_secs(job.args.timeout.min(10)),
            read: Duration::from_secs(job.args.timeout),
            whole: Duration::from_secs(job.args.timeout * 2),
            retries: job.args.retries,
            ..registry::Limits::default()
        },
    })?;
    let registries = &registries;
    let mut answers = futures_util::stream::iter(wanted)
        .map(|(key, image)| async move { Ok::<_, Error>((key, registries.digest(&image).await?)) })
        .buffer_unordered(AT_ONCE);
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.push(answer?);
    }
    Ok(all)
}

pub fn set_image(target: &mut Target, repository: &Repository, tag: &Tag, found: &Found) {
    let base = &mut target.base;
    let digest = Fetched::Digest(found.digest.clone());
    if (&base.repository, &base.tag) == (repository, tag) {
        base.digest = digest.clone();
        base.size = found.size;
    }
    for image in [&mut base.builder, &mut base.uv].into_iter().flatten() {
        if (&image.repository, &image.tag) == (repository, tag) {
            image.digest = digest.clone();
        }
    }
}
