//! Names of hosts, each looked up once.
//!
//! A dozen connections to one index begin at the same time. Left to themselves each of them asks for the
//! same name, and a resolver that drops one question of many lets that connection wait for five seconds.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::OnceCell;

/// The addresses of a host, once they are known.
type Answer = Arc<OnceCell<Vec<SocketAddr>>>;

/// The system's resolver, asked once for each name.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    known: Arc<Mutex<BTreeMap<String, Answer>>>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let answer = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Answer::clone(known.entry(host.clone()).or_default())
        };
        Box::pin(async move {
            // A failure is not kept: who asks next asks the system again.
            let found = answer
                .get_or_try_init(|| async move {
                    tokio::task::spawn_blocking(move || {
                        (host.as_str(), 0).to_socket_addrs().map(Vec::from_iter)
                    })
                    .await
                    .map_err(std::io::Error::other)?
                })
                .await?;
            Ok(Box::new(found.clone().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[test]
    fn a_name_is_looked_up_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let names = Names::default();
            let ask = |host: &str| names.resolve(Name::from_str(host).expect("a name"));
            let first: Vec<_> = ask("localhost").await.expect("an address").collect();
            assert!(!first.is_empty());
            // What is known is answered without the system.
            let known = vec![SocketAddr::from(([192, 0, 2, 1], 0))];
            names
                .known
                .lock()
                .expect("no panic")
                .insert("somewhere.test".into(), Arc::new(OnceCell::new_with(Some(known.clone()))));
            assert_eq!(ask("somewhere.test").await.expect("known").collect::<Vec<_>>(), known);
            assert!(ask("no-such-host.invalid").await.is_err());
            assert!(ask("no-such-host.invalid").await.is_err());
        });
    }
}
