//! `gpuseal init`

use super::args::Init;
use super::output::{Output, write_new};
use super::wanted;
use crate::domain::{DriverSpec, Platform};
use crate::error::{Error, Exit};
use crate::matrix::Matrix;
use crate::report::{Inputs, Machines};
use crate::requirements::{self, PLACEHOLDER, in_project, project};
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
    write_new(&path, &text)?;
    output.talk(format_args!("wrote {}", path.display()));
    if inputs.contradict() {
        output.talk("the project's files contradict each other: `gpuseal inputs` shows where");
    }
    let next = if machines.gpus.is_empty() || machines.driver.is_none() {
        format!("fill in what is marked {PLACEHOLDER}, then run `gpuseal resolve`")
    } else {
        "now run `gpuseal resolve`".to_owned()
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
