//! `gpuseal host-probe`, hidden: the child in which `doctor` asks a driver library.

use std::time::Duration;

use super::args::{Asked, HostProbe};
use super::output::Output;
use crate::error::{Error, Exit};
use crate::host::{Cuda, Nvml, cuda, nvml, probe, smi};

/// Runs the command.
///
/// # Errors
/// The output cannot be written.
pub fn run(args: &HostProbe, output: &Output) -> Result<Exit, Error> {
    // What cannot be said is not waited for: who listened has gone.
    let mut phase = |phase: &str| drop(output.data(&probe::phase_line(phase)));
    let within = args.within.map(Duration::from_secs);
    let answer = match (args.ask, within) {
        (Asked::Nvml, None) => probe::answer_line(nvml::probe(&mut phase)),
        (Asked::Cuda, None) => probe::answer_line(cuda::probe(&mut phase)),
        (Asked::Nvml, Some(limit)) => probe::answer_line(probe::ask::<Nvml>("nvml", limit)),
        (Asked::Cuda, Some(limit)) => probe::answer_line(probe::ask::<Cuda>("cuda", limit)),
        (Asked::Smi, _) => probe::answer_line(smi::ask(within.unwrap_or(probe::DEADLINE))),
    };
    output.data(&answer)?;
    Ok(Exit::Done)
}
