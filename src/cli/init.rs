//! `gpuseal init`

use std::io::Write as _;

use super::args::Init;
use super::output::Output;
use super::wanted;
use crate::domain::{DriverSpec, Platform};
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report::{Inputs, Machines};
use crate::requirements::{self, in_project, project};
use crate::resolve::case::{Driver, Libc};
use crate::resolve::place_gpu;

/// Runs the command.
///
/// # Errors
/// There is a configuration already; a file of the project or a flag that cannot be read.
pub fn run(args: &Init, matrix: &Matrix, output: &Output) -> Result<Exit, Error> {
    if let Some(file) = requirements::find(&args.project)? {
        return Err(Error::Usage {
            message: format!("`{}` says already what is wanted, and is left alone", file.display()),
            help: Some("change it, or move it away first".into()),
        });
    }
    let machines = machines(args, matrix)?;
    let project = project::folder(&args.project)?;
    let inputs = Inputs::of(&project);
    let path = in_project(&args.project, "gpuseal.yaml");
    let text = inputs.draft(&machines);
    // Never over a file that came into being meanwhile: created new or not at all.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any file that a program makes: what the umask leaves of it.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temp = builder.tempfile_in(folder.unwrap_or(std::path::Path::new(".")))?;
    temp.write_all(text.as_bytes())?;
    temp.as_file().sync_all()?;
    temp.persist_noclobber(&path).map_err(|err| err.error)?;
    output.talk(format_args!("wrote {}", path.display()));
    if inputs.contradict() {
        output.talk("the project's files contradict each other: `gpuseal inputs` shows where");
    }
    let next = if machines.gpus.is_empty() || machines.driver.is_none() {
        "fill in what is marked TODO, then run `gpuseal resolve`"
    } else {
        "now run `gpuseal resolve`"
    };
    output.talk(next);
    Ok(Exit::Done)
}

/// Flags about machines, each checked before it is written down.
fn machines(args: &Init, matrix: &Matrix) -> Result<Machines, Error> {
    let host = wanted::host(&args.machines.gpus)?;
    let gpus = host.as_ref().map_or_else(|| args.machines.gpus.clone(), |host| host.gpus.clone());
    for gpu in &gpus {
        place_gpu(gpu, "default", matrix)
            .map_err(|err| wanted::unplaced(&[err], &requirements::Requirements::default()))?;
    }
    let driver = args.machines.driver.clone().or_else(|| host.map(|host| host.driver.to_string()));
    if let Some(driver) = &driver {
        let spec: DriverSpec = wanted::flag("--driver", driver)?;
        Driver::place(spec, matrix).map_err(Error::usage)?;
    }
    if let Some(platform) = &args.machines.platform {
        wanted::flag::<Platform>("--platform", platform)?;
    }
    if let Some(os) = &args.machines.os {
        Libc::find(os, matrix).map_err(|err| Error::usage(format!("--os: {err}")))?;
    }
    Ok(Machines {
        gpus,
        driver,
        platform: args.machines.platform.clone(),
        os: args.machines.os.clone(),
    })
}
