//! `gpuseal lock` against an index on the loopback interface that misbehaves on purpose.
//!
//! Every fault has to come with a message that names both sides, the exit code of its kind, and an
//! old lock that is the same byte for byte.

// One program: each file of its own would be linked again.
#[path = "lock_online/bench.rs"]
mod bench;
#[path = "lock_online/changes.rs"]
mod changes;
#[path = "lock_online/deps.rs"]
mod deps;
#[path = "lock_online/faults.rs"]
mod faults;
#[path = "lock_online/honest.rs"]
mod honest;
#[path = "lock_online/hostile.rs"]
mod hostile;
#[path = "lock_online/images.rs"]
mod images;
#[path = "lock_online/mirrors.rs"]
mod mirrors;
#[path = "lock_online/races.rs"]
mod races;
#[path = "lock_online/releases.rs"]
mod releases;
#[path = "lock_online/sizes.rs"]
mod sizes;
mod support;
